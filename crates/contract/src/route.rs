//! Routing: finds the operation of a request.
//!
//! The path decides first, the method second. Of the paths that match, the most specific wins: segment by segment from
//! the left, a literal takes precedence over a parameter. So `POST /a/b` is a 405 when `/a/b` has only a GET, even if
//! `/a/{x}` has a POST: as in OpenAPI, a concrete path hides a templated one.
//!
//! Segments are percent-decoded after splitting, so that `%2F` never starts a new one, and compared decoded:
//! `/caf%C3%A9` and `/caf%c3%a9` are one path, as are `/new` and `/%6Eew` (RFC 3986, section 6.2.2). A parameter
//! matches exactly one segment that is not empty. `/a` and `/a/` are different paths.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::{Contract, Operation};

/// The operation for a request, with its path parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Match<'c> {
    /// The operation.
    pub operation: &'c Operation,
    /// Name and decoded value of each path parameter, from the left.
    pub path_params: Vec<(String, String)>,
}

/// The reason why a request has no operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No path matches.
    #[error("no such path")]
    NotFound,
    /// The path exists without this method.
    #[error("the path allows only {}", allow.join(", "))]
    MethodNotAllowed {
        /// The methods the contract has for this path, sorted. The caller adds OPTIONS, which it answers itself.
        allow: Vec<String>,
    },
    /// The path does not start with `/`, or its percent-encoding is broken or not UTF-8.
    #[error("the path is not valid")]
    BadPath,
}

impl Contract {
    /// Finds the operation for `method` (case-sensitive, as in HTTP) and the raw, percent-encoded `path` (no query).
    ///
    /// HEAD and OPTIONS get no special treatment: HEAD matches an operation with that method, and OPTIONS never
    /// matches, so that the caller answers it from [`RouteError::MethodNotAllowed`].
    ///
    /// # Errors
    /// See [`RouteError`]. A malformed path is an error even if a route would match.
    pub fn route(&self, method: &str, path: &str) -> Result<Match<'_>, RouteError> {
        let decoded = decode_segments(path)?;
        let best = self
            .operations
            .iter()
            .filter(|operation| matches(&operation.path, &decoded))
            // Vec<bool> orders by the first difference, false (literal) first.
            .min_by_key(|operation| segments(&operation.path).map(|s| parameter(s).is_some()).collect::<Vec<_>>())
            .ok_or(RouteError::NotFound)?;

        let mut same_path = self.operations.iter().filter(|operation| operation.path == best.path);
        let Some(operation) = same_path.clone().find(|operation| operation.method == method) else {
            let mut allow: Vec<_> = same_path.by_ref().map(|operation| operation.method.clone()).collect();
            allow.sort();
            return Err(RouteError::MethodNotAllowed { allow });
        };
        let path_params = segments(&operation.path)
            .zip(decoded)
            .filter_map(|(segment, value)| Some((parameter(segment)?.to_owned(), value.into_owned())))
            .collect();
        Ok(Match { operation, path_params })
    }
}

fn matches(template: &str, path: &[Cow<'_, str>]) -> bool {
    let mut path = path.iter();
    segments(template).all(|segment| {
        path.next().is_some_and(|decoded| match parameter(segment) {
            Some(_) => !decoded.is_empty(),
            None if segment.contains('%') => decode_segment(segment).as_ref() == Some(decoded),
            None => decoded == segment,
        })
    }) && path.next().is_none()
}

fn decode_segments(path: &str) -> Result<Vec<Cow<'_, str>>, RouteError> {
    let path = path.strip_prefix('/').ok_or(RouteError::BadPath)?;
    path.split('/').map(|segment| decode_segment(segment).ok_or(RouteError::BadPath)).collect()
}

/// Returns a segment without its percent-encoding; `None` if that is broken or not UTF-8.
pub fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    // `percent_decode_str` leaves a broken escape as it is; here it is an error.
    let well_formed = segment.split('%').skip(1).all(|after| {
        let digits = after.as_bytes();
        digits.len() >= 2 && digits.iter().take(2).all(u8::is_ascii_hexdigit)
    });
    if !well_formed {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok()
}

/// Returns the segments of a path of the contract, without the empty one before the leading `/`.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

/// Returns the name, if this segment of the contract is a parameter.
pub(crate) fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
