//! Compares README.md with the output of the examples, and compiles and runs its C program with its command line. (Its
//! Rust code is compiled and run as documentation tests.)

#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

const README: &str = include_str!("../README.md");

/// Returns the fenced block of a language that contains a text.
fn block(language: &str, containing: &str) -> &'static str {
    README
        .split("\n```")
        .skip(1)
        .step_by(2) // every second piece is the text between two blocks
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .find(|block| block.contains(containing))
        .unwrap_or_else(|| panic!("README.md has no {language} block with {containing:?}"))
}

/// Returns the command in the first line of a console block, and the output in the other lines.
fn console(containing: &str) -> (&'static str, &'static str) {
    let (command, output) = block("console", containing).split_once('\n').expect("a command and its output");
    (command.strip_prefix("$ ").expect("a command begins with a dollar sign"), output.trim_end())
}

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

#[test]
fn the_rust_code_of_every_page_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let module = std::fs::read_to_string(root.join("src/documents.rs")).unwrap();
    let Ok(directory) = std::fs::read_dir(root.join("docs")) else { return };
    for page in directory {
        let name = page.unwrap().file_name().into_string().unwrap();
        assert!(module.contains(&format!("\"../docs/{name}\"")), "src/documents.rs has no line for docs/{name}");
    }
}

#[test]
fn rdtsc_prints_what_the_readme_shows() {
    let (command, shown) = console("example rdtsc");
    assert_eq!(command, "cargo run --example rdtsc");
    let before = counter();
    let Some(output) = example("rdtsc", &[], Path::new(".")) else { return };
    let after = counter();
    assert_eq!(without_numbers(&output), without_numbers(shown));
    for text in [output.as_str(), shown] {
        let numbers: Vec<u64> =
            text.lines().map(|line| line.split_whitespace().last().unwrap().parse().unwrap()).collect();
        assert_eq!(numbers[1] - numbers[0], numbers[2]);
        // The example reads the processor's counter, so its readings lie between ours.
        let [first, second, _] = numbers[..] else { panic!("{text}") };
        assert!(text == shown || (before <= first && second <= after), "{before} {text} {after}");
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
fn add_prints_what_the_readme_shows() {
    let (command, shown) = console("example add");
    assert_eq!(command, "cargo run --example add");
    let Some(output) = example("add", &[], Path::new(".")) else { return };
    // Other architectures print only the first line.
    let lines = if cfg!(target_arch = "x86_64") { 3 } else { 1 };
    assert_eq!(output, shown.lines().take(lines).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_thunk_examples_print_what_the_readme_shows() {
    for name in ["portable", "qsort"] {
        let (command, shown) = console(&format!("example {name}"));
        assert_eq!(command, format!("cargo run --example {name}"));
        let Some(output) = example(name, &[], Path::new(".")) else { return };
        let other = "only x86-64 has two calling conventions";
        assert_eq!(output, if cfg!(target_arch = "x86_64") { shown } else { other });
    }
}

#[test]
fn brainfuck_prints_what_the_readme_shows() {
    let (command, shown) = console("--interpret");
    assert_eq!(command, "cargo run --release --example brainfuck -- --interpret");
    let Some(output) = example("brainfuck", &["--interpret"], Path::new(".")) else { return };
    assert_eq!(without_numbers(&output), without_numbers(shown));
}

#[test]
fn brainfuck_reports_errors_as_the_readme_shows() {
    let (command, shown) = console("unclosed.bf");
    let source = command.strip_prefix("echo '").and_then(|rest| rest.split_once('\'')).expect("a program").0;
    let directory = temporary("unclosed");
    std::fs::write(directory.join("unclosed.bf"), source).unwrap();
    assert!(command.ends_with("cargo run --example brainfuck unclosed.bf"));
    let Some(output) = example("brainfuck", &["unclosed.bf"], &directory) else { return };
    assert_eq!(output, shown);
}

#[test]
fn brainfuck_runs_a_file_and_reads_input() {
    let directory = temporary("file");
    std::fs::write(directory.join("upper.bf"), ",[>++++[<-------->-]<.,]").unwrap();
    let Some(output) = example_with_input("brainfuck", &["upper.bf"], &directory, "execbuf") else { return };
    assert_eq!(output, "EXECBUF");
    let output = example_with_input("brainfuck", &["--interpret", "upper.bf"], &directory, "execbuf").unwrap();
    assert!(output.starts_with("EXECBUFcompiled to "), "{output}");
    let output = example("brainfuck", &["one", "two"], &directory).unwrap();
    assert_eq!(output, "brainfuck: usage: brainfuck [--interpret] [FILE]");
    let output = example("brainfuck", &["missing.bf"], &directory).unwrap();
    assert!(output.starts_with("brainfuck: missing.bf: "), "{output}");
}

#[test]
fn the_c_example_compiles_with_its_command_line_and_runs() {
    if !support::can_compile("the C example") {
        return;
    }
    let (command, shown) = console("example.c");
    let directory = temporary("c");
    std::fs::write(directory.join("example.c"), block("c", "execbuf.h")).unwrap();
    #[cfg(unix)]
    {
        let csrc = Path::new(env!("CARGO_MANIFEST_DIR")).join("csrc");
        let link = directory.join("csrc");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(csrc, link).unwrap();
    }
    let output = Command::new("sh").args(["-c", command]).current_dir(&directory).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), shown);
}

/// Creates a directory for the files of a test.
fn temporary(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
