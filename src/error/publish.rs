//! The error that returns what could not be published.

use core::fmt;

use super::Error;

/// The error of publishing: what could not be published (or unpublished), and why. `?` turns it into an [`Error`] and drops the rest.
///
/// # Examples
///
/// See [`Reserved::publish`](crate::Reserved::publish).
#[must_use = "it contains what could not be published"]
pub struct PublishError<T> {
    value: T,
    error: Error,
}

impl<T> PublishError<T> {
    pub(crate) fn new(value: T, error: Error) -> Self {
        Self { value, error }
    }

    /// Returns why nothing was published.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = execbuf::ExecBuffer::reserve(1)?.publish(&[]).unwrap_err();
    /// assert_eq!(error.error().kind(), execbuf::ErrorKind::Empty);
    /// # Ok::<(), execbuf::Error>(())
    /// ```
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns what could not be published, and why.
    ///
    /// # Examples
    ///
    /// See [`Reserved::publish`](crate::Reserved::publish).
    #[must_use]
    pub fn into_parts(self) -> (T, Error) {
        (self.value, self.error)
    }
}

impl<T> From<PublishError<T>> for Error {
    fn from(error: PublishError<T>) -> Self {
        error.error
    }
}

/// Formats the error.
impl<T> fmt::Debug for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<T> fmt::Display for PublishError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> core::error::Error for PublishError<T> {}
