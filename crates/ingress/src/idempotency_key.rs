//! Idempotency keys from headers.
//!
//! The value of `Idempotency-Key` is a structured-field string (Idempotency-Key draft 07, section 2.1): quoted, with
//! `\"` and `\\` as its only escapes. Most clients send it bare, so both forms give the same key. A bare key has no
//! comma: HTTP APIs and Function URLs join repeated headers with commas, so that `a,b` may be two keys. Keys from other
//! headers are used unchanged.

use std::borrow::Cow;

use crate::{
    authenticate::Authenticated,
    rejection::{Code, Rejection},
};

/// The longest idempotency key, in characters without quotes. The draft leaves the limit to the server.
pub(crate) const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// The only header whose value is a structured-field string.
const HEADER: &str = "idempotency-key";

/// The end of a sentence about a repeated header or query parameter.
pub(crate) const SENT_TWICE: &str = "was sent more than once";

/// The reason why a text is not an idempotency key, displayed as the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("{SENT_TWICE}; send it once, and put a key that has a comma in double quotes")]
    Repeated,
    #[error(
        "starts with a double quote but is not a quoted string: escape `\"` and `\\` with `\\`, and end with a double quote"
    )]
    Quotes,
    #[error("must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters")]
    Characters,
}

/// Reads the key from the header `name`.
///
/// # Errors
/// The header is repeated or not a key, or it is absent and required: 400 with the reason.
pub(crate) fn read(request: &Authenticated<'_>, name: &str, required: bool) -> Result<Option<String>, Rejection> {
    let invalid = |reason: &dyn std::fmt::Display| {
        Err(Rejection::new(Code::IdempotencyKeyInvalid, format!("The header {name} {reason}.")))
    };
    match request.header(name).map(|value| from_header(name, value)) {
        Some(Ok(key)) => Ok(Some(key.into_owned())),
        Some(Err(error)) => invalid(&error),
        None if request.routed().arrival().repeats_header(name) => invalid(&SENT_TWICE),
        None if required => invalid(&"is required"),
        None => Ok(None),
    }
}

/// Parses the value of the header `name` as a key.
fn from_header<'v>(name: &str, value: &'v str) -> Result<Cow<'v, str>, KeyError> {
    let key = if name == HEADER { unquoted(value.trim_matches(' '))? } else { Cow::Borrowed(value) };
    check(&key)?;
    Ok(key)
}

/// Checks that a text can be a key.
pub(crate) fn check(key: &str) -> Result<(), KeyError> {
    let is_key = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(is_printable);
    if is_key { Ok(()) } else { Err(KeyError::Characters) }
}

/// Returns the value of a quoted string (RFC 9651, section 4.2.5), or a bare key unchanged.
fn unquoted(value: &str) -> Result<Cow<'_, str>, KeyError> {
    let Some(quoted) = value.strip_prefix('"') else {
        return if value.contains(',') { Err(KeyError::Repeated) } else { Ok(Cow::Borrowed(value)) };
    };
    if let Some((key, "")) = quoted.split_once('"')
        && !key.contains('\\')
    {
        return Ok(Cow::Borrowed(key));
    }
    let mut key = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next().ok_or(KeyError::Quotes)? {
            '"' => break,
            '\\' => key.push(rest.next().filter(|c| ['"', '\\'].contains(c)).ok_or(KeyError::Quotes)?),
            c => key.push(c),
        }
    }
    match rest.as_str().trim_start() {
        "" => Ok(Cow::Owned(key)),
        more if more.starts_with(',') => Err(KeyError::Repeated),
        _ => Err(KeyError::Quotes),
    }
}

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_values_name_keys() {
        let check = |value: &str, expected: Result<&str, KeyError>| {
            assert_eq!(from_header(HEADER, value).as_deref().map_err(|error| *error), expected, "{value}");
        };
        let (longest, longer) = ("k".repeat(255), "k".repeat(256));
        for key in ["k", "a b", "8e03978e-40d5-43dd-bc93-6894a57f9324", "k\"", "a\\b", "'", &longest] {
            check(key, Ok(key));
        }
        check(" k ", Ok("k"));
        check("\"k\"", Ok("k"));
        check("\" k\"", Ok(" k"));
        check("\"a,b\"", Ok("a,b"));
        check(r#""a\"b\\c""#, Ok(r#"a"b\c"#));
        check(&format!("\"{longest}\""), Ok(&longest));
        check(&format!("\"{}\"", "\\\"".repeat(255)), Ok(&"\"".repeat(255)));
        for value in ["", " ", "\"\"", "ключ", "a\tb", "\"a\tb\"", "\u{7f}", &longer, &format!("\"{longer}\"")] {
            check(value, Err(KeyError::Characters));
        }
        for value in ["\"", "\"k", "\"k\\\"", "\"k\\", r#""a\b""#, "\"k\"x", "\"k\" x", "\"k\";a=1", "\"a\"b\""] {
            check(value, Err(KeyError::Quotes));
        }
        for value in ["a,b", "a, b", ",", "a,", "a,\"b\"", "\"a\",\"b\"", "\"a\" , b", "\"\",\"\""] {
            check(value, Err(KeyError::Repeated));
        }
    }

    #[test]
    fn other_headers_are_taken_as_they_are() {
        assert_eq!(from_header("webhook-id", "\"a\",b").as_deref(), Ok("\"a\",b"));
        assert_eq!(from_header("webhook-id", ""), Err(KeyError::Characters));
    }
}
