//! Checks docs/hardened.md: its table of system calls, by publishing code under seccomp filters that allow only these
//! calls, and the errors and the advice that it shows. Linux only.

#![cfg(target_os = "linux")]

#[path = "support/mod.rs"]
mod support;

use execbuf::{Backend, ExecBuffer, ExecPool};
use std::path::Path;
use std::process::Command;
use support::child::{End, forked};
use support::harden::{self, SKIPPED, must};
use support::{alone, call, has_proc, is_cross, returning, skip};

const PAGE: &str = include_str!("../docs/hardened.md");

/// A line of the table.
struct Row {
    /// The first cell, such as "`ExecBuffer`, flip".
    what: &'static str,
    /// Calls without which the backend does not work, or leaks.
    needed: Vec<&'static str>,
    /// Calls that may fail.
    optional: Vec<&'static str>,
}

/// Returns the lines of the table. Its cells contain names of calls in backquotes.
fn table() -> Vec<Row> {
    let calls = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect();
    let rows: Vec<Row> = PAGE
        .lines()
        .filter(|line| line.starts_with("| `Exec"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [what, needed, optional] = cells[..] else { panic!("a line needs three cells: {line}") };
            Row { what, needed: calls(needed), optional: calls(optional) }
        })
        .collect();
    assert_eq!(rows.len(), 6, "the table has a line for each backend of buffers and of pools, and one for keys");
    rows
}

/// Returns the number of a system call.
fn number(call: &str) -> libc::c_long {
    match call {
        "brk" => libc::SYS_brk,
        "close" => libc::SYS_close,
        "exit_group" => libc::SYS_exit_group,
        "fcntl" => libc::SYS_fcntl,
        "ftruncate" => libc::SYS_ftruncate,
        "getrandom" => libc::SYS_getrandom,
        "madvise" => libc::SYS_madvise,
        "membarrier" => libc::SYS_membarrier,
        "memfd_create" => libc::SYS_memfd_create,
        "mmap" => libc::SYS_mmap,
        "mprotect" => libc::SYS_mprotect,
        "mremap" => libc::SYS_mremap,
        "munmap" => libc::SYS_munmap,
        "personality" => libc::SYS_personality,
        "pkey_alloc" => libc::SYS_pkey_alloc,
        "pkey_mprotect" => libc::SYS_pkey_mprotect,
        "prctl" => libc::SYS_prctl,
        "prlimit64" => libc::SYS_prlimit64,
        "write" => libc::SYS_write,
        _ => panic!("this test does not know the number of {call}"),
    }
}

/// Publishes, calls, rewrites and frees code by the row's backend in a child that may make only these calls. Returns
/// how the child ended: with 0 if all went well, and with 1 if something failed or another backend was used.
fn publish_under(row: &Row, calls: &[&str], otherwise: u32) -> End {
    // Everything is prepared before the filter, because the child may not even be allowed to report a panic.
    let mut numbers: Vec<_> = calls.iter().map(|call| number(call)).collect();
    numbers.extend(["brk", "exit_group"].map(number)); // the heap, and the end of the child
    let codes = [returning(1), returning(2)];
    let (maker, backend) = row.what.split_once(", ").expect("what, and the backend");
    let has_key = maker.ends_with("key");
    if has_key && !execbuf::probe().facts().any(|fact| fact == ("protection keys", "yes")) {
        skip("a pool with a protection key: there are none here");
        return End::Exited(SKIPPED);
    }
    forked(|| {
        if backend != "flip" && maker == "`ExecBuffer`" {
            must(&harden::mdwe()); // rules flip out
        }
        if backend == "alias" {
            must(&harden::no_file_sizes()); // rules memfd out
        }
        must(&harden::allow_only(&numbers, otherwise));
        let worked = if maker == "`ExecBuffer`" {
            // The filter allows only the calls of this backend, so no other one can have worked.
            ExecBuffer::new(&codes[0]).is_ok_and(|buffer| rewritten(buffer, &codes[1]))
        } else {
            let expected = if backend == "alias" { Backend::Alias } else { Backend::Memfd };
            ExecPool::builder().protection_key(has_key).build().is_ok_and(|pool| {
                let done = pool.publish(&codes[0]).is_ok_and(|buffer| rewritten(buffer, &codes[1]));
                done && pool.stats().backend() == Some(expected)
            })
        };
        // SAFETY: The child of a fork must not run the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!worked)) };
    })
}

fn rewritten(mut buffer: ExecBuffer, code: &[u8]) -> bool {
    call(&buffer) == 1 && buffer.rewrite(0, code).is_ok() && call(&buffer) == 2
}

/// Returns the list without one of its calls.
fn without<'a>(calls: &[&'a str], call: &str) -> Vec<&'a str> {
    calls.iter().copied().filter(|other| *other != call).collect()
}

#[test]
fn the_needed_calls_suffice_if_all_others_fail_and_none_is_superfluous() {
    if !has_proc() {
        return;
    }
    let _alone = alone();
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    for row in table() {
        let end = publish_under(&row, &row.needed, refuse);
        if end == End::Exited(SKIPPED) {
            continue;
        }
        assert_eq!(end, End::Exited(0), "{}", row.what);
        // Without close and munmap, code can often be published, but descriptors and memory leak.
        for call in row.needed.iter().filter(|call| !["close", "munmap"].contains(call)) {
            let end = publish_under(&row, &without(&row.needed, call), refuse);
            assert_eq!(end, End::Exited(1), "{} without {call}", row.what);
        }
    }
}

#[test]
fn a_filter_that_kills_has_to_allow_exactly_the_listed_calls() {
    if !has_proc() {
        return;
    }
    let _alone = alone();
    for row in table() {
        let calls = [row.needed.as_slice(), &row.optional].concat();
        let end = publish_under(&row, &calls, libc::SECCOMP_RET_KILL_PROCESS);
        if end == End::Exited(SKIPPED) {
            continue;
        }
        assert_eq!(end, End::Exited(0), "{}", row.what);
        for call in &calls {
            let end = publish_under(&row, &without(&calls, call), libc::SECCOMP_RET_KILL_PROCESS);
            assert_eq!(end, End::Crashed(libc::SIGSYS), "{} without {call}", row.what);
        }
    }
}

/// Publishes in a child that has given up rights, and checks that the page shows the text of the error.
fn shows_error(apply: fn() -> Result<(), String>) {
    let _alone = alone();
    let end = forked(|| {
        must(&apply());
        let text = ExecBuffer::new(&returning(1)).expect_err("every way is refused").to_string();
        assert!(PAGE.lines().any(|line| line == text), "docs/hardened.md does not show this error: {text}");
    });
    assert!([End::Exited(0), End::Exited(SKIPPED)].contains(&end), "{end:?}");
}

/// A service of systemd with `MemoryDenyWriteExecute=yes` and `SystemCallFilter=~memfd_create mremap`.
fn service() -> Result<(), String> {
    harden::no_memfd()?;
    harden::deny(&[libc::SYS_mremap])
}

#[test]
fn the_page_shows_the_error_of_a_service_that_may_make_no_code() {
    shows_error(service);
}

#[test]
fn the_page_shows_what_doctor_prints_in_that_service() {
    if !has_proc() {
        return;
    }
    if is_cross() {
        return skip("the example doctor under seccomp: only native builds can run it");
    }
    let _alone = alone();
    let (_, block) = PAGE.split_once("$ ./doctor\n").expect("the page runs doctor");
    let (shown, _) = block.split_once("```").expect("the block ends");
    let end = forked(|| {
        must(&service());
        let program = std::env::current_exe().expect("the path of the test program");
        let programs =
            program.parent().and_then(Path::parent).expect("the test program is in deps").join("examples");
        let output =
            Command::new(programs.join("doctor")).output().expect("`cargo build --examples` builds doctor");
        let printed = String::from_utf8(output.stdout).expect("doctor writes UTF-8");
        for part in shown.split("...\n") {
            assert!(printed.contains(part), "docs/hardened.md shows {part}\nbut doctor prints {printed}");
        }
    });
    assert!([End::Exited(0), End::Exited(SKIPPED)].contains(&end), "{end:?}");
}

#[test]
fn the_page_shows_the_error_of_a_process_without_descriptors() {
    shows_error(|| {
        harden::mdwe()?;
        harden::deny(&[libc::SYS_mremap])?;
        harden::limit(libc::RLIMIT_NOFILE, 0)
    });
}

#[test]
fn the_page_shows_the_error_of_a_process_without_address_space() {
    shows_error(|| {
        harden::limit(libc::RLIMIT_AS, 0)?;
        let (protection, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: A new mapping affects no other mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 1, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED { Ok(()) } else { Err("RLIMIT_AS has no effect here".to_owned()) }
    });
}

#[test]
fn the_page_shows_the_error_under_read_implies_exec() {
    if !has_proc() {
        return;
    }
    shows_error(harden::read_implies_exec);
}
