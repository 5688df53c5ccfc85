//! Handshakes: requests by which a provider checks an endpoint. They are answered, and nothing is enqueued.
//!
//! A handshake that the provider signs is answered after its signature was verified. Others are answered to anyone, but
//! only so often to one address, and never with something that could be a signature of a webhook
//! ([`sluicegate_webhook::Handshake::answer`]).

use std::borrow::Cow;

use http::StatusCode;
use sluicegate_contract::{Contract, Match, Operation, SecurityScheme};
use sluicegate_webhook::{Handshake, HandshakeAnswer, HandshakeError, Request, Scheme, Secret, SignatureError};

use crate::{
    answer::Answer,
    authenticate::{self, Authenticated},
    event::Arrival,
    published_keys::{KeyCache, Now},
    rejection::{Code, Rejection},
    route,
};

/// The method of webhooks. A provider checks the path of its webhooks, also with other methods.
const WEBHOOK_METHOD: &str = "POST";

/// A handshake that is not signed.
pub(crate) struct Unsigned<'c> {
    handshake: &'c Handshake,
    /// The name of the list of the values that the answer needs: the scheme's secrets, or its verify tokens.
    pub(crate) list: Option<Cow<'c, str>>,
}

/// Returns whether a provider of the contract sends unsigned handshakes. Otherwise no request is searched for them.
pub(crate) fn any_unsigned(contract: &Contract) -> bool {
    let mut schemes = contract.operations().iter().flat_map(|operation| signatures(contract, operation));
    schemes.any(|(_, scheme)| scheme.handshakes.iter().any(|handshake| !handshake.signed))
}

/// Returns the operation of the webhooks whose signed handshake a request is. Providers send some with GET, a method
/// that the operation does not have.
pub(crate) fn route<'c>(contract: &'c Contract, arrival: &Arrival) -> Option<Match<'c>> {
    let found = route::find_method(contract, arrival, WEBHOOK_METHOD).ok()?;
    let url = url(arrival);
    let received = request(arrival, &url);
    let is_handshake = signatures(contract, found.operation).any(|(_, scheme)| find(scheme, true, &received).is_some());
    is_handshake.then_some(found)
}

/// Returns the security schemes of an operation that are signatures, each with its scheme.
fn signatures<'c>(
    contract: &'c Contract,
    operation: &'c Operation,
) -> impl Iterator<Item = (&'c SecurityScheme, &'c Scheme)> {
    let requirements = operation.security.iter().flatten();
    requirements.filter_map(|requirement| match contract.scheme(&requirement.scheme)? {
        security @ SecurityScheme::Signature { scheme, .. } => Some((security, &**scheme)),
        _ => None,
    })
}

/// Returns the unsigned handshake that a request is. The body of a request with a signature is not parsed here: it is
/// a webhook.
pub(crate) fn unsigned<'c>(contract: &'c Contract, arrival: &Arrival) -> Option<Unsigned<'c>> {
    let operation = route::find_method(contract, arrival, WEBHOOK_METHOD).ok()?.operation;
    let url = url(arrival);
    let received = request(arrival, &url);
    signatures(contract, operation).find_map(|(security, scheme)| {
        let is_webhook = scheme.is_signed(&arrival.headers);
        let mut handshakes = scheme.handshakes.iter().filter(|handshake| !handshake.signed);
        let handshake =
            handshakes.find(|handshake| !(is_webhook && handshake.when.reads_body()) && handshake.is(&received))?;
        let list = match security {
            _ if handshake.token.is_some() => security.verify_tokens().map(Cow::Owned),
            SecurityScheme::Signature { secret, .. } if handshake.needs_secret() => Some(Cow::Borrowed(&**secret)),
            _ => None,
        };
        Some(Unsigned { handshake, list })
    })
}

impl Unsigned<'_> {
    /// Returns the answer.
    ///
    /// # Errors
    /// 400 for a value that no provider sends, 403 for a verify token that is not live, 503 without a secret to sign
    /// the answer with.
    pub(crate) fn answer(&self, arrival: &Arrival, secrets: &[Secret]) -> Result<Answer, Rejection> {
        let url = url(arrival);
        answer(self.handshake.answer(&request(arrival, &url), secrets))
    }
}

/// A handshake whose signature was verified.
pub(crate) struct Signed<'r> {
    request: &'r Authenticated<'r>,
    scheme: &'r Scheme,
    handshake: &'r Handshake,
}

/// Returns the signed handshake that a request is.
pub(crate) fn signed<'r>(request: &'r Authenticated<'r>) -> Option<Signed<'r>> {
    let scheme = request.scheme().filter(|scheme| !scheme.handshakes.is_empty())?;
    let arrival = request.routed().arrival();
    let url = url(arrival);
    let received = self::request(arrival, &url);
    let handshake = find(scheme, true, &received)?;
    Some(Signed { request, scheme, handshake })
}

impl Signed<'_> {
    /// Returns the URL that is visited to accept the handshake, if any.
    ///
    /// # Errors
    /// 400 for a URL that is not the provider's.
    pub(crate) fn visit(&self) -> Result<Option<String>, Rejection> {
        let arrival = self.request.routed().arrival();
        let url = url(arrival);
        let invalid = |error: SignatureError| Rejection::new(Code::ParameterInvalid, error.to_string());
        self.scheme.visit(self.handshake, &request(arrival, &url)).map_err(invalid)
    }

    /// Returns the answer.
    ///
    /// # Errors
    /// As for [`Unsigned::answer`].
    pub(crate) fn answer(&self) -> Result<Answer, Rejection> {
        let arrival = self.request.routed().arrival();
        let url = url(arrival);
        let secrets = self.request.secret().map(std::slice::from_ref).unwrap_or_default();
        answer(self.handshake.answer(&request(arrival, &url), secrets))
    }
}

/// Visits the URL that accepts a handshake. The log has no query, because that of SNS has a token.
///
/// # Errors
/// 503 if the provider does not answer with 200; it sends the handshake again.
pub(crate) async fn visit(keys: &KeyCache, url: &str, now: Now) -> Result<(), Rejection> {
    let place = url.split('?').next().unwrap_or_default();
    let failed = |error| authenticate::undecided(Code::KeyUnavailable, &format_args!("{place}: {error}"));
    keys.visit(url, now).await.map_err(failed)
}

fn find<'c>(scheme: &'c Scheme, signed: bool, request: &Request<'_>) -> Option<&'c Handshake> {
    scheme.handshakes.iter().filter(|handshake| handshake.signed == signed).find(|handshake| handshake.is(request))
}

/// Returns the path with the query: handshakes read no host.
fn url(arrival: &Arrival) -> String {
    format!("{}?{}", arrival.path, arrival.query)
}

fn request<'r>(arrival: &'r Arrival, url: &'r str) -> Request<'r> {
    Request::new(&arrival.headers, arrival.body.as_deref().unwrap_or_default()).at(&arrival.method, url)
}

fn answer(answer: Result<HandshakeAnswer, HandshakeError>) -> Result<Answer, Rejection> {
    match answer {
        Ok(HandshakeAnswer { status, headers, body }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let headers = headers.into_iter().map(|(name, value)| (Cow::Owned(name.as_str().to_owned()), value));
            Ok(Answer { status, headers: headers.collect(), body })
        }
        Err(error @ HandshakeError::Value) => Err(Rejection::new(Code::ParameterInvalid, error.to_string())),
        Err(HandshakeError::Token) => {
            let detail = "The verify token is not one of this route.";
            Err(Rejection::new(Code::VerifyTokenInvalid, detail))
        }
        Err(error @ HandshakeError::NoSecret) => Err(authenticate::undecided(Code::SecretsMissing, &error)),
    }
}
