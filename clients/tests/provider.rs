//! A `JITModule` of Cranelift whose memory is in a pool.
#![cfg(all(target_arch = "x86_64", unix))]

use cranelift_codegen::Context;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, MemFlagsData, Signature, UserFuncName};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{DataDescription, DataId, FuncId, Linkage, Module, default_libcall_names};
use execbuf_clients::PoolMemory;

fn new_module() -> JITModule {
    let mut flags = settings::builder();
    flags.set("is_pic", "false").unwrap();
    flags.set("use_colocated_libcalls", "false").unwrap();
    let isa = cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap();
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    builder.memory_provider(Box::new(PoolMemory::new().unwrap()));
    JITModule::new(builder)
}

fn number_in_data(module: &mut JITModule, name: &str, number: u64, writable: bool) -> DataId {
    let mut description = DataDescription::new();
    description.define(Box::from(number.to_le_bytes()));
    let id = module.declare_data(name, Linkage::Local, writable, false).unwrap();
    module.define_data(id, &description).unwrap();
    id
}

/// Defines a function that adds `step` to `counter`, and returns what `callee` returns, or else the sum.
fn define(module: &mut JITModule, name: &str, counter: DataId, step: DataId, callee: Option<FuncId>) -> FuncId {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.returns.push(AbiParam::new(I64));
    let id = module.declare_function(name, Linkage::Local, &signature).unwrap();
    let mut context = Context::for_function(Function::with_name_signature(UserFuncName::default(), signature));
    let mut frontend = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
    let entry = builder.create_block();
    builder.switch_to_block(entry);
    let [counter, step] = [counter, step].map(|id| {
        let value = module.declare_data_in_func(id, builder.func);
        builder.ins().symbol_value(I64, value)
    });
    let flags = MemFlagsData::trusted();
    let old = builder.ins().load(I64, flags, counter, 0);
    let more = builder.ins().load(I64, flags, step, 0);
    let mut result = builder.ins().iadd(old, more);
    builder.ins().store(flags, result, counter, 0);
    if let Some(callee) = callee {
        let function = module.declare_func_in_func(callee, builder.func);
        let call = builder.ins().call(function, &[]);
        result = builder.inst_results(call)[0];
    }
    builder.ins().return_(&[result]);
    builder.seal_all_blocks();
    builder.finalize(module.isa().frontend_config());
    module.define_function(id, &mut context).unwrap();
    id
}

#[test]
fn functions_of_several_rounds_call_each_other_and_share_data() {
    let mut module = new_module();
    let counter = number_in_data(&mut module, "counter", 0, true);
    let step = number_in_data(&mut module, "step", 7, false);
    let mut callee = None;
    for round in 0..30 {
        let inner = define(&mut module, &format!("inner {round}"), counter, step, callee);
        let outer = define(&mut module, &format!("outer {round}"), counter, step, Some(inner));
        module.finalize_definitions().unwrap();
        callee = Some(outer);
    }
    let outer = module.get_finalized_function(callee.unwrap());
    // SAFETY: The function has this type.
    let outer: extern "C" fn() -> u64 = unsafe { core::mem::transmute(outer) };
    assert_eq!((outer(), outer()), (60 * 7, 120 * 7));
    // SAFETY: Nothing of the module is used from now on.
    unsafe { module.free_memory() };
}
