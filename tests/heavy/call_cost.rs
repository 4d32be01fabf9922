//! Checks that `Function::call` compiles to the same instructions as a call through a function pointer. This needs an
//! optimised build for x86-64: `cargo test --release --test call_cost -- --nocapture` also prints the instructions.

#[cfg(not(all(target_arch = "x86_64", not(debug_assertions))))]
#[path = "../support/output.rs"]
mod output;

#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
mod disassembly {
    use execbuf::{ExecBuffer, Function, SharedFunction};
    use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter, IntelFormatter};

    type F = extern "C" fn(u64, u64) -> u64;

    #[inline(never)]
    extern "C" fn by_pointer(function: &F, a: u64, b: u64) -> u64 {
        function(a, b)
    }

    #[inline(never)]
    extern "C" fn by_function(function: &Function<F, &ExecBuffer>, a: u64, b: u64) -> u64 {
        function.call(a, b)
    }

    #[inline(never)]
    extern "C" fn by_owned_function(function: &Function<F, ExecBuffer>, a: u64, b: u64) -> u64 {
        function.call(a, b)
    }

    #[inline(never)]
    extern "C" fn by_shared_function(function: &SharedFunction<F>, a: u64, b: u64) -> u64 {
        function.call(a, b)
    }

    /// Decodes the instructions from an address to the first one that leaves the function.
    fn instructions(address: usize) -> Vec<String> {
        // SAFETY: A function of this program begins at the address. The compiler places more code after it, so 64 bytes
        // are readable.
        let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, 64) };
        let mut formatter = IntelFormatter::new();
        let mut lines = Vec::new();
        for instruction in &mut Decoder::with_ip(64, bytes, address as u64, DecoderOptions::NONE) {
            let mut line = String::new();
            formatter.format(&instruction, &mut line);
            lines.push(line);
            let flow = instruction.flow_control();
            if matches!(flow, FlowControl::Return | FlowControl::IndirectBranch | FlowControl::UnconditionalBranch)
            {
                break;
            }
        }
        lines
    }

    #[test]
    fn a_call_compiles_to_the_instructions_of_a_call_through_a_function_pointer() {
        let pointer = instructions(by_pointer as extern "C" fn(&F, u64, u64) -> u64 as usize);
        type Call<T> = extern "C" fn(&T, u64, u64) -> u64;
        let borrowed = instructions(by_function as Call<Function<F, &ExecBuffer>> as usize);
        let owned = instructions(by_owned_function as Call<Function<F, ExecBuffer>> as usize);
        let shared = instructions(by_shared_function as Call<SharedFunction<F>> as usize);
        println!(
            "through a pointer: {pointer:#?}\nborrowed: {borrowed:#?}\nowned: {owned:#?}\nshared: {shared:#?}"
        );
        assert_eq!((&borrowed, &owned, &shared), (&pointer, &pointer, &pointer));
    }
}

#[cfg(not(all(target_arch = "x86_64", not(debug_assertions))))]
#[test]
fn a_call_compiles_to_the_instructions_of_a_call_through_a_function_pointer() {
    output::skip("the instructions of a call: they need an optimised build for x86-64");
}
