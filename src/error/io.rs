//! Errors of the standard library.

use super::{Error, ErrorKind};

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NoMemory | ErrorKind::TooManyPools | ErrorKind::TooFar => std::io::ErrorKind::OutOfMemory,
            ErrorKind::Denied | ErrorKind::ReadImpliesExec => std::io::ErrorKind::PermissionDenied,
            ErrorKind::Unsupported => std::io::ErrorKind::Unsupported,
            ErrorKind::Empty
            | ErrorKind::TooLarge
            | ErrorKind::OutOfBounds
            | ErrorKind::Capacity
            | ErrorKind::ZeroByte
            | ErrorKind::Syntax
            | ErrorKind::Signature
            | ErrorKind::Unwind
            | ErrorKind::Lines
            | ErrorKind::Alignment
            | ErrorKind::Abi
            | ErrorKind::Mismatch
            | ErrorKind::Backends
            | ErrorKind::Null => std::io::ErrorKind::InvalidInput,
            ErrorKind::AssembleFailed
            | ErrorKind::Unsettled
            | ErrorKind::Lost
            | ErrorKind::Frozen
            | ErrorKind::NotInherited
            | ErrorKind::Tool
            | ErrorKind::InvalidHandle => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
