//! A Cranelift `Module` on a pool: functions that call each other, constants, data, names and unwinding.
//!
//! Everything has its address when it is defined. `finalize` links all that was defined, then publishes it in one step.

use std::any::Any;
use std::collections::HashMap;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::Signature;
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa, unwind::UnwindInfo};
use cranelift_codegen::{Context, gimli};
use cranelift_module::{
    DataDescription, DataId, FuncId, Init, Linkage, Module, ModuleDeclarations, ModuleError, ModuleReloc,
    ModuleRelocTarget, ModuleResult,
};
use execbuf::{Data, Error, ExecPool, FnPtr, Function, Info, Reserved, Unwind};
use gimli::RunTimeEndian;
use gimli::write::{Address, EhFrame, EndianVec, FrameTable};

/// What was defined and is not linked yet: its memory, its bytes, and where the bytes depend on addresses.
struct Pending<T> {
    memory: T,
    bytes: Vec<u8>,
    relocations: Vec<ModuleReloc>,
}

/// A module whose functions and data live in a pool of their own.
pub struct PoolModule {
    isa: OwnedTargetIsa,
    pool: ExecPool,
    declarations: ModuleDeclarations,
    imports: HashMap<String, usize>,
    /// Of functions (0) and data (1), by their numbers.
    addresses: HashMap<(u32, u32), usize>,
    code: Vec<(Pending<Reserved>, FuncId, Option<UnwindInfo>)>,
    data: Vec<Pending<Data>>,
    /// All that was published.
    kept: Vec<Box<dyn Any + Send>>,
}

impl PoolModule {
    /// Makes an empty module. `imports` has the addresses of the functions that it imports.
    pub fn new(isa: OwnedTargetIsa, imports: HashMap<String, usize>) -> Result<Self, Error> {
        let near = imports.values().next().map_or(Self::new as *const () as usize, |address| *address);
        let pool = ExecPool::builder().name("cranelift").reach(1 << 31).near(near as *const u8).build()?;
        let (declarations, addresses) = Default::default();
        Ok(Self { isa, pool, declarations, imports, addresses, code: vec![], data: vec![], kept: vec![] })
    }

    fn address_of(&self, target: &ModuleRelocTarget) -> usize {
        match *target {
            ModuleRelocTarget::User { namespace, index } => self.addresses[&(namespace, index)],
            ModuleRelocTarget::FunctionOffset(id, offset) => self.addresses[&(0, id.as_u32())] + offset as usize,
            ref other => panic!("not supported: {other:?}"),
        }
    }

    /// Writes the addresses into bytes that are for this address.
    fn link(&self, address: usize, bytes: &mut [u8], relocations: &[ModuleReloc]) {
        for relocation in relocations {
            let at = relocation.offset as usize;
            let target = self.address_of(&relocation.name).wrapping_add_signed(relocation.addend as isize);
            match relocation.kind {
                Reloc::Abs8 => bytes[at..at + 8].copy_from_slice(&target.to_le_bytes()),
                Reloc::X86PCRel4 | Reloc::X86CallPCRel4 => {
                    let distance = i32::try_from(target.wrapping_sub(address + at) as isize).expect("the reach");
                    bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
                }
                other => panic!("not supported: {other:?}"),
            }
        }
    }

    /// The unwind table of a function at an address.
    fn unwind_table(&self, address: usize, info: Option<UnwindInfo>) -> Vec<u8> {
        let (mut section, mut table) = (EhFrame(EndianVec::new(RunTimeEndian::Little)), FrameTable::default());
        if let (Some(UnwindInfo::SystemV(info)), Some(cie)) = (info, self.isa.create_systemv_cie()) {
            let cie = table.add_cie(cie);
            table.add_fde(cie, info.to_fde(Address::Constant(address as u64)));
        }
        table.write_eh_frame(&mut section).expect("memory takes everything");
        section.0.into_vec()
    }

    /// Links and publishes everything that was defined since the last call.
    pub fn finalize(&mut self) -> Result<(), Error> {
        for mut piece in std::mem::take(&mut self.data) {
            self.link(piece.memory.address(), &mut piece.bytes, &piece.relocations);
            piece.memory.as_mut_slice().copy_from_slice(&piece.bytes);
            self.kept.push(Box::new(piece.memory));
        }
        let (mut known, mut codes) = (Vec::new(), Vec::new());
        for (mut piece, id, unwind) in std::mem::take(&mut self.code) {
            self.link(piece.memory.address(), &mut piece.bytes, &piece.relocations);
            let name = self.declarations.get_function_decl(id).linkage_name(id).into_owned();
            known.push((name, self.unwind_table(piece.memory.address(), unwind)));
            codes.push((piece.memory, piece.bytes));
        }
        let all = codes.into_iter().zip(&known).map(|((memory, bytes), (name, table))| {
            (memory, bytes, Info::new().name(name).unwind(Unwind::EhFrame(table)))
        });
        self.kept.push(Box::new(Reserved::publish_all_with(all.collect())?));
        Ok(())
    }

    fn reserve(&mut self, id: FuncId, bytes: &[u8], r: Vec<ModuleReloc>) -> ModuleResult<Pending<Reserved>> {
        let memory = self.pool.reserve(bytes.len()).map_err(to_module_error)?;
        self.addresses.insert((0, id.as_u32()), memory.address());
        Ok(Pending { memory, bytes: bytes.to_vec(), relocations: r })
    }

    /// Returns a function. It borrows the module, and with it all that the function refers to.
    ///
    /// # Safety
    ///
    /// The function is finalized and has this type.
    pub unsafe fn function<F: FnPtr>(&self, id: FuncId) -> Function<F, &Self> {
        // SAFETY: As the caller says; the module keeps the code.
        unsafe { Function::from_parts(self.addresses[&(0, id.as_u32())] as *const u8, self) }
    }
}

fn to_module_error(error: Error) -> ModuleError {
    ModuleError::Allocation { err: std::io::Error::other(error) }
}

impl Module for PoolModule {
    fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }
    fn declarations(&self) -> &ModuleDeclarations {
        &self.declarations
    }
    fn declare_function(&mut self, name: &str, linkage: Linkage, s: &Signature) -> ModuleResult<FuncId> {
        let id = self.declarations.declare_function(name, linkage, s)?.0;
        if let (Linkage::Import, Some(&address)) = (linkage, self.imports.get(name)) {
            self.addresses.insert((0, id.as_u32()), address);
        }
        Ok(id)
    }
    fn declare_anonymous_function(&mut self, signature: &Signature) -> ModuleResult<FuncId> {
        self.declarations.declare_anonymous_function(signature)
    }
    fn declare_data(&mut self, name: &str, linkage: Linkage, writable: bool, tls: bool) -> ModuleResult<DataId> {
        Ok(self.declarations.declare_data(name, linkage, writable, tls)?.0)
    }
    fn declare_anonymous_data(&mut self, writable: bool, tls: bool) -> ModuleResult<DataId> {
        self.declarations.declare_anonymous_data(writable, tls)
    }
    fn define_function_with_control_plane(
        &mut self,
        id: FuncId,
        context: &mut Context,
        control: &mut ControlPlane,
    ) -> ModuleResult<()> {
        context.compile(&*self.isa, control).map_err(|error| ModuleError::Compilation(error.inner))?;
        let compiled = context.compiled_code().expect("it is compiled");
        let to_reloc = |r| ModuleReloc::from_mach_reloc(r, &context.func, id);
        let relocations = compiled.buffer.relocs().iter().map(to_reloc).collect();
        let unwind = compiled.create_unwind_info(&*self.isa)?;
        let piece = self.reserve(id, compiled.code_buffer(), relocations)?;
        self.code.push((piece, id, unwind));
        Ok(())
    }
    fn define_function_bytes(&mut self, id: FuncId, _: u64, code: &[u8], r: &[ModuleReloc]) -> ModuleResult<()> {
        let piece = self.reserve(id, code, r.to_vec())?;
        self.code.push((piece, id, None));
        Ok(())
    }
    fn define_data(&mut self, id: DataId, data: &DataDescription) -> ModuleResult<()> {
        let bytes = match &data.init {
            Init::Zeros { size } => vec![0; *size],
            Init::Bytes { contents } => contents.to_vec(),
            Init::Uninitialized => panic!("data without a value"),
        };
        let align = data.align.unwrap_or(16) as usize;
        let relocations: Vec<_> = data.all_relocs(Reloc::Abs8).collect();
        // Constants get their value at once, so what refers to other things is data.
        if self.declarations.get_data_decl(id).writable || !relocations.is_empty() {
            let memory = self.pool.data(bytes.len(), align).map_err(to_module_error)?;
            self.addresses.insert((1, id.as_u32()), memory.address());
            self.data.push(Pending { memory, bytes, relocations });
        } else {
            let memory = self.pool.constants(&bytes, align).map_err(to_module_error)?;
            self.addresses.insert((1, id.as_u32()), memory.address());
            self.kept.push(Box::new(memory));
        }
        Ok(())
    }
}
