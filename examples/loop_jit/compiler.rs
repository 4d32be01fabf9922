//! Compiles a program: decides which instructions it needs. How they are encoded is the task of `Code`, of which each
//! architecture has its own.
//!
//! Each variable has a place on the stack. The value of an expression ends up in the register of results. Whatever has to
//! wait meanwhile is pushed: the left operand of an operator, and the number of turns that a loop still has to make.

#[cfg(target_arch = "aarch64")]
use crate::aarch64::Code;
use crate::program::{Expression, Program, RESULT, Statement};
#[cfg(target_arch = "x86_64")]
use crate::x86_64::Code;

/// Returns the machine code of a program, a function of the type `Compiled`.
pub fn compile(program: &Program) -> Vec<u8> {
    let mut code = Code::default();
    code.begin(program.variables);
    statements(&mut code, &program.body);
    code.load(RESULT);
    code.end()
}

fn statements(code: &mut Code, statements: &[Statement]) {
    for statement in statements {
        match statement {
            Statement::Assign(variable, value) => {
                expression(code, value);
                code.store(*variable);
            }
            Statement::Repeat(count, body) => repeat(code, count, body),
        }
    }
}

fn repeat(code: &mut Code, count: &Expression, body: &[Statement]) {
    expression(code, count);
    code.push();
    let again = code.position();
    let to_end = code.jump_if_top_is_zero();
    statements(code, body);
    code.decrement_top();
    let to_again = code.jump();
    code.patch(to_again, again);
    code.patch(to_end, code.position());
    code.drop_top();
}

/// Emits code that computes an expression into the register of results.
fn expression(code: &mut Code, value: &Expression) {
    match value {
        Expression::Number(number) => code.number(*number),
        Expression::Variable(variable) => code.load(*variable),
        Expression::Binary(operator, left, right) => {
            expression(code, left);
            code.push();
            expression(code, right);
            code.pop_and(*operator);
        }
    }
}
