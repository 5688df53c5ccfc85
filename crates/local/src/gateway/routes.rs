//! Route selection of an HTTP API: a full match, then a greedy `{proxy+}`, then `$default`.
//!
//! Among full matches a literal segment beats a `{parameter}`, from left to right, and a method beats `ANY`.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The routes and where each leads.
#[derive(Debug, Clone)]
pub(crate) struct RouteTable<T> {
    /// The most specific first; `$default` last.
    routes: Vec<(Pattern, T)>,
}

/// The route of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a, T> {
    /// The route's key, such as `POST /orders`.
    pub key: &'a str,
    /// The path's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Where it leads.
    pub target: &'a T,
}

#[derive(Debug, Clone)]
struct Pattern {
    key: String,
    /// `None` is ANY.
    method: Option<String>,
    /// `None` is `$default`.
    segments: Option<Vec<Segment>>,
}

/// In order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Parameter(String),
    Greedy(String),
}

impl<T> RouteTable<T> {
    /// `keys` as API Gateway writes them: `POST /orders`, `ANY /files/{proxy+}`, `$default`.
    pub(crate) fn new(keys: impl IntoIterator<Item = (String, T)>) -> Self {
        let mut routes: Vec<_> = keys.into_iter().map(|(key, target)| (Pattern::parse(key), target)).collect();
        routes.sort_by_key(|(pattern, _)| pattern.precedence());
        Self { routes }
    }

    /// The route for a decoded path.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<Found<'_, T>> {
        self.routes.iter().find_map(|(pattern, target)| {
            let parameters = pattern.matches(method, path)?;
            Some(Found { key: &pattern.key, parameters, target })
        })
    }
}

impl Pattern {
    fn parse(key: String) -> Self {
        let Some((method, path)) = key.split_once(' ') else { return Self { key, method: None, segments: None } };
        let method = (method != "ANY").then(|| method.to_owned());
        let segments = path.split('/').skip(1).map(|segment| {
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                // Requests are matched decoded.
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
        // Kinds only: which literal or name it is decides nothing.
        let kinds = self.segments.as_ref().map(|segments| {
            let kind = |segment: &Segment| match segment {
                Segment::Literal(_) => 0_u8,
                Segment::Parameter(_) => 1,
                Segment::Greedy(_) => 2,
            };
            segments.iter().map(kind).collect::<Vec<_>>()
        });
        let greedy = kinds.as_ref().is_some_and(|kinds| kinds.contains(&2));
        // Of two greedy routes the longer one is the closer match, so shorter kinds must not come first.
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
