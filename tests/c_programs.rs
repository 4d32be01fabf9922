//! Builds and runs the C tests in `tests/c` on the host, if it is a Unix system. CI runs them for other systems.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

#[test]
fn the_c_tests_pass() {
    if !support::can_compile("the C tests") {
        return;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/run.sh");
    let output = Command::new("sh").arg(script).arg(out).output().expect("there is a shell");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    for line in text.lines().filter(|line| line.starts_with("SKIP")) {
        support::say(line);
    }
    assert!(output.status.success(), "{text}");
}
