//! The memory of a `cranelift_jit::JITModule`, which writes to it as long as it is not executable.

use std::io;

use cranelift_jit::{BranchProtection, JITMemoryKind, JITMemoryProvider};
use cranelift_module::{ModuleError, ModuleResult};
use execbuf::{Data, Error, ExecBuffer, ExecPool, Staged};

/// Memory in a pool. The functions of a module live in it, so it must outlive their calls; `JITModule::free_memory` ends it.
///
/// Read-only data stays writable: `cranelift-jit` writes it whenever it likes, and does not say when it is done.
pub struct PoolMemory {
    pool: ExecPool,
    staged: Vec<(Staged, usize)>,
    published: Vec<ExecBuffer>,
    data: Vec<Data>,
}

impl PoolMemory {
    /// Makes a pool whose code and data are within 2 GiB of each other and of this program.
    pub fn new() -> Result<Self, Error> {
        let pool =
            ExecPool::builder().name("cranelift-jit").near(Self::new as *const u8).reach(1 << 31).build()?;
        Ok(Self { pool, staged: vec![], published: vec![], data: vec![] })
    }
}

impl JITMemoryProvider for PoolMemory {
    fn allocate(&mut self, size: usize, align: u64, kind: JITMemoryKind) -> io::Result<*mut u8> {
        if let JITMemoryKind::Executable = kind {
            let staged = self.pool.stage(size)?;
            let address = staged.as_mut_ptr();
            self.staged.push((staged, size));
            return Ok(address);
        }
        let data = self.pool.data(size.max(1), align as usize)?;
        let address = data.as_ptr();
        self.data.push(data);
        Ok(address)
    }

    unsafe fn free_memory(&mut self) {
        self.staged.clear();
        self.published.clear();
        self.data.clear();
    }

    fn finalize(&mut self, _: BranchProtection) -> ModuleResult<()> {
        for (staged, size) in self.staged.drain(..) {
            let published = staged.publish(size);
            let published =
                published.map_err(|error| ModuleError::Allocation { err: Error::from(error).into() })?;
            self.published.push(published);
        }
        Ok(())
    }
}
