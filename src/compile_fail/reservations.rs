//! A reservation is used up when code is published there.
//!
//! A reservation cannot be published twice:
//!
//! ```compile_fail,E0382
//! let reserved = execbuf::ExecBuffer::reserve(16).unwrap();
//! let first = reserved.publish(&[0xc3]).unwrap();
//! let second = reserved.publish(&[0xc3]).unwrap();
//! ```
//!
//! A reservation cannot be in a batch twice:
//!
//! ```compile_fail,E0382
//! let reserved = execbuf::ExecBuffer::reserve(16).unwrap();
//! let all = execbuf::Reserved::publish_all(vec![(reserved, [0xc3]), (reserved, [0xc3])]).unwrap();
//! ```
//!
//! A reservation in a batch cannot be published once more:
//!
//! ```compile_fail,E0382
//! let reserved = execbuf::ExecPool::new().unwrap().reserve(16).unwrap();
//! let all = execbuf::Reserved::publish_all(vec![(reserved, [0xc3])]).unwrap();
//! let again = reserved.publish(&[0xc3]).unwrap();
//! ```
//!
//! A published reservation cannot be used:
//!
//! ```compile_fail,E0382
//! let reserved = execbuf::ExecBuffer::reserve(16).unwrap();
//! let buffer = reserved.publish(&[0xc3]).unwrap();
//! let address = reserved.address();
//! ```
//!
//! A reservation cannot be cloned:
//!
//! ```compile_fail,E0599
//! let reserved = execbuf::ExecBuffer::reserve(16).unwrap();
//! let other = reserved.clone();
//! ```
//!
//! A reservation holds no code, so it has no functions:
//!
//! ```compile_fail,E0599
//! let reserved = execbuf::ExecBuffer::reserve(16).unwrap();
//! let function = unsafe { reserved.function::<extern "C" fn()>() };
//! ```
//!
//! A function of published code cannot outlive the buffers of its batch:
//!
//! ```compile_fail,E0505
//! let reserved = execbuf::ExecBuffer::reserve(16).unwrap();
//! let all = execbuf::Reserved::publish_all(vec![(reserved, [0xc3])]).unwrap();
//! let function = unsafe { all[0].function::<extern "C" fn()>() };
//! drop(all);
//! function.call();
//! ```
//!
//! A buffer cannot be changed in a batch while a function borrows it:
//!
//! ```compile_fail,E0502
//! let mut buffer = execbuf::ExecBuffer::new(&[0xc3]).unwrap();
//! let function = unsafe { buffer.function::<extern "C" fn()>() };
//! execbuf::ExecBuffer::rewrite_batch(&mut [(&mut buffer, &[(0, &[0xcc])])]).unwrap();
//! function.call();
//! ```
//!
//! A shared buffer cannot be changed in a batch:
//!
//! ```compile_fail,E0596
//! let buffer = std::sync::Arc::new(execbuf::ExecBuffer::new(&[0xc3]).unwrap());
//! execbuf::ExecBuffer::rewrite_batch(&mut [(&mut *buffer, &[(0, &[0xcc])])]).unwrap();
//! ```
