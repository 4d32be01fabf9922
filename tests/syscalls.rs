//! Traces system calls with strace: how many calls each operation makes, and that none requests memory that is writable
//! and executable. Only for Linux on x86-64; AArch64 makes additional membarrier calls.

use std::fmt::Write as _;
use std::process::Command;

#[path = "support/mod.rs"]
mod support;

/// The environment variable with the task of the traced child.
const VARIABLE: &str = "EXECBUF_TRACED";

fn main() {
    if let Ok(task) = std::env::var(VARIABLE) {
        return traced(&task);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return support::skip("the numbers of system calls are for Linux on x86-64");
    }
    if Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        new_makes_two_system_calls_and_drop_makes_one();
        rewrite_makes_four_system_calls();
        large_code_in_a_pool_makes_the_same_system_calls_as_outside();
        no_call_requests_writable_and_executable_memory();
        the_memfd_of_a_buffer_closes_on_exec_and_is_fully_sealed();
        a_pool_makes_less_than_one_system_call_for_a_hundred_pieces_of_code();
        the_memfd_of_a_pool_closes_on_exec_and_is_sealed_against_writable_views();
        println!("test result: ok. 7 passed; 0 failed");
    } else {
        support::skip("no strace that works here");
    }
}

fn new_makes_two_system_calls_and_drop_makes_one() {
    let calls = difference("new");
    assert_eq!(calls, ["mmap", "mprotect", "munmap"].map(|name| (name.to_owned(), 100)));
}

fn rewrite_makes_four_system_calls() {
    let (barriers, others): (Vec<_>, Vec<_>) =
        difference("rewrite").into_iter().partition(|(name, _)| name == "membarrier");
    assert_eq!(others, ["mmap", "mprotect", "mremap"].map(|name| (name.to_owned(), 100)));
    if trace("rewrite 1").lines().any(|line| line.starts_with("membarrier(") && line.ends_with(" = 0")) {
        assert_eq!(barriers, [("membarrier".to_owned(), 100)]);
    } else {
        support::skip("the barrier of a rewrite: this system does not have membarrier");
    }
}

fn large_code_in_a_pool_makes_the_same_system_calls_as_outside() {
    let calls = difference("large");
    assert_eq!(calls, ["mmap", "mprotect", "munmap"].map(|name| (name.to_owned(), 100)));
    assert_eq!(difference("large-pooled"), calls);
}

fn no_call_requests_writable_and_executable_memory() {
    for what in ["new", "rewrite", "assemble", "pool"] {
        for backend in ["", "memfd ", "alias "] {
            for line in trace(&format!("{backend}{what} 10")).lines() {
                assert!(!(line.contains("PROT_WRITE") && line.contains("PROT_EXEC")), "{line}");
            }
        }
    }
}

fn the_memfd_of_a_buffer_closes_on_exec_and_is_fully_sealed() {
    let trace = trace("memfd new 10");
    if !trace.contains("memfd_create(\"execbuf\"") {
        return support::skip("the memfd backend: the filter that selects it cannot be installed here");
    }
    let lines = |call: &str| trace.lines().filter(|line| line.starts_with(call)).collect::<Vec<_>>();
    let memfds = lines("memfd_create(\"execbuf\"");
    assert!(memfds.len() > 10 && memfds.iter().all(|line| line.contains("MFD_CLOEXEC")), "{memfds:?}");
    let seals = lines("fcntl(");
    let seals: Vec<_> = seals.iter().filter(|line| line.contains("F_ADD_SEALS")).collect();
    let all = ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_WRITE"];
    assert!(seals.len() > 10 && seals.iter().all(|line| all.iter().all(|seal| line.contains(seal))), "{seals:?}");
}

fn a_pool_makes_less_than_one_system_call_for_a_hundred_pieces_of_code() {
    // The difference between the two tasks: one creates a pool, publishes 20,000 pieces of code in it, and drops all.
    let count =
        |task: &str| trace(task).lines().filter(|line| line.contains('(') && !line.starts_with("+++")).count();
    for backend in ["", "memfd ", "alias "] {
        let (without, with) = (count(&format!("{backend}pool 0")), count(&format!("{backend}pool 20000")));
        assert!(with - without <= 200, "{backend}: {without} without a pool, {with} with it");
    }
}

fn the_memfd_of_a_pool_closes_on_exec_and_is_sealed_against_writable_views() {
    let trace = trace("pool 10");
    let line = |call: &str| trace.lines().find(|line| line.starts_with(call));
    let Some(memfd) = line("memfd_create(\"pool\"") else {
        return support::skip("the memfd of a pool: pools do not use memfd here");
    };
    assert!(memfd.contains("MFD_CLOEXEC") && memfd.contains("MFD_ALLOW_SEALING"), "{memfd}");
    let seals = trace.lines().find(|line| line.starts_with("fcntl(") && line.contains("F_ADD_SEALS")).unwrap();
    for seal in ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW"] {
        assert!(seals.contains(seal), "{seals}");
    }
    // Older versions of strace print F_SEAL_FUTURE_WRITE as a number.
    assert!(seals.contains("F_SEAL_FUTURE_WRITE") || seals.contains("0x10"), "{seals}");
}

/// Runs a task 100 times and 200 times. Returns the system calls that the longer run makes more often, with the
/// difference.
fn difference(task: &str) -> Vec<(String, usize)> {
    let counts = |times| {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for line in trace(&format!("{task} {times}")).lines() {
            if let Some((name, _)) = line.split_once('(') {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        counts
    };
    let (few, many) = (counts(100), counts(200));
    let more = |(name, count): (String, usize)| {
        let more = count - few.get(&name).copied().unwrap_or(0);
        (more > 0).then_some((name, more))
    };
    many.into_iter().filter_map(more).collect()
}

fn trace(task: &str) -> String {
    let mut command = Command::new("strace");
    command.arg(std::env::current_exe().expect("the path of this program")).env(VARIABLE, task);
    let output = command.output().expect("strace runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("strace writes ASCII")
}

/// Runs in the traced child. `task` is an operation and its number of repetitions, optionally preceded by a backend.
fn traced(task: &str) {
    let task = hardened(task);
    let (what, times) = task.split_once(' ').expect("what, and how often");
    let times: u32 = times.parse().expect("a number");
    if what == "pool" {
        return pooled(times);
    }
    if what.starts_with("large") {
        return large(what == "large-pooled", times);
    }
    let mut buffer = support::publish(0);
    let mut log = String::new();
    for value in 0..times {
        match what {
            "new" => buffer = support::publish(value),
            "rewrite" => buffer.rewrite(0, &support::returning(value)).expect("it can be rewritten"),
            _ => {
                let assemble = |_| Ok::<_, std::convert::Infallible>(support::returning(value));
                buffer = execbuf::ExecBuffer::assemble(assemble).expect("it can be assembled");
            }
        }
        write!(log, "{} ", support::call(&buffer)).expect("strings take everything");
    }
    assert!(log.ends_with(&format!("{} ", times - 1)));
}

/// Creates a pool, publishes `count` pieces of code of 256 bytes in it, and drops all. Creates no pool if `count` is 0.
fn pooled(count: u32) {
    let mut buffers = Vec::with_capacity(20_000);
    if count > 0 {
        let pool =
            execbuf::ExecPool::builder().name("pool").build().expect("this system allows executable memory");
        let mut code = support::function(0, 256);
        for number in 0..count {
            support::rename(&mut code, number);
            buffers.push(pool.publish(&code).expect("this system allows executable memory"));
        }
        let numbers = buffers.iter().map(support::call);
        assert!(numbers.eq(0..count));
    }
    buffers.clear();
}

/// Publishes and drops `count` pieces of code that no region takes, in a pool or without one.
fn large(in_pool: bool, count: u32) {
    let pool = execbuf::ExecPool::new().expect("this system allows executable memory");
    let mut code = support::function(0, 300_000);
    for number in 0..count {
        support::rename(&mut code, number);
        let buffer = if in_pool { pool.publish(&code) } else { execbuf::ExecBuffer::new(&code) };
        assert_eq!(support::call(&buffer.expect("this system allows executable memory")), number);
    }
}

/// Gives up rights so that the given backend is used. Returns the rest of the task.
fn hardened(task: &str) -> &str {
    #[cfg(target_os = "linux")]
    if let Some((backend @ ("memfd" | "alias"), rest)) = task.split_once(' ') {
        // If seccomp is not available, the default backend is used.
        let _ = support::harden::systemd_filter();
        if backend == "alias" {
            support::harden::limit(libc::RLIMIT_NOFILE, 0).expect("limits can be lowered");
        }
        return rest;
    }
    task
}
