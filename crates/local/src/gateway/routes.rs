//! Route selection of an HTTP API: a full match, then a greedy `{proxy+}`, then `$default`.
//!
//! Among full matches a literal segment takes precedence over a `{parameter}`, from left to right, and a method over
//! `ANY`.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The routes and their targets.
#[derive(Debug, Clone)]
pub(crate) struct RouteTable<T> {
    /// The most specific first; `$default` last.
    routes: Vec<(RoutePattern, T)>,
}

/// The route of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RouteMatch<'a, T> {
    /// The route's key, such as `POST /orders`.
    pub key: &'a str,
    /// The path's parameters.
    pub parameters: BTreeMap<String, String>,
    /// The route's target.
    pub target: &'a T,
}

#[derive(Debug, Clone)]
struct RoutePattern {
    key: String,
    /// The method; `None` is `ANY`.
    method: Option<String>,
    /// The path; `None` is `$default`.
    segments: Option<Vec<Segment>>,
}

/// Kinds of path segments, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Parameter(String),
    Greedy(String),
}

impl<T> RouteTable<T> {
    /// Creates a table from route keys: `POST /orders`, `ANY /files/{proxy+}`, `$default`.
    pub(crate) fn new(keys: impl IntoIterator<Item = (String, T)>) -> Self {
        let mut routes: Vec<_> = keys.into_iter().map(|(key, target)| (RoutePattern::parse(key), target)).collect();
        routes.sort_by_key(|(pattern, _)| pattern.precedence());
        Self { routes }
    }

    /// Returns the route for a decoded path.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<RouteMatch<'_, T>> {
        self.routes.iter().find_map(|(pattern, target)| {
            let parameters = pattern.matches(method, path)?;
            Some(RouteMatch { key: &pattern.key, parameters, target })
        })
    }
}

impl RoutePattern {
    fn parse(key: String) -> Self {
        let Some((method, path)) = key.split_once(' ') else { return Self { key, method: None, segments: None } };
        let method = (method != "ANY").then(|| method.to_owned());
        let segments = path.split('/').skip(1).map(|segment| {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                // Requests are matched after decoding.
                None => Segment::Literal(percent_decode_str(segment).decode_utf8_lossy().into_owned()),
                Some(name) => match name.strip_suffix('+') {
                    None => Segment::Parameter(name.to_owned()),
                    Some(name) => Segment::Greedy(name.to_owned()),
                },
            }
        });
        let segments = Some(segments.collect());
        Self { key, method, segments }
    }

    fn precedence(&self) -> impl Ord + use<> {
        // Precedence depends on the kinds of segments only, not on their texts.
        let kinds = self.segments.as_ref().map(|segments| {
            let kind = |segment: &Segment| match segment {
                Segment::Literal(_) => 0_u8,
                Segment::Parameter(_) => 1,
                Segment::Greedy(_) => 2,
            };
            segments.iter().map(kind).collect::<Vec<_>>()
        });
        let greedy = kinds.as_ref().is_some_and(|kinds| kinds.contains(&2));
        // The longer of two greedy routes is the closer match, so it comes first.
        let length = std::cmp::Reverse(kinds.as_ref().filter(|_| greedy).map_or(0, Vec::len));
        (self.segments.is_none(), greedy, length, kinds, self.method.is_none())
    }

    fn matches(&self, method: &str, path: &str) -> Option<BTreeMap<String, String>> {
        if self.method.as_ref().is_some_and(|own| own != method) {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let Some(segments) = &self.segments else { return Some(parameters) };
        let mut rest = path.strip_prefix('/');
        for segment in segments {
            let (head, tail) = match rest?.split_once('/') {
                Some((head, tail)) => (head, Some(tail)),
                None => (rest?, None),
            };
            match segment {
                Segment::Literal(literal) if literal == head => rest = tail,
                Segment::Parameter(name) if !head.is_empty() => {
                    parameters.insert(name.clone(), head.to_owned());
                    rest = tail;
                }
                Segment::Greedy(name) if rest != Some("") => {
                    parameters.insert(name.clone(), rest?.to_owned());
                    rest = None;
                }
                _ => return None,
            }
        }
        rest.is_none().then_some(parameters)
    }
}
