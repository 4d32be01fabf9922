//! A handler of SIGSEGV that prints a backtrace with the names of published code and of Rust functions.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod crash {
    use core::ffi::{c_int, c_void};
    use std::sync::OnceLock;

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

    // The interface of the unwinder that Rust's standard library uses (Itanium C++ ABI, "Exception Handling", 1.1).
    type Visit = extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    unsafe extern "C" {
        fn _Unwind_Backtrace(visit: Visit, argument: *mut c_void) -> c_int;
        fn _Unwind_GetIP(context: *mut c_void) -> usize;
        fn _Unwind_FindEnclosingFunction(address: *const u8) -> *const c_void;
    }

    /// Prints a line for a frame, if it is not one of the handler. The argument is the address of the instruction that was
    /// interrupted, or 0 once its frame was printed. (A program that needs the names of all its functions would use the
    /// crate `backtrace`.)
    extern "C" fn print_frame(context: *mut c_void, argument: *mut c_void) -> c_int {
        // SAFETY: The unwinder has passed its context, and `on_fault` the argument.
        let (ip, interrupted) = unsafe { (_Unwind_GetIP(context), &mut *argument.cast::<usize>()) };
        if *interrupted != 0 && ip != *interrupted {
            return 0; // go on
        }
        // The others are return addresses, and may lie behind the end of a function.
        let address = ip.wrapping_sub(usize::from(*interrupted == 0)) as *const u8; // the last one is 0
        *interrupted = 0;
        let mut space = [0; 64];
        if let Some(symbol) = tools::symbol(address, &mut space) {
            println!("    {} + {} (published)", symbol.name(), ip - symbol.entry() as usize);
            return 0;
        }
        // SAFETY: The function takes any address.
        let function = unsafe { _Unwind_FindEnclosingFunction(address) };
        let known = [("crash::read", read as *const c_void), ("crash::run", run as *const c_void)];
        if let Some((name, _)) = known.iter().find(|(_, start)| *start == function) {
            println!("    {name}");
        }
        0
    }

    /// The signal has interrupted published code, not the allocator, so this may allocate.
    extern "C" fn on_fault(_: c_int, info: *const libc::siginfo_t, context: *const libc::ucontext_t) {
        // SAFETY: The kernel has passed both.
        let (address, ip) = unsafe { ((*info).si_addr(), (*context).uc_mcontext.gregs[libc::REG_RIP as usize]) };
        println!("SIGSEGV: the address is {address:?}");
        let mut interrupted = usize::try_from(ip).expect("addresses of code are positive");
        // SAFETY: The argument is what `print_frame` expects.
        unsafe { _Unwind_Backtrace(print_frame, (&raw mut interrupted).cast()) };
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
        READ.get().expect("`run` has set it").call();
    }

    #[inline(never)]
    pub(super) fn run() -> Result<(), execbuf::Error> {
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
    crash::run()?;
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    println!("this example is for Linux on x86-64");
    Ok(())
}
