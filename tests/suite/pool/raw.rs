//! Helpers for pools and handles of the C API.

use super::*;

pub(super) const OK: ffi::execbuf_status = ffi::execbuf_status::EXECBUF_OK;
pub(super) const NOTHING: ffi::execbuf = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };

/// A pool of the C API.
pub(super) struct RawPool(pub(super) *mut ffi::execbuf_pool);

impl RawPool {
    pub(super) fn new() -> Self {
        let mut pool = ptr::null_mut();
        // SAFETY: `pool` is writable; the options and the report may be null.
        let status = unsafe { ffi::execbuf_pool_new(&raw mut pool, ptr::null(), ptr::null_mut()) };
        assert_eq!(status, OK);
        Self(pool)
    }

    pub(super) fn publish(&self, code: &[u8]) -> ffi::execbuf {
        let mut handle = NOTHING;
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The pool exists, the handle is writable, and the code is readable for its length.
        let status = unsafe { ffi::execbuf_pool_publish(self.0, &raw mut handle, bytes, length, ptr::null_mut()) };
        assert_eq!(status, OK);
        handle
    }

    pub(super) fn live(&self) -> usize {
        // SAFETY: All zero is a valid value: numbers and null pointers.
        let mut stats: ffi::execbuf_pool_stats = unsafe { std::mem::zeroed() };
        stats.size = std::mem::size_of_val(&stats);
        // SAFETY: The pool exists, and `stats` is writable.
        assert_eq!(unsafe { ffi::execbuf_pool_get_stats(self.0, &raw mut stats) }, OK);
        stats.live
    }
}

impl Drop for RawPool {
    fn drop(&mut self) {
        // SAFETY: Only this value has the pool.
        unsafe { ffi::execbuf_pool_free(self.0) };
    }
}

/// Copies a handle.
pub(super) fn twin(handle: &ffi::execbuf) -> ffi::execbuf {
    ffi::execbuf { ..*handle }
}

pub(super) fn free(handle: &mut ffi::execbuf) -> ffi::execbuf_status {
    // SAFETY: The handle is writable, and nobody runs its code.
    unsafe { ffi::execbuf_free(handle) }
}

pub(super) fn drop_all(handles: &mut [ffi::execbuf]) {
    for handle in handles {
        assert_eq!(free(handle), OK);
    }
}

/// Calls a published [`function`].
pub(super) fn run(handle: &ffi::execbuf) -> u32 {
    // SAFETY: The test published such a function and has not freed it.
    unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> u32>(handle.entry)() }
}

/// Checks that every function refuses a handle and leaves it unchanged, and that each refusal is counted.
pub(super) fn is_stale(handle: &mut ffi::execbuf) {
    let stale = ffi::execbuf_status::EXECBUF_E_STALE;
    let before = twin(handle);
    let code = returning(9);
    let bytes = code.as_ptr().cast();
    // SAFETY: The handle is writable, the code is readable for its length, and the report may be null.
    unsafe {
        let count = ffi::execbuf_stale_count();
        assert_eq!(
            ffi::execbuf_rewrite(handle, 0, bytes, 1, ptr::null_mut()),
            stale,
            "rewrite of {:x}",
            before.id
        );
        assert_eq!(ffi::execbuf_stale_count(), count + 1, "rewrite of {:x}", before.id);
        assert_eq!(ffi::execbuf_publish(handle, bytes, 1, ptr::null_mut()), stale, "publish of {:x}", before.id);
        assert_eq!(ffi::execbuf_stale_count(), count + 2, "publish of {:x}", before.id);
        assert_eq!(ffi::execbuf_free(handle), stale, "free of {:x}", before.id);
        assert_eq!(ffi::execbuf_stale_count(), count + 3, "free of {:x}", before.id);
    }
    assert_eq!((handle.entry, handle.length, handle.id), (before.entry, before.length, before.id));
}
