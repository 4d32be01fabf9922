//! Passes Rust closures to C functions whose callbacks have no argument for user data: a comparison for `qsort`, another one
//! whose signature is text, and the start routine of a thread.

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
mod closures {
    use core::ffi::{c_int, c_void};

    use execbuf::dynamic::DynClosure;
    use execbuf::{Abi, ClosureMut, Error};

    unsafe extern "C" {
        fn qsort(
            base: *mut c_void,
            count: usize,
            size: usize,
            compare: extern "C" fn(*const c_void, *const c_void) -> c_int,
        );
    }

    /// Sorts the indices of names by name, and returns the number of comparisons.
    fn sort_by_name(indices: &mut [u32], names: &[&str]) -> Result<u32, Error> {
        let mut comparisons = 0;
        let compare = ClosureMut::new(|a: *const c_void, b: *const c_void| -> c_int {
            comparisons += 1;
            // SAFETY: qsort passes pointers to elements.
            let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
            names[a as usize].cmp(names[b as usize]) as c_int
        })?;
        // SAFETY: The slice has this length and element size. qsort calls the function only while it runs, one call after
        // the other, on this thread.
        unsafe { qsort(indices.as_mut_ptr().cast(), indices.len(), size_of::<u32>(), compare.as_fn()) };
        drop(compare);
        Ok(comparisons)
    }

    /// Sorts the indices by name, backwards, with a comparison whose signature is known only at run time.
    fn sort_backwards(indices: &mut [u32], names: &[&str]) -> Result<(), Error> {
        let compare = DynClosure::new(&"i(pp)".parse()?, Abi::NATIVE, |call| {
            let index = |argument| {
                let pointer: *const u32 = call.arg(argument).expect("a pointer");
                // SAFETY: qsort passes pointers to elements.
                unsafe { *pointer as usize }
            };
            let order = names[index(1)].cmp(names[index(0)]);
            call.set_result(order as i32).expect("an int");
        })?;
        let function = compare.function::<extern "C" fn(*const c_void, *const c_void) -> c_int>()?;
        // SAFETY: As above.
        unsafe { qsort(indices.as_mut_ptr().cast(), indices.len(), size_of::<u32>(), function.as_fn()) };
        Ok(())
    }

    /// Starts a thread that calls a closure. Nobody waits for the thread, so the call frees the closure.
    #[cfg(unix)]
    fn start(body: impl FnOnce() + Send + 'static) -> Result<(), Box<dyn std::error::Error>> {
        let routine = execbuf::ClosureOnce::new(move |_: *mut c_void| -> *mut c_void {
            body();
            core::ptr::null_mut()
        })?;
        let mut thread = 0;
        // SAFETY: The new thread calls the routine once. If there is no new thread, nobody calls it.
        let code = unsafe {
            libc::pthread_create(&raw mut thread, core::ptr::null(), routine.as_fn(), core::ptr::null_mut())
        };
        if code != 0 {
            return Err(std::io::Error::from_raw_os_error(code).into()); // dropping `routine` frees it
        }
        routine.detach(); // from now on, the call frees it
        // SAFETY: The thread is new, and nobody joins it.
        unsafe { libc::pthread_detach(thread) };
        Ok(())
    }

    /// As above.
    #[cfg(windows)]
    fn start(body: impl FnOnce() + Send + 'static) -> Result<(), Box<dyn std::error::Error>> {
        type Routine = extern "system" fn(*mut c_void) -> u32;
        unsafe extern "system" {
            fn CreateThread(
                attributes: *const c_void,
                stack_size: usize,
                routine: Routine,
                argument: *mut c_void,
                flags: u32,
                id: *mut u32,
            ) -> *mut c_void;
            fn CloseHandle(handle: *mut c_void) -> i32;
        }
        let routine = execbuf::ClosureOnce::<Routine, _>::typed(move |_| {
            body();
            0
        })?;
        let null = core::ptr::null_mut();
        // SAFETY: The new thread calls the routine once. If there is no new thread, nobody calls it.
        let thread = unsafe { CreateThread(null, 0, routine.as_fn(), null, 0, null.cast()) };
        if thread.is_null() {
            return Err(std::io::Error::last_os_error().into()); // dropping `routine` frees it
        }
        routine.detach(); // from now on, the call frees it
        // SAFETY: The handle is new, and nobody else has it.
        unsafe { CloseHandle(thread) };
        Ok(())
    }

    pub(super) fn main() -> Result<(), Box<dyn std::error::Error>> {
        let names = ["pear", "apple", "fig", "cherry"];
        let mut indices = [0, 1, 2, 3];
        let comparisons = sort_by_name(&mut indices, &names)?;
        let by = |indices: [u32; 4]| indices.map(|index| names[index as usize]);
        println!("{:?}", by(indices));
        assert!(by(indices).is_sorted() && comparisons > 0);
        sort_backwards(&mut indices, &names)?;
        println!("{:?}", by(indices));

        let (sender, receiver) = std::sync::mpsc::channel();
        start(move || sender.send("hello from a thread").unwrap())?;
        println!("{}", receiver.recv()?);
        Ok(())
    }
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows))))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    closures::main()
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(windows)))))]
fn main() {
    println!("closures need x86-64 or AArch64");
}
