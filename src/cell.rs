//! Function pointers that code jumps through.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::abi::FnPtr;
use crate::data::Data;
use crate::error::Error;
use crate::function::Function;
use crate::pool::ExecPool;

/// A function pointer in data of a pool, through which code jumps or calls. Changing it retargets that code while it
/// runs, by one atomic store. [`ExecPool::cell`] makes cells.
///
/// A thread may have read the pointer and not called it yet, so [`set`](Self::set) keeps the owner of the old target. The
/// owners of old targets are dropped by [`settle`](Self::settle), which needs an exclusive reference, or with the cell.
/// Add a borrow of the cell to each function that goes through it ([`Function::and`]): then neither can happen while such
/// a function is in use.
///
/// `F` is the type of the targets, and `O` that of their owners, which is `Send` and `Sync`: any thread that runs the code
/// calls the target. [`by_dyn`](Function::by_dyn), [`boxed`](Function::boxed) and [`shared`](Function::shared) give
/// functions with different owners the same type. A cell of borrowed targets (`O` is a reference) allocates nothing.
///
/// # Examples
///
/// ```
/// # #[cfg(target_arch = "x86_64")] {
/// use execbuf::{Error, ExecPool};
///
/// type Answer = extern "C" fn() -> u32;
///
/// let pool = ExecPool::builder().reach(1 << 31).build()?; // so that code can address what is near
/// let returning = |number| {
///     let buffer = pool.publish(&[0xb8, number, 0, 0, 0, 0xc3])?; // mov eax, number; ret
///     // SAFETY: The bytes are a function without arguments that returns a 32-bit integer.
///     Ok::<_, Error>(unsafe { buffer.into_function::<Answer>() })
/// };
/// let (slow, fast) = (returning(1)?, returning(2)?);
///
/// let cell = pool.cell(slow.by_dyn())?;
/// let buffer = pool.assemble(|address| {
///     let offset = i32::try_from(cell.address().wrapping_sub(address + 6) as isize).expect("within reach");
///     let mut code = vec![0xff, 0x25]; // jmp [rip + offset]
///     code.extend(offset.to_le_bytes());
///     Ok::<_, Error>(code)
/// })?;
/// // SAFETY: The code jumps to a function of this type. It needs the cell, which the handle borrows.
/// let site = unsafe { buffer.function::<Answer>() }.and(&cell);
/// assert_eq!(site.call(), 1);
///
/// std::thread::scope(|scope| scope.spawn(|| cell.set(fast.by_dyn())).join()).unwrap();
/// assert_eq!(site.call(), 2);
/// # }
/// # Ok::<(), execbuf::Error>(())
/// ```
#[must_use]
pub struct FnCell<F: FnPtr, O> {
    data: Data,
    /// The list of owners, of the current target and of those before.
    kept: AtomicPtr<Kept<O>>,
    /// `Send` and `Sync` follow `O`, which the list owns. The cell is invariant in both types, so no target that lives
    /// shorter or has other arguments is set through a coerced reference: in `O` by the `AtomicPtr`, in `F` by this.
    marker: Marker<F, O>,
}

type Marker<F, O> = PhantomData<(fn(F) -> F, O)>;

/// An element of the list of owners.
struct Kept<O> {
    next: *mut Kept<O>,
    target: *const u8,
    /// Only dropped.
    _owner: O,
}

impl ExecPool {
    /// Makes a cell, near the pool's code, with a first target.
    ///
    /// # Errors
    ///
    /// The errors of [`data`](Self::data). The target is dropped.
    ///
    /// # Examples
    ///
    /// See [`FnCell`].
    pub fn cell<F: FnPtr, O: Send + Sync>(&self, target: Function<F, O>) -> Result<FnCell<F, O>, Error> {
        let data = self.data(size_of::<*mut u8>(), align_of::<*mut u8>())?;
        let cell = FnCell { data, kept: AtomicPtr::new(ptr::null_mut()), marker: PhantomData };
        cell.set(target);
        Ok(cell)
    }
}

impl<F: FnPtr, O> FnCell<F, O> {
    fn pointer(&self) -> &AtomicPtr<u8> {
        // SAFETY: The data have the size and the alignment of a pointer, are initialised, and live as long as `self`. All
        // accesses here are atomic; code that writes them promises in `unsafe` code to do the same.
        unsafe { AtomicPtr::from_ptr(self.data.as_ptr().cast()) }
    }

    /// Returns the address of the pointer, for the code that goes through it.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[must_use]
    pub fn address(&self) -> usize {
        self.data.address()
    }

    /// Returns the address of the current target. Another thread may change it at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let buffer = pool.publish(&[0xc3])?; // x86: ret
    /// // SAFETY: Nothing is called.
    /// let cell = pool.cell(unsafe { buffer.function::<extern "C" fn()>() })?;
    /// assert_eq!(cell.get(), buffer.as_ptr());
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn get(&self) -> *const u8 {
        self.pointer().load(Ordering::Acquire)
    }

    /// Changes the target by one atomic store, with release ordering, and keeps nothing alive. This may be called in a
    /// signal handler.
    ///
    /// # Safety
    ///
    /// The target's code, and what it needs, exist until nobody calls it through the cell any more: the cell has another
    /// target, and every thread that has read this one has returned from it, or the code that goes through the cell is
    /// gone. All threads that may run that code may call the target.
    ///
    /// # Examples
    ///
    /// ```
    /// extern "C" fn one() -> u32 {
    ///     1
    /// }
    ///
    /// extern "C" fn two() -> u32 {
    ///     2
    /// }
    ///
    /// type Number = extern "C" fn() -> u32;
    ///
    /// let pool = execbuf::ExecPool::new()?;
    /// let cell = pool.cell(execbuf::Function::from_fn(one as Number))?;
    /// // SAFETY: A function of the program always exists.
    /// unsafe { cell.set_unowned(two) };
    /// assert_eq!(cell.get(), two as *const u8);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub unsafe fn set_unowned(&self, target: F) {
        self.pointer().store(target.address().cast_mut(), Ordering::Release);
    }

    /// Drops the owners of old targets, but not that of the current one. The exclusive reference proves that no function
    /// is in use that borrows the cell.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let target = || {
    ///     // SAFETY: Nothing is called.
    ///     pool.publish(&[0xc3]).map(|buffer| unsafe { buffer.into_function::<extern "C" fn()>() }) // x86: ret
    /// };
    /// let mut cell = pool.cell(target()?)?;
    /// cell.set(target()?);
    /// assert_eq!(pool.stats().live(), 2);
    /// cell.settle();
    /// assert_eq!(pool.stats().live(), 1);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    pub fn settle(&mut self) {
        let current = self.get();
        let mut rest = mem::replace(self.kept.get_mut(), ptr::null_mut());
        let mut old = ptr::null_mut();
        while !rest.is_null() {
            // SAFETY: The lists own their elements, which come from `Box::into_raw`, and nobody else has the cell.
            let kept = unsafe { &mut *rest };
            // One owner of the current target suffices: each keeps the code alive.
            let list = if kept.target == current && self.kept.get_mut().is_null() {
                self.kept.get_mut()
            } else {
                &mut old
            };
            let next = mem::replace(&mut kept.next, *list);
            *list = rest;
            rest = next;
        }
        drop_all(old);
    }
}

impl<F: FnPtr, O: Send + Sync> FnCell<F, O> {
    /// Changes the target by one atomic store, with release ordering, from any thread. The owner of the old target is
    /// kept.
    ///
    /// If `O` needs to be dropped, this first puts the owner into a list, without a lock, which allocates; like `Box::new`,
    /// it aborts if no memory is left. Otherwise, as for references, it is nothing but the store, and may be called in a
    /// signal handler.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    pub fn set(&self, target: Function<F, O>) {
        let pointer = target.pointer();
        // An owner that is not dropped is as good as one that exists for ever.
        if mem::needs_drop::<O>() {
            self.keep(pointer.address(), target.into_owner());
        }
        // SAFETY: The owner is in the list until it is dropped with `&mut self` or with the cell. Functions that go through
        // the cell borrow or own it, as those who made them have promised in `unsafe` code. If nothing is to be dropped,
        // then what `O` borrows outlives the cell, because `O` does. `O` is `Send` and `Sync`, so all threads may call.
        unsafe { self.set_unowned(pointer) };
    }

    fn keep(&self, target: *const u8, owner: O) {
        let next = self.kept.load(Ordering::Relaxed);
        let kept = Box::into_raw(Box::new(Kept { next, target, _owner: owner }));
        let mut head = next;
        while let Err(newer) = self.kept.compare_exchange_weak(head, kept, Ordering::Release, Ordering::Relaxed) {
            head = newer;
            // SAFETY: The element is not in the list yet, so nobody else has it. Elements are taken from the list with
            // `&mut self` only, so the head is never one that was freed meanwhile.
            unsafe { (*kept).next = head };
        }
    }
}

/// Drops the elements of a list.
fn drop_all<O>(mut list: *mut Kept<O>) {
    while !list.is_null() {
        // SAFETY: The list owns its elements, which come from `Box::into_raw`.
        let kept = unsafe { Box::from_raw(list) };
        list = kept.next;
    }
}

/// Drops the owners of all targets.
impl<F: FnPtr, O> Drop for FnCell<F, O> {
    fn drop(&mut self) {
        drop_all(mem::replace(self.kept.get_mut(), ptr::null_mut()));
    }
}

/// Formats the addresses of the cell and of its target.
impl<F: FnPtr, O> fmt::Debug for FnCell<F, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnCell")
            .field("address", &self.data.as_ptr())
            .field("target", &self.get())
            .finish_non_exhaustive()
    }
}
