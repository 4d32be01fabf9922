//! Publishing in many reservations at once.

use alloc::vec::Vec;
use core::ptr;

use crate::buffer::{EMPTY, ExecBuffer};
use crate::error::{Error, PublishError, check_batch};
use crate::ffi;
use crate::info::Info;
use crate::reserved::Reserved;

/// A reservation with what is to be published there.
trait Piece {
    fn parts(&self) -> (&Reserved, &[u8], Option<Info<'_>>);

    /// Forgets the handle of the reservation.
    fn give_up(&mut self);
}

impl<B: AsRef<[u8]>> Piece for (Reserved, B) {
    fn parts(&self) -> (&Reserved, &[u8], Option<Info<'_>>) {
        (&self.0, self.1.as_ref(), None)
    }

    fn give_up(&mut self) {
        self.0.raw = EMPTY;
    }
}

impl<B: AsRef<[u8]>> Piece for (Reserved, B, Info<'_>) {
    fn parts(&self) -> (&Reserved, &[u8], Option<Info<'_>>) {
        (&self.0, self.1.as_ref(), Some(self.2))
    }

    fn give_up(&mut self) {
        self.0.raw = EMPTY;
    }
}

fn publish<P: Piece>(mut all: Vec<P>) -> Result<Vec<ExecBuffer>, PublishError<Vec<P>>> {
    let count = all.len();
    let mut infos: Vec<ffi::execbuf_info> = Vec::new();
    let mut codes: Vec<ffi::execbuf_code> = Vec::new();
    let mut raws: Vec<ffi::execbuf> = Vec::new();
    let reserves = [infos.try_reserve_exact(count), codes.try_reserve_exact(count), raws.try_reserve_exact(count)];
    if reserves.iter().any(Result::is_err) {
        return Err(PublishError::new(all, Error::no_memory(c"count")));
    }
    for piece in &all {
        let (reserved, code, info) = piece.parts();
        let mut code = ffi::execbuf_code { bytes: code.as_ptr().cast(), length: code.len(), info: ptr::null() };
        if let Some(info) = info {
            infos.push(info.to_raw());
            // The vector has the capacity, so it does not move.
            code.info = infos.as_ptr().wrapping_add(infos.len() - 1);
        }
        codes.push(code);
        raws.push(ffi::execbuf { ..reserved.raw });
    }
    // SAFETY: There are `count` handles, which are writable, and `count` pieces of code, whose descriptions are NULL or in
    // `infos`. Nothing has changed `all` since their bytes were borrowed from it, so they are readable.
    let result =
        check_batch(|error| unsafe { ffi::execbuf_publish_all(raws.as_mut_ptr(), codes.as_ptr(), count, error) });
    if let Err(error) = result {
        return Err(PublishError::new(all, error));
    }
    all.iter_mut().for_each(Piece::give_up); // the buffers have the handles from now on
    // SAFETY: All buffers are published, and nobody else has their handles.
    let buffers = raws.into_iter().map(|raw| unsafe { ExecBuffer::from_raw(raw) }).collect();
    // This may panic, and a returned value would then leak (rust-lang/rust#47949).
    drop(all);
    Ok(buffers)
}

impl Reserved {
    /// Publishes code in many reservations, of any pools and with dedicated mappings: in all of them, or in none if one
    /// fails. On AArch64, one barrier serves all that are in regions of pools. Returns the buffers in the order of the
    /// reservations.
    ///
    /// # Errors
    ///
    /// The error returns all reservations and their code. Its [position](Error::position) is the index of the one at fault.
    /// The errors are those of [`publish`](Self::publish).
    ///
    /// # Panics
    ///
    /// Panics if `as_ref` or the destructor of the code does. The memory is freed.
    ///
    /// # Examples
    ///
    /// See the [type](Self).
    #[doc(alias = "execbuf_publish_all")]
    pub fn publish_all<B: AsRef<[u8]>>(
        all: Vec<(Self, B)>,
    ) -> Result<Vec<ExecBuffer>, PublishError<Vec<(Self, B)>>> {
        publish(all)
    }

    /// Does what [`publish_all`](Self::publish_all) does, and describes the code.
    ///
    /// # Errors
    ///
    /// As for [`publish_all`](Self::publish_all), with the errors of [`publish_with`](Self::publish_with).
    ///
    /// # Panics
    ///
    /// As [`publish_all`](Self::publish_all).
    ///
    /// # Examples
    ///
    /// ```
    /// use execbuf::{ExecPool, Info, Reserved, Unwind};
    ///
    /// let pool = ExecPool::new()?;
    /// let info = Info::new().unwind(Unwind::NoFrame);
    /// let all = vec![
    ///     (pool.reserve(1)?, [0xc3], info.name("first")), //  x86: ret
    ///     (pool.reserve(1)?, [0xc3], info.name("second")), // x86: ret
    /// ];
    /// # if cfg!(all(unix, target_pointer_width = "64")) {
    /// let buffers = Reserved::publish_all_with(all)?;
    /// # drop(buffers);
    /// # }
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[doc(alias = "execbuf_publish_all")]
    #[expect(clippy::type_complexity, reason = "the error returns what was passed")]
    pub fn publish_all_with<B: AsRef<[u8]>>(
        all: Vec<(Self, B, Info<'_>)>,
    ) -> Result<Vec<ExecBuffer>, PublishError<Vec<(Self, B, Info<'_>)>>> {
        publish(all)
    }
}
