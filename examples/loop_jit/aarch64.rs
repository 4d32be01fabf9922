//! Encodes AArch64 instructions. The result of an expression is in x0, and the variables are below the address in x29. The
//! stack pointer has to be a multiple of 16, so each variable and each pushed value takes 16 bytes.

use crate::program::Operator;

/// The type of compiled functions.
pub type Compiled = extern "C" fn(u64) -> u64;

#[derive(Default)]
pub struct Code {
    words: Vec<u32>,
}

impl Code {
    /// Begins the function. The first variable is its argument, and the others are 0.
    pub fn begin(&mut self, variables: usize) {
        self.emit(0xa9bf_7bfd); //                     stp x29, x30, [sp, #-16]!
        self.emit(0x9100_03fd); //                     mov x29, sp
        self.push();
        self.emit(0xd280_0000); //                     mov x0, #0
        for _ in 1..variables {
            self.push();
        }
    }

    /// Ends the function, which returns what is in x0.
    pub fn end(mut self) -> Vec<u8> {
        self.emit(0x9100_03bf); //                     mov sp, x29
        self.emit(0xa8c1_7bfd); //                     ldp x29, x30, [sp], #16
        self.emit(0xd65f_03c0); //                     ret
        self.words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    pub fn number(&mut self, number: u64) {
        let bits = |part: u32| u32::try_from(number >> (16 * part) & 0xffff).expect("16 bits");
        self.emit(0xd280_0000 | bits(0) << 5); //      movz x0, #bits
        self.emit(0xf2a0_0000 | bits(1) << 5); //      movk x0, #bits, lsl #16
        self.emit(0xf2c0_0000 | bits(2) << 5); //      movk x0, #bits, lsl #32
        self.emit(0xf2e0_0000 | bits(3) << 5); //      movk x0, #bits, lsl #48
    }

    pub fn load(&mut self, variable: usize) {
        self.address(variable);
        self.emit(0xf940_0120); //                     ldr x0, [x9]
    }

    pub fn store(&mut self, variable: usize) {
        self.address(variable);
        self.emit(0xf900_0120); //                     str x0, [x9]
    }

    fn address(&mut self, variable: usize) {
        let offset = u16::try_from(16 * (variable + 1)).expect("programs have few variables");
        self.emit(0xd280_0009 | u32::from(offset) << 5); // movz x9, #offset
        self.emit(0xcb09_03a9); //                     sub x9, x29, x9
    }

    pub fn push(&mut self) {
        self.emit(0xf81f_0fe0); //                     str x0, [sp, #-16]!
    }

    /// Pops the left operand. The right one is in x0.
    pub fn pop_and(&mut self, operator: Operator) {
        self.emit(0xf841_07e1); //                     ldr x1, [sp], #16
        self.emit(match operator {
            Operator::Add => 0x8b00_0020,      //           add x0, x1, x0
            Operator::Subtract => 0xcb00_0020, //      sub x0, x1, x0
            Operator::Multiply => 0x9b00_7c20, //      mul x0, x1, x0
        });
    }

    pub fn decrement_top(&mut self) {
        self.emit(0xf940_03e9); //                     ldr x9, [sp]
        self.emit(0xd100_0529); //                     sub x9, x9, #1
        self.emit(0xf900_03e9); //                     str x9, [sp]
    }

    pub fn drop_top(&mut self) {
        self.emit(0x9100_43ff); //                     add sp, sp, #16
    }

    /// Emits a jump without its distance, and returns where it is.
    pub fn jump_if_top_is_zero(&mut self) -> usize {
        self.emit(0xf940_03e9); //                     ldr x9, [sp]
        self.emit(0xb500_0049); //                     cbnz x9, over the next
        self.jump()
    }

    /// Emits a jump without its distance, and returns where it is.
    pub fn jump(&mut self) -> usize {
        self.emit(0x1400_0000); //                     b target
        self.position() - 1
    }

    /// Fills in a distance. It counts instructions, from the jump itself.
    pub fn patch(&mut self, at: usize, target: usize) {
        let number = |position| u32::try_from(position).expect("programs are small");
        let distance = number(target).wrapping_sub(number(at));
        self.words[at] |= distance & 0x03ff_ffff;
    }

    pub fn position(&self) -> usize {
        self.words.len()
    }

    fn emit(&mut self, word: u32) {
        self.words.push(word);
    }
}
