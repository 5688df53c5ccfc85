//! [`Rejection`]: why a message can never be handled, as a code for programs and a detail for people.

pub(crate) mod codes;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use sluicegate_queue::chain;
use sluicegate_queue::dead_letter::CODE_CHARS_MAX;

/// Why a message can never be handled: a stable code, such as `out_of_stock`, and a detail. The message goes to its
/// dead-letter queue with both, where `sluicegate dlq` selects by the code.
///
/// A rejection is an error, so that a function within a handler can reject with `?`, also as the source of another
/// error:
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_batch::{Delivery, OrReject, Outcome, Rejection, testing};
///
/// type Error = Box<dyn std::error::Error + Send + Sync>;
///
/// async fn handle(delivery: Arc<Delivery>) -> Result<(), Error> {
///     let text = String::from_utf8(delivery.envelope().payload().into_owned()).or_reject("not_text")?;
///     if text.trim().is_empty() {
///         Err(Rejection::new("order_empty", "the order has no items"))?;
///     }
///     store(&text).await?;
///     Ok(())
/// }
/// # async fn store(_: &str) -> Result<(), std::io::Error> { Err(std::io::Error::other("the disk is full")) }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let empty = testing::json("order.placed", "  ")?.call(handle).await;
/// assert_eq!(empty, Outcome::reject("order_empty", "the order has no items"));
/// let failed = testing::json("order.placed", "tea")?.call(handle).await;
/// assert_eq!(failed, Outcome::Failed("the disk is full".to_owned()));
/// # Ok::<(), Error>(())
/// # })?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    code: Cow<'static, str>,
    detail: String,
}

impl Rejection {
    /// Creates a rejection. The code is a constant of your program, so it cannot carry payload: 1 to 64 ASCII letters,
    /// digits, `_`, `-` and `.`. Any other character becomes `_`, a longer code is cut, and an empty one is `_`. The
    /// detail is logged, and is shown to a sender that follows its message: it should not contain payload.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code: sound(code), detail: detail.into() }
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the detail, or the code if that is empty: the reason of the dead letter.
    #[must_use]
    pub fn detail(&self) -> &str {
        if self.detail.is_empty() { &self.code } else { &self.detail }
    }

    /// Returns the rejection with another detail.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// Returns the code and the detail.
    pub(crate) fn into_parts(self) -> (Cow<'static, str>, String) {
        let detail = if self.detail.is_empty() { self.code.clone().into_owned() } else { self.detail };
        (self.code, detail)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl Error for Rejection {}

/// Rejects a message for an error that a retry would not change.
pub trait OrReject<T> {
    /// Returns the value, or a [`Rejection`] with this code, whose detail is the error with its causes.
    ///
    /// # Errors
    /// There is no value.
    fn or_reject(self, code: &'static str) -> Result<T, Rejection>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrReject<T> for Result<T, E> {
    fn or_reject(self, code: &'static str) -> Result<T, Rejection> {
        self.map_err(|error| Rejection::new(code, chain(error.into().as_ref())))
    }
}

/// Returns a code that every broker and every log takes.
fn sound(code: &'static str) -> Cow<'static, str> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ['_', '-', '.'].contains(&c);
    if (1..=CODE_CHARS_MAX).contains(&code.len()) && code.chars().all(is_allowed) {
        return Cow::Borrowed(code);
    }
    let allowed = |c: char| if is_allowed(c) { c } else { '_' };
    match code {
        "" => Cow::Borrowed("_"),
        _ => Cow::Owned(code.chars().take(CODE_CHARS_MAX).map(allowed).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_only_characters_that_every_broker_takes() {
        for (code, expected) in [
            ("out_of_stock", "out_of_stock"),
            ("HTTP-404.v2", "HTTP-404.v2"),
            ("out of stock!", "out_of_stock_"),
            ("größe", "gr__e"),
            ("", "_"),
        ] {
            assert_eq!(Rejection::new(code, "").code(), expected);
        }
        let long: &'static str = Box::leak("ab".repeat(40).into_boxed_str());
        assert_eq!(Rejection::new(long, "").code(), &long[..CODE_CHARS_MAX]);
    }

    #[test]
    fn the_detail_of_an_error_has_its_causes_and_an_empty_one_is_the_code() {
        let closed = || std::io::Error::other("the door is closed");
        let rejection = Err::<(), _>(closed()).or_reject("closed").unwrap_err();
        assert_eq!((rejection.code(), rejection.detail()), ("closed", "the door is closed"));
        assert_eq!(Ok::<_, std::io::Error>(7).or_reject("closed"), Ok(7));
        let without = Rejection::new("closed", "");
        assert_eq!((without.to_string(), without.into_parts().1), ("closed".to_owned(), "closed".to_owned()));
    }
}
