//! Which operation a request is for.
//!
//! The path decides first, the method second. Of the paths that fit, the most specific wins: segment by segment from
//! the left, a literal beats a parameter. So `POST /a/b` is a 405 when `/a/b` has only a GET, even if `/a/{x}` has a
//! POST: as in OpenAPI, a concrete path hides a templated one.
//!
//! Literal segments are compared as they arrive. A parameter takes exactly one segment that is not empty, and only its
//! value is percent-decoded, after splitting: `%2F` never starts a new segment. `/a` and `/a/` are different paths.

use percent_encoding::percent_decode_str;

use crate::{Contract, Operation};

/// The operation for a request, and what the path says.
#[derive(Debug, Clone, PartialEq)]
pub struct Match<'c> {
    /// The operation.
    pub operation: &'c Operation,
    /// Name and decoded value of each path parameter, from the left.
    pub path_params: Vec<(String, String)>,
}

/// Why no operation takes a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No path fits.
    #[error("no such path")]
    NotFound,
    /// The path exists without this method.
    #[error("the path takes only {}", allow.join(", "))]
    MethodNotAllowed {
        /// The methods the contract has for this path, sorted. An answer to OPTIONS adds OPTIONS itself.
        allow: Vec<String>,
    },
    /// The path does not start with `/`, or its percent-encoding is broken or not UTF-8.
    #[error("the path is not valid")]
    BadPath,
}

impl Contract {
    /// Finds the operation for `method` (case-sensitive, as in HTTP) and the raw, percent-encoded `path` (no query).
    ///
    /// HEAD and OPTIONS get no special treatment: HEAD is taken where the contract has it, and OPTIONS never is, so
    /// that the caller answers it from [`RouteError::MethodNotAllowed`].
    ///
    /// # Errors
    /// See [`RouteError`]. A bad path is bad whether or not a route fits.
    pub fn route(&self, method: &str, path: &str) -> Result<Match<'_>, RouteError> {
        let decoded = decode_segments(path)?;
        let raw = || path.split('/').skip(1);
        let best = self
            .operations
            .iter()
            .filter(|operation| fits(&operation.path, raw()))
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
            .filter_map(|(segment, value)| Some((parameter(segment)?.to_owned(), value)))
            .collect();
        Ok(Match { operation, path_params })
    }
}

fn fits<'p>(template: &str, mut path: impl Iterator<Item = &'p str>) -> bool {
    segments(template).all(|segment| {
        path.next().is_some_and(|raw| raw == segment || (parameter(segment).is_some() && !raw.is_empty()))
    }) && path.next().is_none()
}

fn decode_segments(path: &str) -> Result<Vec<String>, RouteError> {
    let path = path.strip_prefix('/').ok_or(RouteError::BadPath)?;
    path.split('/').map(|segment| decode(segment).ok_or(RouteError::BadPath)).collect()
}

fn decode(segment: &str) -> Option<String> {
    // `percent_decode_str` leaves a broken escape as it is; here it is an error.
    let well_formed = segment.split('%').skip(1).all(|after| {
        let digits = after.as_bytes();
        digits.len() >= 2 && digits.iter().take(2).all(u8::is_ascii_hexdigit)
    });
    if !well_formed {
        return None;
    }
    Some(percent_decode_str(segment).decode_utf8().ok()?.into_owned())
}

/// The segments of a path of the contract, without the one before the leading `/`.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

/// The name, if this segment of the contract is a parameter.
pub(crate) fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
