//! What strace sees: how many system calls a buffer costs, and that none ever asks for W and X together. x86-64 Linux;
//! AArch64 has its barriers besides.

use std::fmt::Write as _;
use std::process::Command;

#[path = "support/mod.rs"]
mod support;

/// In the traced child: what to do.
const VARIABLE: &str = "EXECBUF_TRACED";

fn main() {
    if let Ok(task) = std::env::var(VARIABLE) {
        return traced(&task);
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return support::skip("the counts are for x86-64 Linux");
    }
    if Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        new_makes_two_system_calls_and_drop_one();
        rewrite_makes_four_system_calls();
        nothing_asks_for_write_and_execute();
        the_memfd_backend_closes_on_exec_and_seals_all();
        a_pool_makes_a_few_system_calls_in_all_its_life();
        a_pools_memfd_closes_on_exec_and_takes_no_more_writable_views();
        println!("test result: ok. 6 passed; 0 failed");
    } else {
        support::skip("no strace here that works");
    }
}

fn new_makes_two_system_calls_and_drop_one() {
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
        support::skip("the barrier of a rewrite: this system has no membarrier");
    }
}

fn nothing_asks_for_write_and_execute() {
    for what in ["new", "rewrite", "build", "pool"] {
        for backend in ["", "memfd ", "alias "] {
            for line in trace(&format!("{backend}{what} 10")).lines() {
                assert!(!(line.contains("PROT_WRITE") && line.contains("PROT_EXEC")), "{line}");
            }
        }
    }
}

fn the_memfd_backend_closes_on_exec_and_seals_all() {
    let trace = trace("memfd new 10");
    if !trace.contains("memfd_create(\"execbuf\"") {
        return support::skip("the memfd backend: the others can't be refused here");
    }
    let lines = |call: &str| trace.lines().filter(|line| line.starts_with(call)).collect::<Vec<_>>();
    let memfds = lines("memfd_create(\"execbuf\"");
    assert!(memfds.len() > 10 && memfds.iter().all(|line| line.contains("MFD_CLOEXEC")), "{memfds:?}");
    let seals = lines("fcntl(");
    let seals: Vec<_> = seals.iter().filter(|line| line.contains("F_ADD_SEALS")).collect();
    let all = ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_WRITE"];
    assert!(seals.len() > 10 && seals.iter().all(|line| all.iter().all(|seal| line.contains(seal))), "{seals:?}");
}

fn a_pool_makes_a_few_system_calls_in_all_its_life() {
    // All that the one does and the other does not: the pool is made, 20,000 pieces of code are published and dropped in
    // it, and it is dropped.
    let count =
        |task: &str| trace(task).lines().filter(|line| line.contains('(') && !line.starts_with("+++")).count();
    for backend in ["", "memfd ", "alias "] {
        let (without, with) = (count(&format!("{backend}pool 0")), count(&format!("{backend}pool 20000")));
        assert!(with - without <= 20, "{backend}: {without} without a pool, {with} with it");
    }
}

fn a_pools_memfd_closes_on_exec_and_takes_no_more_writable_views() {
    let trace = trace("pool 10");
    let line = |call: &str| trace.lines().find(|line| line.starts_with(call));
    let Some(memfd) = line("memfd_create(\"pool\"") else {
        return support::skip("the memfd of a pool: there is none here");
    };
    assert!(memfd.contains("MFD_CLOEXEC") && memfd.contains("MFD_ALLOW_SEALING"), "{memfd}");
    let seals = trace.lines().find(|line| line.starts_with("fcntl(") && line.contains("F_ADD_SEALS")).unwrap();
    for seal in ["F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW"] {
        assert!(seals.contains(seal), "{seals}");
    }
    // strace may know F_SEAL_FUTURE_WRITE only by its number.
    assert!(seals.contains("F_SEAL_FUTURE_WRITE") || seals.contains("0x10"), "{seals}");
}

/// Which system calls a task makes more often if it is done 200 times instead of 100 times.
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

/// `task` is what to do and how often, with the backend before it if it is not the usual one.
fn traced(task: &str) {
    let task = hardened(task);
    let (what, times) = task.split_once(' ').expect("what, and how often");
    let times: u32 = times.parse().expect("a number");
    if what == "pool" {
        return pooled(times);
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

/// Makes a pool, publishes so many pieces of code of 256 bytes in it, and drops all. Without code no pool is made.
fn pooled(count: u32) {
    let mut buffers = Vec::with_capacity(20_000);
    if count > 0 {
        let pool =
            execbuf::ExecPool::builder().name("pool").build().expect("this system allows executable memory");
        let mut code = support::function(0, 256);
        for number in 0..count {
            support::rename(&mut code, number);
            buffers.push(pool.publish(&code).expect("there is room"));
        }
        let numbers = buffers.iter().map(support::call);
        assert!(numbers.eq(0..count));
    }
    buffers.clear();
}

/// Gives up what keeps the given backend from being used, and returns the rest of the task.
fn hardened(task: &str) -> &str {
    #[cfg(target_os = "linux")]
    if let Some((backend @ ("memfd" | "alias"), rest)) = task.split_once(' ') {
        // Without seccomp this is the usual backend once more.
        let _ = support::harden::systemd_filter();
        if backend == "alias" {
            support::harden::limit(libc::RLIMIT_NOFILE, 0).expect("limits can be lowered");
        }
        return rest;
    }
    task
}
