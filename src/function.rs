//! Typed function handles.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::fmt;

use crate::abi::FnPtr;

/// A typed handle of a function, with the owner that keeps its code alive.
///
/// `F` is the function's type, any [`FnPtr`]. `O` is the type of the owner, which can be anything that keeps the code
/// alive while it exists:
///
/// | owner | created by |
/// |---|---|
/// | `&ExecBuffer` | [`ExecBuffer::function`](crate::ExecBuffer::function) |
/// | `ExecBuffer` | [`ExecBuffer::into_function`](crate::ExecBuffer::into_function) |
/// | `Arc<ExecBuffer>` | [`ExecBuffer::shared_function_at`](crate::ExecBuffer::shared_function_at) |
/// | `Arc<dyn Send + Sync>` | [`shared`](Self::shared); the handle's alias is [`SharedFunction`] |
/// | [`Thunk<O>`](crate::Thunk) | [`to_native`](Self::to_native), [`to_abi`](Self::to_abi) and their variants |
/// | `(O, P)` | [`and`](Self::and) |
/// | `()` | [`from_fn`](Self::from_fn): functions of the program need no owner |
/// | any other type, such as `Arc<Module>` | [`from_parts`](Self::from_parts) |
///
/// The method `call` has the arguments and the result of `F`. It compiles to one indirect call, and is `unsafe` if `F`
/// is. Moving a `Function` moves the owner, never the code. The owner is stored inline, so an owned function allocates
/// nothing.
///
/// `Function` is `Send` and `Sync` if `O` is, `Clone` if `O` is a [`CloneOwner`], and `Copy` if `O` is also `Copy`.
/// [`as_fn`](Self::as_fn) is `unsafe` because a plain function pointer can outlive the code.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{ExecBuffer, Function};
///
/// type Add = extern "sysv64" fn(u64, u64) -> u64;
///
/// struct Compiled {
///     add: Function<Add, ExecBuffer>, // owns its code
/// }
///
/// let buffer = ExecBuffer::new(&[
///     0x48, 0x8d, 0x04, 0x37, // lea rax, [rdi + rsi]
///     0xc3, //                   ret
/// ])?;
/// // SAFETY: The bytes are a System V function that adds two integers.
/// let compiled = Compiled { add: unsafe { buffer.into_function() } };
/// assert_eq!(compiled.add.call(40, 2), 42); // on Windows, too
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
#[repr(C)] // the pointer comes first, so `call` loads it at offset 0
pub struct Function<F: FnPtr, O> {
    pointer: F,
    owner: O,
}

/// A [`Function`] that shares its owner with its clones. The owner's type is erased, and with it whether the owner is
/// `UnwindSafe`: to use the handle in `catch_unwind`, wrap it in `AssertUnwindSafe`.
///
/// # Examples
///
/// See [`Function::shared`].
pub type SharedFunction<F> = Function<F, Arc<dyn Send + Sync>>;

/// An owner whose clones keep the same code and data alive. A [`Function`] with such an owner is `Clone`.
///
/// # Safety
///
/// Each clone keeps alive, at the same addresses, everything that the original keeps alive. A `Vec<u8>` does not
/// qualify: its clone is another vector, but the code knows the address of the first.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use execbuf::{CloneOwner, ExecBuffer, Function};
///
/// #[derive(Clone)]
/// struct Module(Arc<Vec<ExecBuffer>>);
///
/// // SAFETY: A clone shares the vector.
/// unsafe impl CloneOwner for Module {}
///
/// let module = Module(Arc::new(vec![ExecBuffer::new(&[0xc3])?])); // x86: ret
/// // SAFETY: Nothing is called.
/// let function = unsafe { Function::<extern "C" fn(), _>::from_parts(module.0[0].as_ptr(), module.clone()) };
/// let other = function.clone();
/// assert_eq!(other.as_ptr(), function.as_ptr());
/// # Ok::<(), execbuf::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a clone of `{Self}` does not necessarily keep the same code alive",
    note = "make the function `.shared()` first, or borrow it with `.by_ref()`"
)]
pub unsafe trait CloneOwner: Clone {}

// SAFETY: A copy refers to the same value, with the same lifetime.
unsafe impl<T: ?Sized> CloneOwner for &T {}
// SAFETY: Clones share one value, which does not move and is dropped with the last of them.
unsafe impl<T: ?Sized> CloneOwner for Arc<T> {}
// SAFETY: As above.
unsafe impl<T: ?Sized> CloneOwner for Rc<T> {}
// SAFETY: `()` keeps nothing alive.
unsafe impl CloneOwner for () {}
// SAFETY: Each half of the clone keeps alive what that half of the original keeps alive.
unsafe impl<A: CloneOwner, B: CloneOwner> CloneOwner for (A, B) {}

#[expect(clippy::expl_impl_clone_on_copy, reason = "`Clone` alone does not suffice: `CloneOwner`")]
impl<F: FnPtr, O: CloneOwner> Clone for Function<F, O> {
    fn clone(&self) -> Self {
        Self { pointer: self.pointer, owner: self.owner.clone() }
    }
}

impl<F: FnPtr, O: CloneOwner + Copy> Copy for Function<F, O> {}

impl<F: FnPtr> Function<F, ()> {
    /// Returns a handle of a function of the program. It needs no owner, because a function pointer is always valid.
    ///
    /// Rust calls such a function directly. Use the handle to make a [`Thunk`](crate::Thunk) for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::Function;
    ///
    /// extern "C" fn double(number: u64) -> u64 {
    ///     2 * number
    /// }
    ///
    /// // A thunk for machine code that calls with the Win64 convention.
    /// let function = Function::from_fn(double as extern "C" fn(u64) -> u64);
    /// let thunk = function.into_abi::<extern "win64" fn(u64) -> u64>()?;
    /// assert_eq!(thunk.call(21), 42);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn from_fn(function: F) -> Self {
        Self { pointer: function, owner: () }
    }
}

impl<F: FnPtr, O> Function<F, O> {
    /// Returns a handle of the function at an address, with an owner.
    ///
    /// # Safety
    ///
    /// - The code at `address` meets the conditions of [`ExecBuffer::function`](crate::ExecBuffer::function).
    /// - The code stays at `address`, unchanged, as long as `owner` exists, even if `owner` moves.
    /// - If `F` is not an `unsafe` function type, every thread that may have `owner`, or a reference to it, may call
    ///   the code.
    ///
    /// # Examples
    ///
    /// A module owns several pieces of code that may refer to each other:
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{Error, ExecBuffer, ExecPool, Function};
    ///
    /// struct Module {
    ///     pieces: Vec<ExecBuffer>,
    /// }
    ///
    /// impl Module {
    ///     fn number(&self, index: usize) -> Function<extern "C" fn() -> u32, &Self> {
    ///         // SAFETY: Each piece is such a function, and a borrowed module drops none.
    ///         unsafe { Function::from_parts(self.pieces[index].as_ptr(), self) }
    ///     }
    /// }
    ///
    /// let pool = ExecPool::new()?;
    /// let piece = |number| pool.publish(&[0xb8, number, 0, 0, 0, 0xc3]); // mov eax, number; ret
    /// let module = Module { pieces: vec![piece(1)?, piece(2)?] };
    /// assert_eq!(module.number(1).call(), 2);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub unsafe fn from_parts(address: *const u8, owner: O) -> Self {
        // SAFETY: The caller guarantees that a function of this type is at the address.
        Self { pointer: unsafe { F::from_address(address) }, owner }
    }

    #[inline]
    pub(crate) fn pointer(&self) -> F {
        self.pointer
    }

    /// Returns the plain function pointer, for APIs that take one.
    ///
    /// # Safety
    ///
    /// - Nobody calls the pointer after the code, the owner, or anything that the owner owns or borrows is dropped,
    ///   freed or changed.
    /// - Nobody calls the pointer on a thread that must not have a reference to the owner.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::ExecBuffer;
    ///
    /// let buffer = ExecBuffer::new(&[
    ///     0x8d, 0x47, 0x01, // lea eax, [rdi + 1]
    ///     0xc3, //             ret
    /// ])?;
    /// // SAFETY: The bytes are such a function, and the buffer outlives the calls.
    /// let increment = unsafe { buffer.function::<extern "sysv64" fn(u32) -> u32>().as_fn() };
    /// let numbers: Vec<u32> = [1, 2, 3].into_iter().map(|number| increment(number)).collect();
    /// assert_eq!(numbers, [2, 3, 4]);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub unsafe fn as_fn(&self) -> F {
        self.pointer
    }

    /// Returns the address of the function, for printing and comparing.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let function = unsafe { buffer.function::<extern "C" fn()>() };
    /// assert_eq!(function.as_ptr(), buffer.as_ptr());
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.pointer.address()
    }

    /// Returns a reference to the owner.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let function = unsafe { buffer.into_function::<extern "C" fn()>() };
    /// assert_eq!(function.owner().as_ref(), [0xc3]);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn owner(&self) -> &O {
        &self.owner
    }

    /// Consumes the handle and returns the owner.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let function = unsafe { buffer.into_function::<extern "C" fn()>() };
    /// let mut buffer = function.into_owner();
    /// buffer.rewrite(0, &[0xcc])?;
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn into_owner(self) -> O {
        self.owner
    }

    /// Returns a handle of the same function that borrows this one.
    ///
    /// # Examples
    ///
    /// ```
    /// let buffer = execbuf::ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: The byte is such a function.
    /// let function = unsafe { buffer.into_function::<extern "C" fn()>() };
    /// let borrowed = function.by_ref(); // can be copied
    /// # #[cfg(target_arch = "x86_64")]
    /// borrowed.call();
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn by_ref(&self) -> Function<F, &O> {
        Function { pointer: self.pointer, owner: &self.owner }
    }

    /// Adds something to the owner that the code needs, such as data or other functions.
    ///
    /// For other code, add the [`ExecBuffer`](crate::ExecBuffer), a borrow of it, or its function. They prevent changes
    /// of the code; `&Mutex<ExecBuffer>` and `&RefCell<ExecBuffer>` don't.
    ///
    /// For data that the code writes, add [`&Data`](crate::Data), `&UnsafeCell<T>`, atomics, or a type of your own whose data is private. `T`
    /// and `&mut T` do not suffice: [`owner`](Self::owner) lends them as `&T`, and the code must not write what is
    /// borrowed so.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{ExecBuffer, ExecPool};
    ///
    /// static LIMIT: u64 = 42;
    /// let limit = Box::new(LIMIT);
    /// let mut code = [0x48, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0, 0xc3]; // mov rax, [limit]; ret
    /// code[2..10].copy_from_slice(&(&raw const *limit as u64).to_le_bytes());
    /// let buffer = ExecBuffer::new(&code)?;
    /// // SAFETY: The bytes are such a function. They read only the box, which the handle borrows.
    /// let function = unsafe { buffer.function::<extern "C" fn() -> u64>() }.and(&limit);
    /// assert_eq!(function.call(), 42); // `limit` cannot be dropped before the last call
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn and<P>(self, also: P) -> Function<F, (O, P)> {
        Function { pointer: self.pointer, owner: (self.owner, also) }
    }

    /// Moves the owner into an `Arc` and erases its type. The resulting handle can be cloned and sent to other threads.
    ///
    /// The `Arc` is the only allocation. Like `Arc::new`, this aborts if no memory is left.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_arch = "x86_64")] {
    /// use execbuf::{ExecBuffer, SharedFunction};
    ///
    /// let buffer = ExecBuffer::new(&[
    ///     0xb8, 42, 0, 0, 0, // mov eax, 42
    ///     0xc3, //              ret
    /// ])?;
    /// // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
    /// let function: SharedFunction<extern "C" fn() -> u32> = unsafe { buffer.into_function() }.shared();
    /// let clone = function.clone();
    /// assert_eq!(std::thread::spawn(move || clone.call()).join().unwrap(), function.call());
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn shared(self) -> SharedFunction<F>
    where
        O: Send + Sync + 'static,
    {
        Function { pointer: self.pointer, owner: Arc::new(self.owner) }
    }

    /// Moves the owner into a `Box` and erases its type. Functions with different owners then have the same type.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecBuffer, Function};
    ///
    /// struct Hook<'a> {
    ///     function: Function<extern "C" fn(), Box<dyn Send + Sync + 'a>>,
    /// }
    ///
    /// let buffer = ExecBuffer::new(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let hook = Hook { function: unsafe { buffer.function() }.boxed() };
    /// # drop(hook.function);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn boxed<'a>(self) -> Function<F, Box<dyn Send + Sync + 'a>>
    where
        O: Send + Sync + 'a,
    {
        Function { pointer: self.pointer, owner: Box::new(self.owner) }
    }

    /// Returns a handle that borrows this one and erases the owner's type. Functions with different owners then have
    /// the same type.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::ExecBuffer;
    ///
    /// let (one, two) = (ExecBuffer::new(&[0xc3])?, ExecBuffer::new(&[0xc3])?); // x86: ret
    /// // SAFETY: Nothing is called.
    /// let (one, two) = unsafe { (one.function::<extern "C" fn()>(), two.into_function()) };
    /// let both = [one.by_dyn(), two.by_dyn()];
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn by_dyn(&self) -> Function<F, &(dyn Send + Sync + '_)>
    where
        O: Send + Sync,
    {
        Function { pointer: self.pointer, owner: &self.owner }
    }
}

/// Formats the address.
impl<F: FnPtr, O> fmt::Debug for Function<F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.as_ptr()).finish()
    }
}
