//! Programs of Cranelift in a pool.
#![cfg(all(target_arch = "x86_64", unix))]

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F64, I64};
use cranelift_codegen::ir::{
    AbiParam, BlockArg, Function, InstBuilder, JumpTableData, MemFlagsData, Signature, Type, UserFuncName, Value,
};
use cranelift_codegen::isa::CallConv;
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataDescription, FuncId, Linkage, Module};
use execbuf_clients::PoolModule;

extern "C-unwind" fn twice(number: u64) -> u64 {
    2 * number
}

extern "C-unwind" fn fails(number: u64) -> u64 {
    std::panic::panic_any(number)
}

fn new_module() -> PoolModule {
    let mut flags = settings::builder();
    flags.set("opt_level", "speed").unwrap();
    flags.set("unwind_info", "true").unwrap();
    flags.set("preserve_frame_pointers", "true").unwrap();
    let isa = cranelift_native::builder().unwrap().finish(settings::Flags::new(flags)).unwrap();
    let symbols = [("twice", twice as *const () as usize), ("fails", fails as *const () as usize)];
    let symbols: HashMap<_, _> = symbols.into_iter().map(|(name, address)| (name.to_owned(), address)).collect();
    PoolModule::new(isa, symbols).unwrap()
}

fn signature(parameters: &[Type], result: Type) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend(parameters.iter().map(|&parameter| AbiParam::new(parameter)));
    signature.returns.push(AbiParam::new(result));
    signature
}

fn declare(module: &mut PoolModule, name: &str, parameters: &[Type], result: Type) -> FuncId {
    module.declare_function(name, Linkage::Local, &signature(parameters, result)).unwrap()
}

fn import(module: &mut PoolModule, name: &str) -> FuncId {
    module.declare_function(name, Linkage::Import, &signature(&[I64], I64)).unwrap()
}

/// Defines a function. The closure emits its body and returns its result.
fn define(
    module: &mut PoolModule,
    id: FuncId,
    body: impl FnOnce(&mut PoolModule, &mut FunctionBuilder<'_>, Vec<Value>) -> Value,
) {
    let signature = module.declarations().get_function_decl(id).signature.clone();
    let mut context = Context::for_function(Function::with_name_signature(UserFuncName::default(), signature));
    let mut frontend = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut context.func, &mut frontend);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let parameters = builder.block_params(entry).to_vec();
    let result = body(module, &mut builder, parameters);
    builder.ins().return_(&[result]);
    builder.seal_all_blocks();
    builder.finalize(module.isa().frontend_config());
    module.define_function(id, &mut context).unwrap();
}

/// Emits a call.
fn call(module: &mut PoolModule, builder: &mut FunctionBuilder<'_>, id: FuncId, arguments: &[Value]) -> Value {
    let function = module.declare_func_in_func(id, builder.func);
    let call = builder.ins().call(function, arguments);
    builder.inst_results(call)[0]
}

/// Emits `if number < 2 { number } else { otherwise(number) }`.
fn unless_small(
    builder: &mut FunctionBuilder<'_>,
    number: Value,
    otherwise: impl FnOnce(&mut FunctionBuilder<'_>) -> Value,
) -> Value {
    let (more, end) = (builder.create_block(), builder.create_block());
    let result = builder.append_block_param(end, I64);
    let is_small = builder.ins().icmp_imm_u(IntCC::UnsignedLessThan, number, 2);
    builder.ins().brif(is_small, end, &[BlockArg::Value(number)], more, &[]);
    builder.switch_to_block(more);
    let other = otherwise(builder);
    builder.ins().jump(end, &[BlockArg::Value(other)]);
    builder.switch_to_block(end);
    result
}

#[test]
fn a_function_calls_itself() {
    let mut module = new_module();
    let fib = declare(&mut module, "fib", &[I64], I64);
    define(&mut module, fib, |module, builder, parameters| {
        unless_small(builder, parameters[0], |builder| {
            let one_less = builder.ins().iadd_imm_s(parameters[0], -1);
            let two_less = builder.ins().iadd_imm_s(parameters[0], -2);
            let first = call(module, builder, fib, &[one_less]);
            let second = call(module, builder, fib, &[two_less]);
            builder.ins().iadd(first, second)
        })
    });
    module.finalize().unwrap();
    // SAFETY: The function has this type.
    let fib = unsafe { module.function::<extern "C" fn(u64) -> u64>(fib) };
    assert_eq!(fib.call(20), 6765);
    let mut space = [0; 16];
    let symbol = execbuf::tools::symbol(fib.as_ptr(), &mut space).unwrap();
    assert_eq!((symbol.name(), symbol.offset()), ("fib", 0));
}

#[test]
fn functions_call_each_other() {
    let mut module = new_module();
    let even = declare(&mut module, "even", &[I64], I64);
    let odd = declare(&mut module, "odd", &[I64], I64);
    for (this, other, at_zero) in [(even, odd, 1), (odd, even, 0)] {
        define(&mut module, this, |module, builder, parameters| {
            let (more, end) = (builder.create_block(), builder.create_block());
            let result = builder.append_block_param(end, I64);
            let last = builder.ins().iconst(I64, at_zero);
            builder.ins().brif(parameters[0], more, &[], end, &[BlockArg::Value(last)]);
            builder.switch_to_block(more);
            let less = builder.ins().iadd_imm_s(parameters[0], -1);
            let answer = call(module, builder, other, &[less]);
            builder.ins().jump(end, &[BlockArg::Value(answer)]);
            builder.switch_to_block(end);
            result
        });
    }
    module.finalize().unwrap();
    // SAFETY: The function has this type.
    let even = unsafe { module.function::<extern "C" fn(u64) -> u64>(even) };
    assert_eq!((even.call(10), even.call(7)), (1, 0));
}

#[test]
fn a_loop_adds_floats() {
    let mut module = new_module();
    let sum = declare(&mut module, "sum", &[I64, F64], F64);
    define(&mut module, sum, |_, builder, parameters| {
        let (turn, end) = (builder.create_block(), builder.create_block());
        let left = builder.append_block_param(turn, I64);
        let so_far = builder.append_block_param(turn, F64);
        let zero = builder.ins().f64const(0.0);
        builder.ins().jump(turn, &[BlockArg::Value(parameters[0]), BlockArg::Value(zero)]);
        builder.switch_to_block(turn);
        let next = builder.ins().fadd(so_far, parameters[1]);
        let less = builder.ins().iadd_imm_s(left, -1);
        builder.ins().brif(less, turn, &[BlockArg::Value(less), BlockArg::Value(next)], end, &[]);
        builder.switch_to_block(end);
        next
    });
    module.finalize().unwrap();
    // SAFETY: The function has this type.
    let sum = unsafe { module.function::<extern "C" fn(u64, f64) -> f64>(sum) };
    assert!((sum.call(1000, 0.5) - 500.0).abs() < 1e-9);
}

#[test]
fn a_jump_table_chooses() {
    let mut module = new_module();
    let choose = declare(&mut module, "choose", &[I64], I64);
    define(&mut module, choose, |_, builder, parameters| {
        let end = builder.create_block();
        let result = builder.append_block_param(end, I64);
        let cases: Vec<_> = (0..6).map(|_| builder.create_block()).collect();
        let index = builder.ins().ireduce(cranelift_codegen::ir::types::I32, parameters[0]);
        let calls: Vec<_> = cases.iter().map(|&case| builder.func.dfg.block_call(case, &[])).collect();
        let table = builder.create_jump_table(JumpTableData::new(calls[5], &calls[..5]));
        builder.ins().br_table(index, table);
        for (case, value) in cases.into_iter().zip([10, 11, 12, 13, 14, 99]) {
            builder.switch_to_block(case);
            let value = builder.ins().iconst(I64, value);
            builder.ins().jump(end, &[BlockArg::Value(value)]);
        }
        builder.switch_to_block(end);
        result
    });
    module.finalize().unwrap();
    // SAFETY: The function has this type.
    let choose = unsafe { module.function::<extern "C" fn(u64) -> u64>(choose) };
    assert_eq!([0, 4, 5, 1000].map(|index| choose.call(index)), [10, 14, 99, 99]);
}

#[test]
fn code_uses_constants_data_and_pointers_in_data() {
    let mut module = new_module();
    let imported = import(&mut module, "twice");
    let mut description = DataDescription::new();
    description.define(Box::from(7_u64.to_le_bytes()));
    let constant = module.declare_data("seven", Linkage::Local, false, false).unwrap();
    module.define_data(constant, &description).unwrap();
    let counter = module.declare_data("counter", Linkage::Local, true, false).unwrap();
    let mut description = DataDescription::new();
    description.define_zeroinit(8);
    module.define_data(counter, &description).unwrap();
    let table = module.declare_data("table", Linkage::Local, false, false).unwrap();
    let mut description = DataDescription::new();
    description.define_zeroinit(16);
    let in_table = module.declare_func_in_data(imported, &mut description);
    description.write_function_addr(8, in_table);
    module.define_data(table, &description).unwrap();
    let run = declare(&mut module, "run", &[], I64);
    define(&mut module, run, |module, builder, _| {
        let flags = MemFlagsData::trusted();
        let [constant, counter, table] = [constant, counter, table].map(|id| {
            let value = module.declare_data_in_func(id, builder.func);
            builder.ins().symbol_value(I64, value)
        });
        let old = builder.ins().load(I64, flags, counter, 0);
        let step = builder.ins().load(I64, flags, constant, 0);
        let new = builder.ins().iadd(old, step);
        builder.ins().store(flags, new, counter, 0);
        let pointer = builder.ins().load(I64, flags, table, 8);
        let reference = builder.import_signature(signature(&[I64], I64));
        let call = builder.ins().call_indirect(reference, pointer, &[new]);
        builder.inst_results(call)[0]
    });
    module.finalize().unwrap();
    // SAFETY: The function has this type.
    let run = unsafe { module.function::<extern "C" fn() -> u64>(run) };
    assert_eq!([run.call(), run.call(), run.call()], [14, 28, 42]);
}

#[test]
fn a_panic_passes_through_all_functions() {
    let mut module = new_module();
    let inner = import(&mut module, "fails");
    let mut outer = inner;
    for number in 0..20 {
        let this = declare(&mut module, &format!("frame {number}"), &[I64], I64);
        define(&mut module, this, |module, builder, parameters| {
            let more = builder.ins().iadd_imm_s(parameters[0], 1);
            let result = call(module, builder, outer, &[more]);
            builder.ins().iadd_imm_s(result, 1)
        });
        outer = this;
    }
    module.finalize().unwrap();
    // SAFETY: The function has this type, and Cranelift's unwind tables are true.
    let outer = unsafe { module.function::<extern "C-unwind" fn(u64) -> u64>(outer) };
    let caught = catch_unwind(AssertUnwindSafe(|| outer.call(100))).unwrap_err();
    assert_eq!(*caught.downcast::<u64>().unwrap(), 120);
}
