//! Compares machine code with the interpreter. To test an extension of the language, add to both tests.

use execbuf::ExecBuffer;

use crate::Compiled;
use crate::compiler::compile;
use crate::program::{Program, interpret};

/// Runs a program as machine code and in the interpreter, which must agree.
fn result(source: &str, n: u64) -> u64 {
    let program = Program::parse(source).unwrap();
    let buffer = ExecBuffer::new(&compile(&program)).unwrap();
    // SAFETY: The compiler makes functions of this type.
    let result = unsafe { buffer.function::<Compiled>() }.call(n);
    assert_eq!(Some(result), interpret(&program, n, u64::MAX), "n = {n}, {source}");
    result
}

#[test]
fn a_program_has_the_expected_result() {
    assert_eq!(result("result = 10 - 2 * 3", 0), 4);
}

#[test]
fn random_expressions_have_the_result_of_the_interpreter() {
    let mut random = 1;
    for _ in 0..200 {
        let [a, b] = [expression(&mut random, 3), expression(&mut random, 3)];
        result(&format!("x = {a} repeat 3 {{ result = {b} x = result }}"), random);
    }
}

/// Returns a random expression, whose operators are nested to this depth.
fn expression(random: &mut u64, depth: usize) -> String {
    if depth == 0 {
        return ["n", "x", "result", "7"][choose(random, 4)].to_owned();
    }
    let operator = ["+", "-", "*"][choose(random, 3)]; // add new operators here
    let (left, right) = (expression(random, depth - 1), expression(random, depth - 1));
    format!("({left} {operator} {right})")
}

/// Returns a random number below `end`, by Marsaglia's xorshift64.
fn choose(random: &mut u64, end: usize) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random >> 32) as usize % end
}
