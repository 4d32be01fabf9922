//! Publishing many pieces of code at once.

use alloc::vec::Vec;
use core::ptr;

use crate::buffer::ExecBuffer;
use crate::error::{Error, check_batch};
use crate::ffi;
use crate::info::Info;
use crate::pool::ExecPool;

impl ExecPool {
    /// Publishes any number of pieces of code, also 0: all, or none if one fails. On AArch64, one barrier serves all.
    ///
    /// # Errors
    ///
    /// The errors of [`publish`](Self::publish), for the first piece of code that fails, whose index is the error's
    /// [position](Error::position).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = execbuf::ExecPool::new()?;
    /// let buffers = pool.publish_batch(&[&[0xc3], &[0x90, 0xc3]])?; // x86: ret; nop, ret
    /// assert_eq!((buffers[1].len(), pool.publish_batch(&[])?.len()), (2, 0));
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_pool_publish_batch")]
    pub fn publish_batch(&self, codes: &[&[u8]]) -> Result<Vec<ExecBuffer>, Error> {
        let mut pieces = Vec::new();
        if pieces.try_reserve_exact(codes.len()).is_err() {
            return Err(Error::no_memory(c"count"));
        }
        pieces.extend(codes.iter().map(|code| piece(code, ptr::null())));
        // SAFETY: The code is borrowed.
        unsafe { self.publish_pieces(&pieces) }
    }

    /// As [`publish_batch`](Self::publish_batch), and describes the code. Debuggers are told of all of it at once.
    ///
    /// # Errors
    ///
    /// As for [`publish_batch`](Self::publish_batch), with the errors of [`ExecBuffer::describe`].
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecPool, Info};
    ///
    /// let pool = ExecPool::new()?;
    /// let codes: [(&[u8], _); 2] = [
    ///     (&[0xc3], Info::new().name("first")), //        x86: ret
    ///     (&[0x90, 0xc3], Info::new().name("second")), // x86: nop, ret
    /// ];
    /// let buffers = pool.publish_batch_with(&codes)?;
    /// assert_eq!(buffers.len(), 2);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_pool_publish_batch")]
    pub fn publish_batch_with(&self, codes: &[(&[u8], Info<'_>)]) -> Result<Vec<ExecBuffer>, Error> {
        let mut infos = Vec::new();
        let mut pieces = Vec::new();
        if infos.try_reserve_exact(codes.len()).is_err() || pieces.try_reserve_exact(codes.len()).is_err() {
            return Err(Error::no_memory(c"count"));
        }
        infos.extend(codes.iter().map(|(_, info)| info.to_raw()));
        pieces.extend(codes.iter().zip(&infos).map(|((code, _), info)| piece(code, info)));
        // SAFETY: The code and what the descriptions point to are borrowed, and `infos` lives longer than the call.
        unsafe { self.publish_pieces(&pieces) }
    }

    /// # Safety
    ///
    /// All that the pieces point to is readable.
    unsafe fn publish_pieces(&self, pieces: &[ffi::execbuf_code]) -> Result<Vec<ExecBuffer>, Error> {
        let count = pieces.len();
        let mut buffers: Vec<ExecBuffer> = Vec::new();
        if buffers.try_reserve_exact(count).is_err() {
            return Err(Error::no_memory(c"count"));
        }
        // An `ExecBuffer` contains only the C handle.
        let out: *mut ffi::execbuf = buffers.as_mut_ptr().cast();
        // SAFETY: The pool exists, `out` has space for `count`, the report is writable, and the caller vouches for the pieces.
        check_batch(|error| unsafe {
            ffi::execbuf_pool_publish_batch(self.raw.0, out, pieces.as_ptr(), count, error)
        })?;
        // SAFETY: The vector has capacity for `count` buffers, the call has written them, and nobody else has them.
        unsafe { buffers.set_len(count) };
        Ok(buffers)
    }
}

const fn piece(code: &[u8], info: *const ffi::execbuf_info) -> ffi::execbuf_code {
    ffi::execbuf_code { bytes: code.as_ptr().cast(), length: code.len(), info }
}
