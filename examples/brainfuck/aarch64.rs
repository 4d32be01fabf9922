//! Emits AArch64 machine code with the C convention (AAPCS64).
//!
//! | register | holds |
//! |---|---|
//! | x19 | the tape |
//! | x20 | the index of the current cell |
//! | x21 | the tape's length |
//! | x22 | the pointer for the callbacks |
//!
//! All four are callee-saved: the callbacks preserve them, and the prologue saves them. w9 is a scratch register.

pub struct Code {
    words: Vec<u32>,
    put: u64,
    get: u64,
    /// For each `[` without its `]` so far: the position of its jump.
    open: Vec<usize>,
    /// Jumps that end the function early: their positions, and the results of the function.
    stops: Vec<(usize, u32)>,
}

impl Code {
    pub fn new(put: u64, get: u64) -> Self {
        Self { words: Vec::new(), put, get, open: Vec::new(), stops: Vec::new() }
    }

    pub fn position(&self) -> usize {
        self.words.len()
    }

    pub fn prologue(&mut self) {
        self.emit(0xa9bd_7bfd); //                        stp x29, x30, [sp, #-48]!
        self.emit(0x9100_03fd); //                        mov x29, sp
        self.emit(0xa901_53f3); //                        stp x19, x20, [sp, #16]
        self.emit(0xa902_5bf5); //                        stp x21, x22, [sp, #32]
        self.emit(0xaa00_03f3); //                        mov x19, x0
        self.emit(0xaa01_03f5); //                        mov x21, x1
        self.emit(0xaa02_03f6); //                        mov x22, x2
        self.emit(0xaa1f_03f4); //                        mov x20, xzr
    }

    pub fn move_by(&mut self, by: i32, stop: u32) {
        let size = by.unsigned_abs();
        self.emit(0x5280_0009 | (size & 0xffff) << 5); // movz w9, #size
        self.emit(0x72a0_0009 | size >> 16 << 5); //      movk w9, #size >> 16, lsl #16
        if by < 0 {
            self.emit(0xcb09_0294); //                    sub x20, x20, x9
        } else {
            self.emit(0x8b09_0294); //                    add x20, x20, x9
        }
        self.emit(0xeb15_029f); //                        cmp x20, x21
        self.emit(0x5400_0043); //                        b.lo over the next    unsigned: negative is out of range
        self.stop(stop);
    }

    pub fn add(&mut self, by: u8) {
        self.load();
        self.emit(0x1100_0129 | u32::from(by) << 10); //  add w9, w9, #by
        self.emit(0x3834_6a69); //                        strb w9, [x19, x20]
    }

    pub fn output(&mut self, stop: u32) {
        self.emit(0x3874_6a61); //                        ldrb w1, [x19, x20]
        self.call(self.put);
        self.emit(0x3400_0040); //                        cbz w0, over the next
        self.stop(stop);
    }

    pub fn input(&mut self) {
        self.call(self.get);
        self.emit(0x3834_6a60); //                        strb w0, [x19, x20]
    }

    pub fn begin(&mut self) {
        self.load();
        self.emit(0x3500_0049); //                        cbnz w9, over the next
        self.open.push(self.position());
        self.emit(0); //                                  b after the ]
    }

    pub fn end(&mut self, begin: usize) {
        const TEST: usize = 3; // the length of the code that `begin` emits
        self.load();
        self.emit(0x3400_0049); //                        cbz w9, over the next
        let at = self.position();
        self.emit(0); //                                  b after the [
        self.patch(at, begin + TEST);
        let open = self.open.pop().expect("the parser pairs brackets");
        self.patch(open, self.position());
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.emit(0xd280_0000); //                        mov x0, #0
        let epilogue = self.position();
        self.emit(0xa942_5bf5); //                        ldp x21, x22, [sp, #32]
        self.emit(0xa941_53f3); //                        ldp x19, x20, [sp, #16]
        self.emit(0xa8c3_7bfd); //                        ldp x29, x30, [sp], #48
        self.emit(0xd65f_03c0); //                        ret
        for (at, result) in std::mem::take(&mut self.stops) {
            self.patch(at, self.position());
            self.emit(0x5280_0000 | (result & 0xffff) << 5); // movz w0, #result
            self.emit(0x72a0_0000 | result >> 16 << 5); // movk w0, #result >> 16, lsl #16
            let at = self.position();
            self.emit(0); //                              b epilogue
            self.patch(at, epilogue);
        }
        self.words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn load(&mut self) {
        self.emit(0x3874_6a69); //                        ldrb w9, [x19, x20]
    }

    fn call(&mut self, function: u64) {
        self.emit(0xaa16_03e0); //                        mov x0, x22
        for part in 0..4 {
            let bits = u32::try_from(function >> (16 * part) & 0xffff).expect("16 bits");
            let keep = if part == 0 { 0xd280_0009 } else { 0xf280_0009 };
            self.emit(keep | part << 21 | bits << 5); //  movz, movk x9, #bits, lsl #16 * part
        }
        self.emit(0xd63f_0120); //                        blr x9
    }

    fn emit(&mut self, word: u32) {
        self.words.push(word);
    }

    /// Emits a placeholder of a jump that ends the function early.
    fn stop(&mut self, result: u32) {
        self.stops.push((self.position(), result));
        self.emit(0); //                                  b stop
    }

    /// Fills in a jump. Its distance is in instructions, relative to the jump itself.
    fn patch(&mut self, at: usize, target: usize) {
        let distance = target.wrapping_sub(at);
        assert!(distance.wrapping_add(1 << 25) < 1 << 26, "programs are smaller than 128 MiB");
        let bits = u32::try_from(distance & 0x03ff_ffff).expect("26 bits");
        self.words[at] = 0x1400_0000 | bits; //           b target
    }
}
