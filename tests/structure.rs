//! The structure of the sources: modules without cycles, and files that can be read in one sitting.

mod support;

use std::path::{Path, PathBuf};

/// All Rust files below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in directory.read_dir().unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the sources are here; if not, says so.
fn has_sources() -> bool {
    if support::is_cross() {
        support::skip("the structure of the sources: they are on another system");
    }
    !support::is_cross()
}

#[test]
fn no_module_uses_a_later_one() {
    if !has_sources() {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let library = read(&source.join("lib.rs"));
    let (_, order) =
        library.split_once("Each uses only modules before it:\n// ").expect("lib.rs lists the modules");
    let (order, _) = order.split_once('.').expect("the list ends with a full stop");
    let order: Vec<&str> = order.split([',', '\n']).map(|name| name.trim_start_matches("//").trim()).collect();
    let mut listed: Vec<&str> = library
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|&module| module != "compile_fail")
        .collect();
    let mut names = order.clone();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed);
    for (place, module) in order.iter().enumerate() {
        let text = read(&source.join(format!("{module}.rs")));
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in code.flat_map(|line| line.split("crate::").skip(1)) {
            let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().expect("it has a name");
            let before = order[..place].contains(&used);
            // In what a macro or an intra-doc link writes, `crate::` is followed by an item of the root.
            assert!(before || !order.contains(&used), "{module} uses {used}, which comes after it");
        }
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    if !has_sources() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["src", "tests", "examples"] {
        files(&root.join(directory), &mut found);
    }
    assert!(found.len() > 50);
    for path in found.iter().filter(|path| !path.ends_with("src/bindings.rs")) {
        let lines = read(path).lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
}
