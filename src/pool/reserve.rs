//! Reservations and staged memory in pools.

use alloc::vec::Vec;

use super::ExecPool;
use crate::error::{Error, check_batch};
use crate::ffi;
use crate::reserved::Reserved;
use crate::staged::Staged;

impl ExecPool {
    /// Reserves memory in the pool for code that depends on its own address, or on those of other reservations.
    ///
    /// # Errors
    ///
    /// - [`Empty`](crate::ErrorKind::Empty): `capacity` is 0.
    /// - The other errors of [`publish`](Self::publish).
    ///
    /// # Examples
    ///
    /// See [`Reserved`].
    #[doc(alias = "execbuf_pool_reserve")]
    pub fn reserve(&self, capacity: usize) -> Result<Reserved, Error> {
        // SAFETY: The pool exists, and `execbuf_pool_reserve` reserves as many bytes.
        unsafe {
            Reserved::made_by(capacity, |raw, error| {
                ffi::execbuf_pool_reserve(self.as_raw(), raw, capacity, error)
            })
        }
    }

    /// Maps memory for code that is written in place, within the [reach](crate::ExecPoolBuilder::reach) of the pool. It has
    /// pages of its own, whatever the capacity.
    ///
    /// # Errors
    ///
    /// The errors of [`ExecBuffer::stage`](crate::ExecBuffer::stage), and [`TooFar`](crate::ErrorKind::TooFar): no free range
    /// is where the pool's code may lie.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let mut staged = pool.stage(100)?;
    /// staged[0] = 0xc3; // x86: ret
    /// let buffer = staged.publish(1)?;
    /// assert_eq!((buffer.as_ref(), pool.code_bytes()), (&[0xc3][..], 1));
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_pool_stage")]
    pub fn stage(&self, capacity: usize) -> Result<Staged, Error> {
        // SAFETY: The pool exists, and `execbuf_pool_stage` stages as many bytes.
        unsafe {
            Staged::made_by(capacity, |raw, error| ffi::execbuf_pool_stage(self.as_raw(), raw, capacity, error))
        }
    }

    /// Makes any number of reservations, also 0: all, or none if one fails.
    ///
    /// # Errors
    ///
    /// The errors of [`reserve`](Self::reserve). The [position](Error::position) is the index of the first capacity that
    /// fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecPool, Reserved};
    ///
    /// let pool = ExecPool::new()?;
    /// let reserved = pool.reserve_batch(&[16, 5000])?;
    /// assert_eq!((reserved[1].capacity(), pool.code_bytes()), (5000, 5016));
    /// let buffers = Reserved::publish_all(reserved.into_iter().map(|place| (place, [0xc3])).collect())?; // x86: ret
    /// assert_eq!((buffers.len(), pool.code_bytes()), (2, 2));
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_pool_reserve_batch")]
    pub fn reserve_batch(&self, capacities: &[usize]) -> Result<Vec<Reserved>, Error> {
        let count = capacities.len();
        let mut rooms: Vec<ffi::execbuf_room> = Vec::new();
        let mut raws: Vec<ffi::execbuf> = Vec::new();
        let mut all = Vec::new();
        if rooms.try_reserve_exact(count).is_err()
            || raws.try_reserve_exact(count).is_err()
            || all.try_reserve_exact(count).is_err()
        {
            return Err(Error::no_memory(c"count"));
        }
        rooms.extend(capacities.iter().map(|&capacity| ffi::execbuf_room { capacity, reserved: [0; 2] }));
        // SAFETY: The pool exists, there is space for `count` handles, the report is writable, and there are `count` rooms.
        check_batch(|error| unsafe {
            ffi::execbuf_pool_reserve_batch(self.as_raw(), raws.as_mut_ptr(), rooms.as_ptr(), count, error)
        })?;
        // SAFETY: The vector has capacity for `count` handles, and the call has written them.
        unsafe { raws.set_len(count) };
        // SAFETY: Each is the handle of a new reservation of this capacity, and nobody else has it.
        all.extend(
            raws.into_iter().zip(capacities).map(|(raw, &capacity)| unsafe { Reserved::from_raw(raw, capacity) }),
        );
        Ok(all)
    }
}
