//! Runs the programs of the directory `examples`, which `cargo test` has built.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{has_proc, is_cross, skip};

/// Returns the path of an example. If the path of the test program is unknown, prints a SKIP line and returns `None`.
pub fn program(name: &str) -> Option<PathBuf> {
    if !has_proc() {
        return None;
    }
    let test = std::env::current_exe().expect("the path of the test program");
    let programs = test.parent().and_then(Path::parent).expect("the test program is in deps").join("examples");
    Some(programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Runs an example in a directory, and writes to its standard input. If the system cannot start it, prints a SKIP line
/// and returns `None`.
pub fn run(name: &str, arguments: &[&str], directory: impl AsRef<Path>, input: &str) -> Option<Output> {
    let path = program(name)?;
    let mut command = Command::new(&path);
    command.args(arguments).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Wine 8 fails to start one of many programs, with ERROR_INTERNAL_ERROR.
    let is_of_wine = |error: &std::io::Error| cfg!(windows) && error.raw_os_error() == Some(1359);
    let started = match command.spawn() {
        Err(error) if is_of_wine(&error) => command.spawn(),
        started => started,
    };
    let output = started.and_then(|mut child| {
        child.stdin.take().expect("it is piped").write_all(input.as_bytes())?;
        child.wait_with_output()
    });
    match output {
        // In an emulator that cannot start programs of the emulated architecture, posix_spawn may report that only as
        // the child's exit status.
        Ok(output) if is_cross() && cfg!(unix) && output.status.code() == Some(127) => {
            skip(&format!("the example {name}: it cannot be started in an emulator"));
            None
        }
        Err(error) if is_cross() && cfg!(unix) => {
            skip(&format!("the example {name}: {error}"));
            None
        }
        Ok(output) => Some(output),
        Err(error) => panic!("{}: {error}; `cargo build --examples` builds it", path.display()),
    }
}
