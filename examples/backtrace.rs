//! A handler of SIGSEGV that prints a backtrace with the names of published code and of Rust functions.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod crash {
    use core::ffi::c_int;
    use std::sync::OnceLock;

    use backtrace::SymbolName;
    use execbuf::{ExecBuffer, ExecPool, Function, Info, Unwind, tools};

    /// Reads from address 0.
    const READER: [u8; 9] = [
        0x55, //             push rbp
        0x48, 0x89, 0xe5, // mov rbp, rsp
        0x31, 0xc0, //       xor eax, eax
        0x8b, 0x00, //       mov eax, [rax]
        0xc3, //             ret
    ];
    /// Calls its argument.
    const CALLER: [u8; 8] = [
        0x55, //             push rbp
        0x48, 0x89, 0xe5, // mov rbp, rsp
        0xff, 0xd7, //       call rdi
        0x5d, //             pop rbp
        0xc3, //             ret
    ];

    static READ: OnceLock<Function<extern "C" fn(), ExecBuffer>> = OnceLock::new();

    /// Prints a line for each frame from the one whose instruction is at `start` to that of [`main`].
    fn print_frames(start: usize) {
        let mut is_first = true;
        backtrace::trace(|frame| {
            let ip = frame.ip() as usize;
            if is_first && ip != start {
                return true; // a frame of the handler
            }
            // The others are return addresses, and may lie behind the end of a function.
            let address = ip - usize::from(!is_first);
            is_first = false;
            let mut space = [0; 64];
            let mut goes_on = true;
            if let Some(symbol) = tools::symbol(address as *const u8, &mut space) {
                println!("    {} + {} (published)", symbol.name(), ip - symbol.entry() as usize);
            } else {
                backtrace::resolve_frame(frame, |symbol| {
                    let name = format!("{:#}", symbol.name().unwrap_or(SymbolName::new(b"unknown")));
                    if name.starts_with("backtrace::") {
                        println!("    {name}"); // functions of libraries are left out
                    }
                    goes_on &= name != "backtrace::crash::main";
                });
            }
            goes_on
        });
    }

    /// The signal has interrupted published code, not the allocator, so this may allocate.
    extern "C" fn on_fault(_: c_int, info: *const libc::siginfo_t, context: *const libc::ucontext_t) {
        // SAFETY: The kernel has passed both.
        let (address, ip) = unsafe { ((*info).si_addr(), (*context).uc_mcontext.gregs[libc::REG_RIP as usize]) };
        println!("SIGSEGV: the address is {address:?}");
        print_frames(usize::try_from(ip).expect("addresses of code are positive"));
        std::process::exit(0);
    }

    fn handle_faults() {
        // SAFETY: All zeros are such a structure.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: The handler is a function with these arguments.
        let result = unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, core::ptr::null_mut()) };
        assert_eq!(result, 0, "SIGSEGV can be handled");
    }

    extern "C" fn read() {
        READ.get().expect("main has set it").call();
    }

    #[inline(never)]
    pub(super) fn main() -> Result<(), execbuf::Error> {
        handle_faults();
        let pool = ExecPool::new()?;
        let info = Info::new().unwind(Unwind::FramePointer);
        let reader = pool.publish_with(&READER, &info.name("reader"))?;
        let caller = pool.publish_with(&CALLER, &info.name("caller"))?;
        // SAFETY: The bytes are such functions, and the descriptions are true.
        let (reader, caller) =
            unsafe { (reader.into_function(), caller.function::<extern "C" fn(extern "C" fn())>()) };
        READ.get_or_init(|| reader);
        caller.call(read);
        unreachable!("reading from address 0 is a fault");
    }
}

fn main() -> Result<(), execbuf::Error> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    crash::main()?;
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    println!("this example is for Linux on x86-64");
    Ok(())
}
