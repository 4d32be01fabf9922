//! Output that the test harness does not capture.

#![allow(dead_code, reason = "each test program uses only a part of this module")]

use std::io::Write;

/// Prints that something was not tested. The test harness does not capture this output.
pub fn skip(why: &str) {
    say(&format!("\nSKIP: {why}")); // libtest may be in the middle of a line
}

/// Prints a line that the test harness does not capture.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
