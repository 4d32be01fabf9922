//! Child processes, for tests that crash, give up rights, or fork.

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this status, which is not 0 after a panic.
    Exited(i32),
    /// It was killed by this signal on Unix, or by this exception on Windows.
    Crashed(i32),
}

impl End {
    /// Returns whether the child died of an access that the memory's protection forbids.
    pub fn is_access_violation(self) -> bool {
        #[cfg(unix)]
        let expected = [libc::SIGSEGV, libc::SIGBUS];
        #[cfg(windows)]
        let expected = [i32::from_ne_bytes(0xc000_0005_u32.to_ne_bytes())]; // EXCEPTION_ACCESS_VIOLATION
        matches!(self, End::Crashed(code) if expected.contains(&code))
    }

    /// Returns whether the child died of a trap instruction.
    pub fn is_trap(self) -> bool {
        #[cfg(unix)]
        let expected = [libc::SIGTRAP];
        #[cfg(windows)]
        let expected = [i32::from_ne_bytes(0x8000_0003_u32.to_ne_bytes())]; // EXCEPTION_BREAKPOINT
        matches!(self, End::Crashed(code) if expected.contains(&code))
    }
}

/// Runs `body` in a fork of this process and waits for it. If `body` panics, the child prints that and exits with 101.
#[cfg(unix)]
pub fn forked(body: impl FnOnce()) -> End {
    started(body).wait()
}

/// A child that may still be running.
#[cfg(unix)]
#[must_use = "a child that nobody waits for stays as a zombie"]
pub struct Started(libc::pid_t);

#[cfg(unix)]
impl Started {
    /// Waits for the child, and returns how it ended.
    pub fn wait(self) -> End {
        let mut status = 0;
        // SAFETY: This process made the child, and `status` is writable.
        let got = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        assert_eq!(got, self.0, "waitpid: {}", std::io::Error::last_os_error());
        let crashed = libc::WIFSIGNALED(status);
        if crashed { End::Crashed(libc::WTERMSIG(status)) } else { End::Exited(libc::WEXITSTATUS(status)) }
    }
}

/// Runs `body` in a fork of this process, without waiting for it.
#[cfg(unix)]
pub fn started(body: impl FnOnce()) -> Started {
    // SAFETY: The child has only this thread. The C library keeps its own locks usable there, and the tests need no
    // other.
    let child = unsafe { libc::fork() };
    started_as(child, body)
}

/// Continues after a system call that made a child, which returned `child`. The child runs `body` and exits.
#[cfg(unix)]
pub fn started_as(child: libc::pid_t, body: impl FnOnce()) -> Started {
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 { run(body) } else { Started(child) }
}

/// Runs `body` in the child, and exits.
#[cfg(unix)]
fn run(body: impl FnOnce()) -> ! {
    // SAFETY: This affects only the child. The alarm ends a deadlock, and the limit prevents a core dump.
    unsafe {
        libc::alarm(120);
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    if let Err(panic) = &result {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let line = format!("in the child: {text}\n");
        // SAFETY: `line` is readable for its length. This does not use Rust's stderr, which a thread of the parent may
        // have locked.
        unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    }
    // SAFETY: The child of a fork must not run the parent's exit handlers.
    unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) }
}

/// Forks. Returns `None` in the child. In the parent, waits for the child and returns how it ended. The child must not
/// return from the test.
#[cfg(unix)]
pub fn forked_and_returned() -> Option<End> {
    // SAFETY: The child has only this thread. The C library keeps its own locks usable there, and the tests need no
    // other.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 { None } else { Some(Started(child).wait()) }
}

/// Runs `body`, which may crash, in a child process. `test` is the full name of the calling test, which Windows runs
/// again in a new process.
#[cfg(unix)]
pub fn crashing(_test: &str, body: impl FnOnce()) -> End {
    forked(body)
}

/// Runs `body`, which may crash, in a child process. `test` is the full name of the calling test, which Windows runs
/// again in a new process.
#[cfg(windows)]
pub fn crashing(test: &str, body: impl FnOnce()) -> End {
    const VARIABLE: &str = "EXECBUF_TEST_CHILD";
    /// Ends the process with the exception's code, without starting a debugger or showing a dialog.
    unsafe extern "system" fn end(_: *const std::ffi::c_void) -> i32 {
        1 // EXCEPTION_EXECUTE_HANDLER
    }
    unsafe extern "system" {
        fn SetUnhandledExceptionFilter(
            filter: unsafe extern "system" fn(*const std::ffi::c_void) -> i32,
        ) -> *const std::ffi::c_void;
    }
    if std::env::var_os(VARIABLE).is_some() {
        // SAFETY: The filter accesses nothing.
        unsafe { SetUnhandledExceptionFilter(end) };
        body();
        std::process::exit(0);
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("the path of the test program"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(VARIABLE, "1");
    let output = command.output().expect("the test program can be started again");
    match output.status.code() {
        Some(code) if (0..256).contains(&code) => End::Exited(code),
        Some(code) => End::Crashed(code),
        None => unreachable!("Windows processes have exit codes"),
    }
}

/// A flag in memory that a process shares with the children it forks.
#[cfg(unix)]
pub struct Shared(&'static std::sync::atomic::AtomicBool);

#[cfg(unix)]
impl Shared {
    pub fn new() -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: A new mapping affects no other mapping.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 1, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: The mapping holds zeros, is large enough, and is never unmapped.
        Self(unsafe { &*page.cast() })
    }

    pub fn set(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Release);
    }

    pub fn wait(&self) {
        while !self.0.load(std::sync::atomic::Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
}
