//! Runs the Rust code of README.md and of every page in `docs` as documentation tests. The machine code in them is for
//! x86-64. `tests/documents.rs` fails if a page is missing here.

macro_rules! page {
    ($name:ident, $path:literal) => {
        #[doc = include_str!($path)]
        mod $name {}
    };
}

page!(readme, "../README.md");
page!(examples, "../docs/examples.md");
page!(first_jit, "../docs/first-jit.md");
page!(hardened, "../docs/hardened.md");
page!(which_shape, "../docs/which-shape.md");
page!(tools, "../docs/tools.md");
page!(compared, "../docs/compared.md");
