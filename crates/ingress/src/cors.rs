//! The CORS protocol of web pages, by `x-cors` of the contract.
//!
//! The ingress answers preflight requests itself, so they are alike behind every service and on a laptop. A template
//! with `CorsConfiguration` would make API Gateway replace these headers.

use http::StatusCode;
use sluicegate_contract::{CORS_EXPOSED, Contract, Cors};

use crate::{answer::Answer, event::Arrival};

/// A request to an API that web pages may call.
pub(crate) struct Caller {
    /// `Access-Control-Allow-Origin`, if the request is of a page of an allowed origin.
    allow_origin: Option<&'static str>,
}

impl Caller {
    /// Returns the caller, if the contract lets pages call.
    pub(crate) fn of(contract: &'static Contract, arrival: &Arrival) -> Option<Self> {
        let cors = contract.cors()?;
        Some(Self { allow_origin: arrival.header("origin").and_then(|origin| cors.allow_origin(origin)) })
    }

    /// Lets the page read the answer, if its origin is allowed.
    pub(crate) fn admit(&self, answer: &mut Answer) {
        if self.allow(answer) {
            answer.headers.push(("access-control-expose-headers".into(), CORS_EXPOSED.to_owned()));
        }
    }

    /// Adds the headers of every answer; returns whether the origin is allowed. The answer to a request without an
    /// origin differs from that of an allowed one as well, so each has `Vary` for caches.
    fn allow(&self, answer: &mut Answer) -> bool {
        answer.headers.push(("vary".into(), "origin".to_owned()));
        let Some(allow_origin) = self.allow_origin else { return false };
        answer.headers.push(("access-control-allow-origin".into(), allow_origin.to_owned()));
        true
    }
}

/// Answers a preflight request of any page; only an allowed origin gets permission.
pub(crate) fn preflight(contract: &'static Contract, arrival: &Arrival) -> Option<Answer> {
    let Cors { methods, headers, max_age_s, .. } = contract.cors()?;
    let is_preflight = arrival.method == "OPTIONS" && arrival.header("origin").is_some();
    if !is_preflight || arrival.header("access-control-request-method").is_none() {
        return None;
    }
    let mut answer = Answer { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: String::new() };
    if Caller::of(contract, arrival)?.allow(&mut answer) {
        answer.headers.push(("access-control-allow-methods".into(), methods.join(", ")));
        answer.headers.push(("access-control-allow-headers".into(), headers.join(", ")));
        answer.headers.push(("access-control-max-age".into(), max_age_s.to_string()));
    }
    Some(answer)
}
