//! What the gateway has checked of the caller before it called ingress, from the event's `requestContext`.
//!
//! A client cannot write it, but only a gateway that is set up for it checks anything. So a route relies on it only if
//! the contract says so. An Application Load Balancer has no such context: its headers `x-amzn-oidc-…` and
//! `x-amzn-mtls-…` are those of the client where the listener does not set them, and are not read.
//!
//! | | HTTP API 2.0 | HTTP API 1.0 | REST API | Function URL |
//! |---|---|---|---|---|
//! | client certificate | `authentication.clientCert` | `identity.clientCert` | `identity.clientCert` | |
//! | IAM | `authorizer.iam` | `identity` | `identity` | `authorizer.iam` |
//! | token | `authorizer.jwt` | `authorizer.claims` | `authorizer.claims` (Cognito) | |
//! | Lambda authorizer | `authorizer.lambda` | `authorizer` | `authorizer` | |

use serde_json::{Value, value::RawValue};
use sluicegate_contract::GatewayIdentity;

/// The checked facts, by the form of the event. The authorizer's part is parsed only for a route that uses it.
#[derive(Clone, Debug)]
pub(crate) enum GatewayContext {
    /// Payload format 2.0.
    V2 {
        authorizer: Option<Box<RawValue>>,
        /// The subject of the client certificate.
        client: Option<String>,
    },
    /// Payload format 1.0 and REST APIs.
    V1 {
        authorizer: Option<Box<RawValue>>,
        /// The subject of the client certificate.
        client: Option<String>,
        user_arn: Option<String>,
    },
    /// A load balancer.
    None,
}

/// A caller that the gateway has checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Identity {
    /// `None`: there is none at the place that the contract says.
    pub(crate) principal: Option<String>,
    pub(crate) scopes: Vec<String>,
    /// The claims of the token, or the context of the Lambda authorizer.
    pub(crate) claims: Option<Value>,
}

impl Identity {
    /// Returns the identity of claims, whose principal is at this JSON pointer.
    fn of_claims(claims: Value, principal: &str) -> Self {
        let scopes = ["scope", "scp"].iter().filter_map(|name| claims.get(name)).flat_map(scopes).collect();
        let principal = claims.pointer(principal).and_then(Value::as_str).map(str::to_owned);
        Self { principal, scopes, claims: Some(claims) }
    }
}

impl GatewayContext {
    /// Returns the identity of this kind, with the principal at the JSON pointer `principal` of its claims; `None` if
    /// the gateway has not checked one.
    pub(crate) fn identity(&self, identity: GatewayIdentity, principal: &str) -> Option<Identity> {
        let named = |principal: &Option<String>| {
            let principal = principal.clone()?;
            Some(Identity { principal: Some(principal), scopes: Vec::new(), claims: None })
        };
        let document = |authorizer: &Option<Box<RawValue>>| -> Option<Value> {
            serde_json::from_str(authorizer.as_ref()?.get()).ok()
        };
        let claims = |claims: Option<Value>| {
            claims.filter(Value::is_object).map(|claims| Identity::of_claims(claims, principal))
        };
        match (self, identity) {
            (Self::None, _) => None,
            (Self::V1 { client, .. } | Self::V2 { client, .. }, GatewayIdentity::ClientCertificate) => named(client),
            (Self::V1 { user_arn, .. }, GatewayIdentity::Iam) => named(user_arn),
            (Self::V2 { authorizer, .. }, GatewayIdentity::Iam) => {
                let arn = document(authorizer)?.pointer("/iam/userArn")?.as_str()?.to_owned();
                named(&Some(arn))
            }
            (Self::V1 { authorizer, .. }, GatewayIdentity::Jwt) => {
                claims(document(authorizer)?.get_mut("claims").map(Value::take))
            }
            (Self::V2 { authorizer, .. }, GatewayIdentity::Jwt) => {
                claims(document(authorizer)?.pointer_mut("/jwt/claims").map(Value::take))
            }
            (Self::V1 { authorizer, .. }, GatewayIdentity::Lambda) => {
                // Claims are those of a token, which a Lambda authorizer has not checked.
                claims(document(authorizer).filter(|context| !context["claims"].is_object()))
            }
            (Self::V2 { authorizer, .. }, GatewayIdentity::Lambda) => {
                claims(document(authorizer)?.get_mut("lambda").map(Value::take))
            }
        }
    }
}

/// Returns the scopes of a claim. API Gateway makes texts of all claims: a list is `[a b]`.
fn scopes(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            bare.split_ascii_whitespace().map(str::to_owned).collect()
        }
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
