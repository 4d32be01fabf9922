//! Random programs for the compiler in `examples/brainfuck`: its machine code agrees with the interpreter, and decodes.

#![allow(unreachable_pub, dead_code, reason = "the modules of the example")]

#[path = "../../examples/brainfuck/jit.rs"]
mod jit;
#[path = "../../examples/brainfuck/program.rs"]
mod program;

use jit::Jit;
use program::{Program, Streams, interpret};
use proptest::prelude::*;

/// Generates random programs with balanced brackets.
fn source() -> impl Strategy<Value = String> {
    let command =
        prop::sample::select(vec!["+", "-", ">", "<", ".", ",", "++++", "[-]", "\n"]).prop_map(String::from);
    command.prop_recursive(4, 60, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(|commands| format!("[{}]", commands.concat()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn machine_code_agrees_with_the_interpreter(
        commands in prop::collection::vec(source(), 0..30),
        input in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let source = commands.concat();
        let program = Program::parse(&source).unwrap();
        let mut output = Vec::new();
        let result = interpret(&program, &mut Streams::new(&input, &mut output), 100_000);
        // A program that takes longer may never end.
        if let Some(result) = result {
            let mut compiled_output = Vec::new();
            let compiled = Jit::new(&program).unwrap().run(&mut Streams::new(&input, &mut compiled_output));
            prop_assert_eq!((compiled_output, compiled), (output, result));
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn machine_code_decodes_and_jumps_only_to_instructions(
        commands in prop::collection::vec(source(), 0..30),
    ) {
        use iced_x86::{Decoder, DecoderOptions, FlowControl};
        let code = jit::compile(&Program::parse(&commands.concat()).unwrap());
        let instructions: Vec<_> = Decoder::with_ip(64, &code, 0x1000, DecoderOptions::NONE).into_iter().collect();
        let begins: std::collections::HashSet<u64> = instructions.iter().map(iced_x86::Instruction::ip).collect();
        for instruction in &instructions {
            prop_assert!(!instruction.is_invalid());
            let flow = instruction.flow_control();
            if matches!(flow, FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch) {
                prop_assert!(begins.contains(&instruction.near_branch_target()));
            }
        }
    }
}
