//! Data and cells live as long as the code that uses them, and nobody borrows what code may write.
//!
//! Data cannot be dropped while a function needs them:
//!
//! ```compile_fail,E0505
//! let pool = execbuf::ExecPool::new().unwrap();
//! let (buffer, data) = (pool.publish(&[0xc3]).unwrap(), pool.data(8, 8).unwrap());
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(&data);
//! drop(data);
//! function.call();
//! ```
//!
//! Constants cannot be dropped while a function needs them:
//!
//! ```compile_fail,E0505
//! let pool = execbuf::ExecPool::new().unwrap();
//! let (buffer, constants) = (pool.publish(&[0xc3]).unwrap(), pool.constants(&[1], 1).unwrap());
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(&constants);
//! drop(constants);
//! function.call();
//! ```
//!
//! Constants cannot be dropped while their bytes are borrowed:
//!
//! ```compile_fail,E0505
//! let constants = execbuf::ExecPool::new().unwrap().constants(&[1], 1).unwrap();
//! let bytes: &[u8] = constants.as_ref();
//! drop(constants);
//! assert_eq!(bytes, [1]);
//! ```
//!
//! Data cannot be sliced while a function needs them:
//!
//! ```compile_fail,E0502
//! let pool = execbuf::ExecPool::new().unwrap();
//! let (buffer, mut data) = (pool.publish(&[0xc3]).unwrap(), pool.data(8, 8).unwrap());
//! let function = unsafe { buffer.function::<extern "C" fn()>() }.and(&data);
//! data.as_mut_slice()[0] = 1;
//! function.call();
//! ```
//!
//! Shared data cannot be sliced:
//!
//! ```compile_fail,E0599
//! let data = execbuf::ExecPool::new().unwrap().data(8, 8).unwrap();
//! let bytes: &[u8] = data.as_ref();
//! ```
//!
//! Constants cannot be written:
//!
//! ```compile_fail,E0599
//! let mut constants = execbuf::ExecPool::new().unwrap().constants(&[1], 1).unwrap();
//! constants.as_mut_slice()[0] = 2;
//! ```
//!
//! Data cannot be cloned:
//!
//! ```compile_fail,E0599
//! let data = execbuf::ExecPool::new().unwrap().data(8, 8).unwrap();
//! let other = data.clone();
//! ```
//!
//! A cell cannot be dropped while a function goes through it:
//!
//! ```compile_fail,E0505
//! let pool = execbuf::ExecPool::new().unwrap();
//! let (site, target) = (pool.publish(&[0xc3]).unwrap(), pool.publish(&[0xc3]).unwrap());
//! let cell = pool.cell(unsafe { target.function::<extern "C" fn()>() }).unwrap();
//! let function = unsafe { site.function::<extern "C" fn()>() }.and(&cell);
//! drop(cell);
//! function.call();
//! ```
//!
//! The target of a cell cannot be dropped:
//!
//! ```compile_fail,E0505
//! let pool = execbuf::ExecPool::new().unwrap();
//! let target = pool.publish(&[0xc3]).unwrap();
//! let cell = pool.cell(unsafe { target.function::<extern "C" fn()>() }).unwrap();
//! drop(target);
//! cell.get();
//! ```
//!
//! An old target cannot be dropped either, because a thread may be about to call it:
//!
//! ```compile_fail,E0505
//! let pool = execbuf::ExecPool::new().unwrap();
//! let (one, two) = (pool.publish(&[0xc3]).unwrap(), pool.publish(&[0xc3]).unwrap());
//! let cell = pool.cell(unsafe { one.function::<extern "C" fn()>() }).unwrap();
//! cell.set(unsafe { two.function() });
//! drop(one);
//! cell.get();
//! ```
//!
//! A cell cannot get a target that lives shorter:
//!
//! ```compile_fail,E0597
//! let pool = execbuf::ExecPool::new().unwrap();
//! let one = pool.publish(&[0xc3]).unwrap();
//! let cell = pool.cell(unsafe { one.function::<extern "C" fn()>() }).unwrap();
//! {
//!     let two = pool.publish(&[0xc3]).unwrap();
//!     cell.set(unsafe { two.function() });
//! }
//! cell.get();
//! ```
//!
//! A borrow of a cell does not shorten the life of its targets:
//!
//! ```compile_fail
//! # use execbuf::{ExecBuffer, FnCell};
//! type Cell<'a> = FnCell<extern "C" fn(), &'a ExecBuffer>;
//! fn shorten<'a>(cell: &'a Cell<'static>) -> &'a Cell<'a> {
//!     cell
//! }
//! ```
//!
//! Nor does it change the types of arguments:
//!
//! ```compile_fail
//! # use execbuf::FnCell;
//! type Cell<'a> = FnCell<extern "C" fn(*const &'a u8), ()>;
//! fn lengthen<'a>(cell: &'a Cell<'a>) -> &'a Cell<'static> {
//!     cell
//! }
//! ```
//!
//! A target must be one that all threads may call:
//!
//! ```compile_fail,E0277
//! let pool = execbuf::ExecPool::new().unwrap();
//! let target = std::rc::Rc::new(pool.publish(&[0xc3]).unwrap());
//! let function = unsafe { execbuf::Function::<extern "C" fn(), _>::from_parts(target.as_ptr(), target.clone()) };
//! let cell = pool.cell(function).unwrap();
//! ```
//!
//! Old targets are not dropped while a function goes through the cell:
//!
//! ```compile_fail,E0502
//! let pool = execbuf::ExecPool::new().unwrap();
//! let (site, target) = (pool.publish(&[0xc3]).unwrap(), pool.publish(&[0xc3]).unwrap());
//! let mut cell = pool.cell(unsafe { target.function::<extern "C" fn()>() }).unwrap();
//! let function = unsafe { site.function::<extern "C" fn()>() }.and(&cell);
//! cell.settle();
//! function.call();
//! ```
//!
//! A shared cell cannot drop old targets:
//!
//! ```compile_fail,E0596
//! extern "C" fn nothing() {}
//! let pool = execbuf::ExecPool::new().unwrap();
//! let cell = std::sync::Arc::new(pool.cell(execbuf::Function::from_fn(nothing as extern "C" fn())).unwrap());
//! cell.settle();
//! ```
//!
//! A target of another type is refused:
//!
//! ```compile_fail,E0308
//! extern "C" fn nothing() {}
//! extern "C" fn number() -> u32 { 1 }
//! let pool = execbuf::ExecPool::new().unwrap();
//! let cell = pool.cell(execbuf::Function::from_fn(nothing as extern "C" fn())).unwrap();
//! cell.set(execbuf::Function::from_fn(number as extern "C" fn() -> u32));
//! ```
//!
//! A target without an owner requires `unsafe`:
//!
//! ```compile_fail,E0133
//! extern "C" fn nothing() {}
//! let pool = execbuf::ExecPool::new().unwrap();
//! let cell = pool.cell(execbuf::Function::from_fn(nothing as extern "C" fn())).unwrap();
//! cell.set_unowned(nothing);
//! ```
