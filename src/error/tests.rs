//! Unit tests of the error type and the conversions from C.

use super::*;
use crate::backend::Backend;
use crate::ffi::execbuf_backend;
use alloc::format;
use alloc::string::ToString;
use core::ffi::CStr;

/// Returns an error in the form of a C report.
fn reported(status: execbuf_status) -> Error {
    Error::of(status, c"culprit")
}

#[test]
fn every_status_has_its_kind() {
    use execbuf_status as s;
    let kinds = [
        (s::EXECBUF_E_NULL, ErrorKind::Null),
        (s::EXECBUF_E_EMPTY, ErrorKind::Empty),
        (s::EXECBUF_E_TOO_LARGE, ErrorKind::TooLarge),
        (s::EXECBUF_E_OUT_OF_BOUNDS, ErrorKind::OutOfBounds),
        (s::EXECBUF_E_CAPACITY, ErrorKind::Capacity),
        (s::EXECBUF_E_STALE, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_NOT_PUBLISHED, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_PUBLISHED, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_NO_MEMORY, ErrorKind::NoMemory),
        (s::EXECBUF_E_DENIED, ErrorKind::Denied),
        (s::EXECBUF_E_READ_IMPLIES_EXEC, ErrorKind::ReadImpliesExec),
        (s::EXECBUF_E_UNSUPPORTED, ErrorKind::Unsupported),
        (s::EXECBUF_E_LOST, ErrorKind::Lost),
        (s::EXECBUF_E_FROZEN, ErrorKind::Frozen),
        (s::EXECBUF_E_TOO_FAR, ErrorKind::TooFar),
        (s::EXECBUF_E_SYNTAX, ErrorKind::Syntax),
        (s::EXECBUF_E_TYPE, ErrorKind::Signature),
        (s::EXECBUF_E_ARGUMENTS, ErrorKind::Signature),
        (s::EXECBUF_E_ABI, ErrorKind::Abi),
        (s::EXECBUF_E_THUNK, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_VERSION, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_TOO_MANY_POOLS, ErrorKind::TooManyPools),
        (s::EXECBUF_E_NOT_FOUND, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_BACKENDS, ErrorKind::Backends),
        (s::EXECBUF_E_NOT_INHERITED, ErrorKind::NotInherited),
        (s::EXECBUF_E_UNWIND, ErrorKind::Unwind),
        (s::EXECBUF_E_STAGED, ErrorKind::InvalidHandle),
        (s::EXECBUF_E_ALIGNMENT, ErrorKind::Alignment),
        (s::EXECBUF_E_TOOL, ErrorKind::Tool),
        (s::EXECBUF_E_LINES, ErrorKind::Lines),
    ];
    // The statuses are numbered without gaps, so this proves that the list is complete.
    for (number, (status, kind)) in (1..).zip(kinds) {
        assert_eq!(status.0, -number);
        assert_eq!(reported(status).kind(), kind);
    }
    // SAFETY: The function accepts any value and returns a static string.
    let after = unsafe { CStr::from_ptr(ffi::execbuf_status_name(execbuf_status(-1 - 30))) };
    assert_eq!((kinds.len(), after), (30, c"EXECBUF_E_?"));
}

#[test]
fn errors_keep_the_os_code_and_convert_to_io_errors() {
    let (mut attempts, _) = Attempts::NONE.to_raw();
    attempts[0] = ffi::execbuf_attempt {
        backend: execbuf_backend::EXECBUF_BACKEND_MAP_JIT,
        os_error: 0,
        call: c"self-test".as_ptr(),
    };
    let report = ffi::execbuf_error {
        status: execbuf_status::EXECBUF_E_DENIED,
        os_error: 13,
        culprit: c"culprit".as_ptr(),
        position: 0,
        attempt_count: 1,
        attempts,
        path: [0; 8],
        reserved: [0; 2],
    };
    // SAFETY: The report is complete.
    let error = unsafe { Error::from_raw(report) };
    assert_eq!((error.os_error(), error.culprit()), (Some(13), Some("culprit")));
    let attempts: alloc::vec::Vec<_> = error.attempts().collect();
    assert_eq!((attempts[0].backend(), attempts[0].call()), (Backend::MapJit, "self-test"));
    assert_eq!(attempts[0].os_error(), None);
    assert!(error.to_string().ends_with("(map-jit: self-test)"), "{error}");
    assert!(format!("{error:?}").starts_with("Denied(the system refused"), "{error:?}");
    assert!(core::error::Error::source(&error).is_none());
    #[cfg(feature = "std")]
    for (status, kind) in [
        (execbuf_status::EXECBUF_E_EMPTY, std::io::ErrorKind::InvalidInput),
        (execbuf_status::EXECBUF_E_TOO_LARGE, std::io::ErrorKind::InvalidInput),
        (execbuf_status::EXECBUF_E_OUT_OF_BOUNDS, std::io::ErrorKind::InvalidInput),
        (execbuf_status::EXECBUF_E_CAPACITY, std::io::ErrorKind::InvalidInput),
        (execbuf_status::EXECBUF_E_DENIED, std::io::ErrorKind::PermissionDenied),
        (execbuf_status::EXECBUF_E_NO_MEMORY, std::io::ErrorKind::OutOfMemory),
        (execbuf_status::EXECBUF_E_READ_IMPLIES_EXEC, std::io::ErrorKind::PermissionDenied),
        (execbuf_status::EXECBUF_E_UNSUPPORTED, std::io::ErrorKind::Unsupported),
        (execbuf_status::EXECBUF_E_LOST, std::io::ErrorKind::Other),
        (execbuf_status::EXECBUF_E_FROZEN, std::io::ErrorKind::Other),
        (execbuf_status::EXECBUF_E_TOO_FAR, std::io::ErrorKind::OutOfMemory),
        (execbuf_status::EXECBUF_E_SYNTAX, std::io::ErrorKind::InvalidInput),
        (execbuf_status::EXECBUF_E_TYPE, std::io::ErrorKind::InvalidInput),
        (execbuf_status::EXECBUF_E_UNWIND, std::io::ErrorKind::InvalidInput),
    ] {
        assert_eq!(std::io::Error::from(reported(status)).kind(), kind);
    }
}

#[test]
fn errors_can_be_sent_to_other_threads() {
    fn can_be_sent<T: Send + Sync>() {}
    can_be_sent::<Error>();
}

#[test]
fn backends_have_their_c_names() {
    let backends = [Backend::Flip, Backend::Memfd, Backend::Alias, Backend::MapJit, Backend::Section];
    assert_eq!(backends.map(|b| b.to_string()), ["flip", "memfd", "alias", "map-jit", "section"]);
    assert_eq!(crate::backend::backend(execbuf_backend::EXECBUF_BACKEND_NONE), None);
}

#[test]
fn the_c_version_equals_the_crate_version() {
    // SAFETY: The function returns a static string.
    let version = unsafe { CStr::from_ptr(ffi::execbuf_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    assert_eq!(ffi::EXECBUF_VERSION, version.to_bytes_with_nul());
}
