//! Encodes x86-64 instructions. The result of an expression is in rax, and the variables are below the address in rbp.

use crate::program::Operator;

/// The type of compiled functions. It names the System V convention, so the same bytes also run on Windows.
pub type Compiled = extern "sysv64" fn(u64) -> u64;

#[derive(Default)]
pub struct Code {
    bytes: Vec<u8>,
}

impl Code {
    /// Begins the function. The first variable is its argument, and the others are 0.
    pub fn begin(&mut self, variables: usize) {
        self.emit(&[0x55]); //                         push rbp
        self.emit(&[0x48, 0x89, 0xe5]); //             mov rbp, rsp
        self.emit(&[0x57]); //                         push rdi
        self.emit(&[0x31, 0xc0]); //                   xor eax, eax
        for _ in 1..variables {
            self.push(); // rax is 0, so each push makes a variable
        }
    }

    /// Ends the function, which returns what is in rax.
    pub fn end(mut self) -> Vec<u8> {
        self.emit(&[0xc9]); //                         leave           mov rsp, rbp; pop rbp
        self.emit(&[0xc3]); //                         ret
        self.bytes
    }

    pub fn number(&mut self, number: u64) {
        self.emit(&[0x48, 0xb8]); //                   mov rax, number
        self.emit(&number.to_le_bytes());
    }

    pub fn load(&mut self, variable: usize) {
        self.emit(&[0x48, 0x8b, 0x85]); //             mov rax, [rbp + offset]
        self.emit(&offset(variable).to_le_bytes());
    }

    pub fn store(&mut self, variable: usize) {
        self.emit(&[0x48, 0x89, 0x85]); //             mov [rbp + offset], rax
        self.emit(&offset(variable).to_le_bytes());
    }

    pub fn push(&mut self) {
        self.emit(&[0x50]); //                         push rax
    }

    /// Pops the left operand. The right one is in rax.
    pub fn pop_and(&mut self, operator: Operator) {
        self.emit(&[0x48, 0x89, 0xc1]); //             mov rcx, rax
        self.emit(&[0x58]); //                         pop rax
        match operator {
            Operator::Add => self.emit(&[0x48, 0x01, 0xc8]), //            add rax, rcx
            Operator::Subtract => self.emit(&[0x48, 0x29, 0xc8]), //       sub rax, rcx
            Operator::Multiply => self.emit(&[0x48, 0x0f, 0xaf, 0xc1]), // imul rax, rcx
        }
    }

    pub fn decrement_top(&mut self) {
        self.emit(&[0x48, 0xff, 0x0c, 0x24]); //       dec qword [rsp]
    }

    pub fn drop_top(&mut self) {
        self.emit(&[0x59]); //                         pop rcx
    }

    /// Emits a jump without its distance, and returns where the distance belongs.
    pub fn jump_if_top_is_zero(&mut self) -> usize {
        self.emit(&[0x48, 0x83, 0x3c, 0x24, 0x00]); // cmp qword [rsp], 0
        self.emit(&[0x0f, 0x84]); //                   je target
        self.distance()
    }

    /// Emits a jump without its distance, and returns where the distance belongs.
    pub fn jump(&mut self) -> usize {
        self.emit(&[0xe9]); //                         jmp target
        self.distance()
    }

    fn distance(&mut self) -> usize {
        let at = self.position();
        self.emit(&[0; 4]);
        at
    }

    /// Fills in a distance. It counts from the end of the jump, which is the end of the distance.
    pub fn patch(&mut self, at: usize, target: usize) {
        let number = |position| i32::try_from(position).expect("programs are smaller than 2 GiB");
        let distance = number(target) - number(at + 4);
        self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }

    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

/// Returns the distance of a variable from the address in rbp.
fn offset(variable: usize) -> i32 {
    -8 * (i32::try_from(variable).expect("programs have few variables") + 1)
}
