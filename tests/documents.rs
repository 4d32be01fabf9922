//! Compares README.md, the pages in `docs` and the other pages with what happens: runs the commands that they show and their
//! C programs, and looks for their excerpts and figures in the files. (`src/documents.rs` runs their Rust code.)

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{markdown, skip};

/// Runs an example with arguments and returns its output, with Unix line ends. If the system cannot start it, prints a
/// SKIP line and returns `None`.
fn example(name: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    example_with_input(name, arguments, directory, "")
}

/// Does the same as [`example`], and writes to the example's standard input.
fn example_with_input(name: &str, arguments: &[&str], directory: &Path, input: &str) -> Option<String> {
    let output = support::example::run(name, arguments, directory, input)?;
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("examples write UTF-8");
    Some(text.replace("\r\n", "\n").trim_end().to_owned())
}

/// Splits a text into words, and replaces the words that contain digits, which are numbers and times and differ between
/// runs.
fn without_numbers(text: &str) -> Vec<Vec<&str>> {
    let word = |word| if str::contains(word, |c: char| c.is_ascii_digit()) { "#" } else { word };
    text.lines().map(|line| line.split_whitespace().map(word).collect()).collect()
}

/// Returns the lines of the example `doctor` that do not depend on the policies of the system: the headings and, on the
/// system of the pages, the names of backends and facts.
fn headings(text: &str) -> Vec<&str> {
    let (report, _) = text.split_once("\nAdvice\n").expect("the report ends with advice");
    let lines = report.lines().skip(1).filter(|line| cfg!(target_os = "linux") || !line.starts_with(' '));
    lines.map(|line| line.trim_start().split("  ").next().unwrap_or(line)).collect()
}

/// Compares the output of an example with what a page shows.
fn compare(name: &str, place: &str, output: &str, shown: &str) {
    let only_x86_64 = match name {
        "add" => shown.lines().next(),
        "portable" | "qsort" | "by_value" => Some("only x86-64 has two calling conventions"),
        _ => None,
    };
    match name {
        "rdtsc" | "brainfuck" => assert_eq!(without_numbers(output), without_numbers(shown), "{place}"),
        "doctor" => assert_eq!(headings(output), headings(shown), "{place}"),
        "backtrace" if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) => {
            assert_eq!(output, "this example is for Linux on x86-64");
        }
        // The length of the code differs.
        "loop_jit" if cfg!(not(target_arch = "x86_64")) => {
            assert_eq!(without_numbers(output), without_numbers(shown), "{place}");
        }
        _ if cfg!(target_arch = "x86_64") => assert_eq!(output, shown, "{place}"),
        _ => assert_eq!(output, only_x86_64.unwrap_or(shown), "{place}"),
    }
}

#[test]
fn the_rust_code_of_every_page_is_run() {
    let module = include_str!("../src/documents.rs");
    for (name, text) in markdown::pages() {
        let has_line = module.contains(&format!("\"../{name}\""));
        assert!(
            has_line || !name.starts_with("docs/") && !text.contains("```rust"),
            "src/documents.rs lacks {name}"
        );
    }
}

#[test]
fn the_figures_in_the_pages_are_those_of_the_benchmark() {
    let Ok(results) = fs::read_to_string(root().join("bench/results.md")) else {
        return skip("the figures in the pages: the benchmark is not in the published crate");
    };
    let results = markdown::cells(&results);
    for (page, text) in markdown::pages() {
        for cell in markdown::cells(&text) {
            let [row, column, _] = cell;
            let is_ours = results.iter().any(|[_, known, _]| *known == column) && !row.starts_with("---");
            assert!(
                !is_ours || results.contains(&cell),
                "{page}: {row}, {column}: not the figure in bench/results.md"
            );
        }
    }
}

#[test]
fn the_examples_print_what_the_pages_show() {
    for (number, shown) in markdown::commands().into_iter().enumerate() {
        // A command may write a file first: echo 'TEXT' > FILE; cargo run …
        let (file, command) = match shown.command.split_once("; ") {
            Some((file, command)) if file.starts_with("echo '") => (Some(file), command),
            _ => (None, shown.command.as_str()),
        };
        let Some(options) = command.strip_prefix("cargo run ") else { continue };
        let words: Vec<&str> =
            options.split_whitespace().filter(|word| !["--release", "--"].contains(word)).collect();
        let ["--example", name, arguments @ ..] = words.as_slice() else { panic!("{}: {command}", shown.place) };
        let directory = temporary(&format!("command-{number}"));
        if let Some(file) = file {
            let (text, file) = file["echo '".len()..].split_once("' > ").expect("echo 'TEXT' > FILE");
            fs::write(directory.join(file), format!("{text}\n")).unwrap();
        }
        let Some(output) = example(name, arguments, &directory) else { return };
        compare(name, &shown.place, &output, &shown.output);
    }
}

#[test]
fn rdtsc_reads_the_counter_of_the_processor() {
    let before = counter();
    let Some(output) = example("rdtsc", &[], Path::new(".")) else { return };
    let after = counter();
    let shown = markdown::commands().into_iter().find(|shown| shown.command == "cargo run --example rdtsc");
    let shown = shown.expect("a page shows it").output;
    for text in [&output, &shown] {
        let numbers: Vec<u64> =
            text.lines().map(|line| line.split_whitespace().last().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers[1] - numbers[0], numbers[2]);
        // The example reads the processor's counter, so its readings lie between ours.
        let [first, second, _] = numbers[..] else { panic!("{text}") };
        assert!(*text == shown || (before <= first && second <= after), "{before} {text} {after}");
    }
}

/// Reads the counter that the example reads.
fn counter() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: Every x86-64 processor has this counter.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(target_arch = "aarch64")]
    {
        let counter: u64;
        // SAFETY: Linux lets programs read this counter.
        unsafe { std::arch::asm!("mrs {}, cntvct_el0", out(reg) counter) };
        return counter;
    }
}

#[test]
fn brainfuck_runs_a_file_and_reads_input() {
    let directory = temporary("file");
    fs::write(directory.join("upper.bf"), ",[>++++[<-------->-]<.,]").unwrap();
    let Some(output) = example_with_input("brainfuck", &["upper.bf"], &directory, "execbuf") else { return };
    assert_eq!(output, "EXECBUF");
    let output = example_with_input("brainfuck", &["--interpret", "upper.bf"], &directory, "execbuf").unwrap();
    assert!(output.starts_with("EXECBUFcompiled to "), "{output}");
    let output = example("brainfuck", &["one", "two"], &directory).unwrap();
    assert_eq!(output, "brainfuck: usage: brainfuck [--interpret] [FILE]");
    let output = example("brainfuck", &["missing.bf"], &directory).unwrap();
    assert!(output.starts_with("brainfuck: missing.bf: "), "{output}");
}

/// Returns whether a C block is a whole program, and not an excerpt of a file.
fn is_program(block: &markdown::Block) -> bool {
    block.text.contains("int main(")
}

#[test]
fn the_c_programs_of_the_pages_compile_without_warnings_and_run() {
    if !support::can_compile("the C programs of the pages") || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let directory = c_directory("programs");
    run("cc -std=c11 -O2 -c csrc/execbuf.c -o execbuf.o", &directory, "csrc/execbuf.c");
    let blocks = markdown::blocks().into_iter().filter(|block| block.info == "c" && is_program(block));
    for block in blocks {
        fs::write(directory.join("program.c"), &block.text).unwrap();
        let compile = "cc -std=c11 -O2 -Wall -Wextra -I csrc/include program.c execbuf.o -pthread -o program";
        run(compile, &directory, &block.place);
        run("./program", &directory, &block.place);
    }
}

#[test]
fn the_c_command_lines_of_the_pages_print_what_they_show() {
    if !support::can_compile("the C command lines of the pages") {
        return;
    }
    let directory = c_directory("commands");
    let blocks = markdown::blocks();
    for shown in markdown::commands().into_iter().filter(|shown| shown.command.starts_with("cc ")) {
        // A file without a directory is the first program of the page.
        let page = shown.place.split(':').next().expect("a place is a file and a line");
        for name in
            shown.command.split(' ').filter(|word| word.strip_suffix(".c").is_some() && !word.contains('/'))
        {
            let mut programs = blocks.iter().filter(|block| block.info == "c" && is_program(block));
            let program = programs.find(|block| block.place.starts_with(page)).expect("the page has a program");
            fs::write(directory.join(name), &program.text).unwrap();
        }
        assert_eq!(run(&shown.command, &directory, &shown.place).trim_end(), shown.output, "{}", shown.place);
    }
}

#[test]
fn excerpts_in_the_pages_are_in_the_files() {
    let files: Vec<String> = ["examples", "csrc"].into_iter().flat_map(|top| texts(&root().join(top))).collect();
    for block in markdown::blocks() {
        let is_excerpt = block.info == "rust,ignore" || block.info == "c" && !is_program(&block);
        // An excerpt may leave out the indentation that all of its lines have in the file.
        let lines = |text: &str| format!("\n{}\n", text.lines().map(str::trim).collect::<Vec<_>>().join("\n"));
        if is_excerpt {
            let excerpt = lines(&block.text);
            assert!(files.iter().any(|file| lines(file).contains(&excerpt)), "{}: in no file", block.place);
        }
    }
}

/// Returns the texts of all files of Rust and C in a directory.
fn texts(directory: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(self::texts(&path));
        } else if path
            .extension()
            .is_some_and(|extension| ["rs", "c", "h"].iter().any(|wanted| extension == *wanted))
        {
            texts.push(fs::read_to_string(path).unwrap().replace("\r\n", "\n"));
        }
    }
    texts
}

/// Runs a shell command, which must succeed without messages, and returns its output.
fn run(command: &str, directory: &Path, place: &str) -> String {
    let output =
        Command::new("sh").args(["-c", command]).current_dir(directory).output().expect("there is a shell");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && messages.is_empty(), "{place}: {command}: {}\n{messages}", output.status);
    String::from_utf8(output.stdout).expect("C programs write UTF-8")
}

/// Creates a directory in which C programs can be built, with links to the directories of the project that the command
/// lines name.
fn c_directory(name: &str) -> PathBuf {
    let directory = temporary(name);
    #[cfg(unix)]
    for name in ["csrc", "examples"] {
        let link = directory.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(root().join(name), link).unwrap();
    }
    directory
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Creates a directory for the files of a test.
fn temporary(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents").join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}
