//! The kinds of errors.

#[cfg(doc)]
use crate::Error;
use crate::ffi::execbuf_status;

/// The kind of an [`Error`]. Match it to decide what to do.
///
/// # Examples
///
/// ```
/// use execbuf::{ErrorKind, ExecBuffer};
///
/// let error = ExecBuffer::new(&[]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Empty);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias("execbuf_status", "execbuf_status_message", "execbuf_status_name"))]
pub enum ErrorKind {
    /// The code is empty.
    Empty,
    /// The length exceeds the limit.
    TooLarge,
    /// The offset or the end is outside the buffer.
    OutOfBounds,
    /// The code is longer than its [reservation](crate::Reserved).
    Capacity,
    /// The closure of [`assemble`](crate::ExecBuffer::assemble) returned an error.
    AssembleFailed,
    /// The closure of [`assemble`](crate::ExecBuffer::assemble) returned code that was longer than each reservation.
    Unsettled,
    /// No memory, address space or mappings are left.
    NoMemory,
    /// The process has 32767 arenas, the most that are possible: one for each pool and thread that publishes in it.
    TooManyPools,
    /// The system refused every way to make memory executable. See [`Error::attempts`], or else [`Error::culprit`].
    Denied,
    /// The process has the `READ_IMPLIES_EXEC` personality, in which all memory is executable.
    ReadImpliesExec,
    /// execbuf does not know how to publish code on this platform, or the system has no protection key for a pool, or
    /// memory cannot be [staged](crate::Staged).
    Unsupported,
    /// A rewrite failed, and the old code could not be made executable again. The buffer can only be dropped.
    Lost,
    /// The code was in a pool during a `fork`, so both processes share its memory, and the system does not let it be copied.
    Frozen,
    /// The pool keeps its code from children of a fork, and this process is one: drop the buffer.
    NotInherited,
    /// No free address range satisfies the [`Placement`](crate::Placement). [`Error::culprit`] says what was searched.
    TooFar,
    /// A string contains a zero byte, which ends strings in C.
    ZeroByte,
    /// The text of a [`Signature`](crate::Signature) is malformed. [`Error::position`] is the offset in bytes.
    Syntax,
    /// A [`Signature`](crate::Signature) has a type that cannot be passed between calling conventions, or too many
    /// arguments. [`Error::position`] is the number of the argument, starting at 1, or 0 for the result.
    Signature,
    /// This architecture does not have the calling convention.
    Abi,
    /// The function type does not match the [`DynThunk`](crate::dynamic::DynThunk), or an argument or the result does not
    /// match the signature of a [`Caller`](crate::dynamic::Caller).
    Mismatch,
    /// The address of a function is null, or a [`Placement`](crate::Placement) has a distance but no address.
    Null,
    /// The choice of backends is not possible: one is unknown, this platform has none of them, or a buffer or pool was
    /// made before. [`Error::culprit`] is `EXECBUF_BACKENDS` if the environment variable is wrong.
    Backends,
    /// The unwind information is malformed or does not fit the code. [`Error::culprit`] says why, `position` where.
    Unwind,
    /// The offsets of [`Line`](crate::Line)s descend, or one lies behind the code. `position` is the index.
    Lines,
    /// The alignment is not a power of two, or is more than a page.
    Alignment,
    /// A debugger or profiler cannot be told of code. See [`tools::failures`](crate::tools::failures).
    Tool,
    /// A handle was changed or freed through [`ffi`](crate::ffi) while a safe type owned it.
    InvalidHandle,
}

pub(crate) fn kind(status: execbuf_status) -> ErrorKind {
    match status {
        execbuf_status::EXECBUF_E_EMPTY => ErrorKind::Empty,
        execbuf_status::EXECBUF_E_TOO_LARGE => ErrorKind::TooLarge,
        execbuf_status::EXECBUF_E_OUT_OF_BOUNDS => ErrorKind::OutOfBounds,
        execbuf_status::EXECBUF_E_CAPACITY => ErrorKind::Capacity,
        execbuf_status::EXECBUF_E_NO_MEMORY => ErrorKind::NoMemory,
        execbuf_status::EXECBUF_E_TOO_MANY_POOLS => ErrorKind::TooManyPools,
        execbuf_status::EXECBUF_E_DENIED => ErrorKind::Denied,
        execbuf_status::EXECBUF_E_READ_IMPLIES_EXEC => ErrorKind::ReadImpliesExec,
        execbuf_status::EXECBUF_E_UNSUPPORTED => ErrorKind::Unsupported,
        execbuf_status::EXECBUF_E_LOST => ErrorKind::Lost,
        execbuf_status::EXECBUF_E_FROZEN => ErrorKind::Frozen,
        execbuf_status::EXECBUF_E_NOT_INHERITED => ErrorKind::NotInherited,
        execbuf_status::EXECBUF_E_TOO_FAR => ErrorKind::TooFar,
        execbuf_status::EXECBUF_E_SYNTAX => ErrorKind::Syntax,
        execbuf_status::EXECBUF_E_TYPE | execbuf_status::EXECBUF_E_ARGUMENTS => ErrorKind::Signature,
        execbuf_status::EXECBUF_E_ABI => ErrorKind::Abi,
        execbuf_status::EXECBUF_E_NULL => ErrorKind::Null,
        execbuf_status::EXECBUF_E_BACKENDS => ErrorKind::Backends,
        execbuf_status::EXECBUF_E_UNWIND => ErrorKind::Unwind,
        execbuf_status::EXECBUF_E_LINES => ErrorKind::Lines,
        execbuf_status::EXECBUF_E_ALIGNMENT => ErrorKind::Alignment,
        execbuf_status::EXECBUF_E_TOOL => ErrorKind::Tool,
        // STALE, NOT_PUBLISHED, PUBLISHED, STAGED, THUNK, VERSION and NOT_FOUND: the safe types alone never cause these.
        _ => ErrorKind::InvalidHandle,
    }
}
