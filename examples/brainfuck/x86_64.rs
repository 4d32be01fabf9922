//! Emits x86-64 machine code with the System V convention.
//!
//! | register | holds |
//! |---|---|
//! | rbx | the tape |
//! | r12 | the index of the current cell |
//! | r13 | the tape's length |
//! | r14 | the pointer for the callbacks |
//!
//! All four are callee-saved: the callbacks preserve them, and the prologue saves them.

pub struct Code {
    bytes: Vec<u8>,
    put: u64,
    get: u64,
    /// For each `[` without its `]` so far: the position of the distance in its jump.
    open: Vec<usize>,
    /// Jumps that end the function early: the positions of their distances, and the results of the function.
    stops: Vec<(usize, u32)>,
}

impl Code {
    pub fn new(put: u64, get: u64) -> Self {
        Self { bytes: Vec::new(), put, get, open: Vec::new(), stops: Vec::new() }
    }

    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    pub fn prologue(&mut self) {
        self.emit(&[0x53]); //                         push rbx
        self.emit(&[0x41, 0x54]); //                   push r12
        self.emit(&[0x41, 0x55]); //                   push r13
        self.emit(&[0x41, 0x56]); //                   push r14
        self.emit(&[0x48, 0x83, 0xec, 0x08]); //       sub rsp, 8          aligns the stack to 16 for the calls
        self.emit(&[0x48, 0x89, 0xfb]); //             mov rbx, rdi
        self.emit(&[0x49, 0x89, 0xf5]); //             mov r13, rsi
        self.emit(&[0x49, 0x89, 0xd6]); //             mov r14, rdx
        self.emit(&[0x45, 0x31, 0xe4]); //             xor r12d, r12d
    }

    pub fn move_by(&mut self, by: i32, stop: u32) {
        self.emit(&[0x49, 0x81, 0xc4]); //             add r12, by
        self.emit(&by.to_le_bytes());
        self.emit(&[0x4d, 0x39, 0xec]); //             cmp r12, r13
        self.emit(&[0x0f, 0x83]); //                   jae stop            unsigned: negative is out of range
        self.stop(stop);
    }

    pub fn add(&mut self, by: u8) {
        self.emit(&[0x42, 0x80, 0x04, 0x23, by]); //   add byte [rbx + r12], by
    }

    pub fn output(&mut self, stop: u32) {
        self.emit(&[0x42, 0x0f, 0xb6, 0x34, 0x23]); // movzx esi, byte [rbx + r12]
        self.call(self.put);
        self.emit(&[0x85, 0xc0]); //                   test eax, eax
        self.emit(&[0x0f, 0x85]); //                   jnz stop
        self.stop(stop);
    }

    pub fn input(&mut self) {
        self.call(self.get);
        self.emit(&[0x42, 0x88, 0x04, 0x23]); //       mov [rbx + r12], al
    }

    pub fn begin(&mut self) {
        self.emit(&[0x42, 0x80, 0x3c, 0x23, 0x00]); // cmp byte [rbx + r12], 0
        self.emit(&[0x0f, 0x84]); //                   je after the ]
        self.open.push(self.position());
        self.emit(&[0; 4]);
    }

    pub fn end(&mut self, begin: usize) {
        const TEST: usize = 5 + 2 + 4; // the length of the code that `begin` emits
        self.emit(&[0x42, 0x80, 0x3c, 0x23, 0x00]); // cmp byte [rbx + r12], 0
        self.emit(&[0x0f, 0x85]); //                   jne after the [
        let at = self.position();
        self.emit(&[0; 4]);
        self.patch(at, begin + TEST);
        let open = self.open.pop().expect("the parser pairs brackets");
        self.patch(open, self.position());
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.emit(&[0x31, 0xc0]); //                   xor eax, eax
        let epilogue = self.position();
        self.emit(&[0x48, 0x83, 0xc4, 0x08]); //       add rsp, 8
        self.emit(&[0x41, 0x5e]); //                   pop r14
        self.emit(&[0x41, 0x5d]); //                   pop r13
        self.emit(&[0x41, 0x5c]); //                   pop r12
        self.emit(&[0x5b]); //                         pop rbx
        self.emit(&[0xc3]); //                         ret
        for (at, result) in std::mem::take(&mut self.stops) {
            self.patch(at, self.position());
            self.emit(&[0xb8]); //                     mov eax, result
            self.emit(&result.to_le_bytes());
            self.emit(&[0xe9]); //                     jmp epilogue
            let at = self.position();
            self.emit(&[0; 4]);
            self.patch(at, epilogue);
        }
        self.bytes
    }

    fn call(&mut self, function: u64) {
        self.emit(&[0x4c, 0x89, 0xf7]); //             mov rdi, r14
        self.emit(&[0x48, 0xb8]); //                   mov rax, function
        self.emit(&function.to_le_bytes());
        self.emit(&[0xff, 0xd0]); //                   call rax
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Emits a placeholder of the distance of a jump that ends the function early.
    fn stop(&mut self, result: u32) {
        self.stops.push((self.position(), result));
        self.emit(&[0; 4]);
    }

    /// Fills in the distance of a jump, which is relative to the end of the jump.
    fn patch(&mut self, at: usize, target: usize) {
        let distance = i64::try_from(target).and_then(|to| Ok(to - i64::try_from(at + 4)?));
        let distance = distance.ok().and_then(|distance| i32::try_from(distance).ok());
        let distance = distance.expect("programs are smaller than 2 GiB");
        self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }
}
