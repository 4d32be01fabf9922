//! Random programs for the compiler in `examples/loop_jit`: its machine code agrees with the interpreter, and decodes.

#![allow(unreachable_pub, dead_code, reason = "the modules of the example")]

#[cfg(target_arch = "aarch64")]
#[path = "../../examples/loop_jit/aarch64.rs"]
mod aarch64;
#[path = "../../examples/loop_jit/compiler.rs"]
mod compiler;
#[path = "../../examples/loop_jit/program.rs"]
mod program;
#[cfg(target_arch = "x86_64")]
#[path = "../../examples/loop_jit/x86_64.rs"]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::Compiled;
use execbuf::ExecBuffer;
use program::{Expression, Operator, Program, Statement, interpret};
use proptest::prelude::*;
#[cfg(target_arch = "x86_64")]
use x86_64::Compiled;

fn run(program: &Program, n: u64) -> u64 {
    let buffer = ExecBuffer::new(&compiler::compile(program)).unwrap();
    // SAFETY: The compiler makes functions of this type.
    unsafe { buffer.function::<Compiled>() }.call(n)
}

/// The number of variables in random programs.
const VARIABLES: usize = 5;

fn expression() -> impl Strategy<Value = Expression> {
    let number = prop_oneof![0..10_u64, any::<u64>()].prop_map(Expression::Number);
    let leaf = prop_oneof![number, (0..VARIABLES).prop_map(Expression::Variable)];
    let operator = prop::sample::select(vec![Operator::Add, Operator::Subtract, Operator::Multiply]);
    leaf.prop_recursive(4, 20, 2, move |inner| {
        let (left, right) = (inner.clone(), inner);
        (operator.clone(), left, right)
            .prop_map(|(operator, left, right)| Expression::Binary(operator, Box::new(left), Box::new(right)))
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let assign = (0..VARIABLES, expression()).prop_map(|(variable, value)| Statement::Assign(variable, value));
    assign.prop_recursive(3, 20, 4, |inner| {
        let count = prop_oneof![4 => (0..5_u64).prop_map(Expression::Number), 1 => expression()];
        (count, prop::collection::vec(inner, 0..5)).prop_map(|(count, body)| Statement::Repeat(count, body))
    })
}

fn program() -> impl Strategy<Value = Program> {
    prop::collection::vec(statement(), 0..8).prop_map(|body| Program { variables: VARIABLES, body })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn machine_code_agrees_with_the_interpreter(program in program(), n in prop_oneof![0..9_u64, any::<u64>()]) {
        // A program that takes longer may take centuries. In an emulator, even short ones take a while.
        if let Some(result) = interpret(&program, n, 2000) {
            prop_assert_eq!(run(&program, n), result);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn machine_code_decodes_and_jumps_only_to_instructions(program in program()) {
        use iced_x86::{Decoder, DecoderOptions, FlowControl};
        let code = compiler::compile(&program);
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
