//! The CORS protocol of web pages, by `x-cors` of the contract.
//!
//! The ingress answers preflight requests itself, so they are alike behind every service and on a laptop. A template
//! with `CorsConfiguration` would make API Gateway replace these headers.

use http::StatusCode;
use sluicegate_contract::{CORS_EXPOSED, Contract, Cors};

use crate::{answer::Answer, event::Arrival};

/// The origin of a request that a page of an allowed origin makes.
pub(crate) struct Caller {
    allow_origin: &'static str,
}

impl Caller {
    /// Returns the caller, if the contract allows its origin.
    pub(crate) fn of(contract: &'static Contract, arrival: &Arrival) -> Option<Self> {
        let allow_origin = contract.cors()?.allow_origin(arrival.header("origin")?)?;
        Some(Self { allow_origin })
    }

    /// Lets the page read the answer.
    pub(crate) fn admit(&self, answer: &mut Answer) {
        self.allow(answer);
        answer.headers.push(("access-control-expose-headers".into(), CORS_EXPOSED.to_owned()));
    }

    fn allow(&self, answer: &mut Answer) {
        answer.headers.push(("access-control-allow-origin".into(), self.allow_origin.to_owned()));
        answer.headers.push(("vary".into(), "origin".to_owned()));
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
    match Caller::of(contract, arrival) {
        Some(caller) => caller.allow(&mut answer),
        None => {
            answer.headers.push(("vary".into(), "origin".to_owned()));
            return Some(answer);
        }
    }
    answer.headers.push(("access-control-allow-methods".into(), methods.join(", ")));
    answer.headers.push(("access-control-allow-headers".into(), headers.join(", ")));
    answer.headers.push(("access-control-max-age".into(), max_age_s.to_string()));
    Some(answer)
}
