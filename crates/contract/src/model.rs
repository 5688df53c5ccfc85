//! A checked contract as plain data. The build of a function serialises it, and the function reads it at startup.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sluicegate_webhook::{AccessTokens, Scheme};

use crate::{ARCHIVE_QUEUE, BATCH_ITEMS_MAX, ContentCoding, Cors, DELAY_S_MAX, RateLimit, ValueSource, ValueTemplate};

/// A self-contained JSON Schema (2020-12) as JSON text: referenced schemas are bundled under `$defs`.
pub type SchemaText = String;

/// The description of an API for the ingress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    pub(crate) operations: Vec<Operation>,
    pub(crate) schemes: BTreeMap<String, SecurityScheme>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cors: Option<Cors>,
    /// Whether an operation has [`Enqueue::status`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) has_status: bool,
    /// Not serialised with the rest, because a starting function does not need it and would spend time parsing it.
    #[serde(skip)]
    pub(crate) public_document: Cow<'static, str>,
}

impl Contract {
    /// Returns the operations, in the order of the document.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Returns the security scheme a [`Requirement`] names; every name in [`Operation::security`] has one.
    #[must_use]
    pub fn scheme(&self, name: &str) -> Option<&SecurityScheme> {
        self.schemes.get(name)
    }

    /// Returns whether a scheme has values in the secret.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.schemes.values().any(|scheme| scheme.secret().is_some())
    }

    /// Returns which web pages may call the API, if any.
    #[must_use]
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// Returns the logical names of the queues that the operations send messages to.
    #[must_use]
    pub fn queues(&self) -> BTreeSet<&str> {
        self.operations.iter().flat_map(|operation| operation.enqueue.queues()).collect()
    }

    /// Returns the first operation that needs the DynamoDB table: for idempotency keys or a rate limit in a store, or
    /// for the status of its messages.
    #[must_use]
    pub fn first_with_store(&self) -> Option<&Operation> {
        let has_keys = |enqueue: &Enqueue| enqueue.idempotency.as_ref().is_some_and(|it| it.store.is_some());
        let needs_table = |enqueue: &Enqueue| has_keys(enqueue) || enqueue.has_shared_limit() || enqueue.status;
        self.operations.iter().find(|operation| needs_table(&operation.enqueue))
    }

    /// Returns whether the API has [`STATUS_PATH`](crate::STATUS_PATH): the messages of an operation have a status.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.has_status
    }

    /// Returns the first operation whose large payloads go to S3.
    #[must_use]
    pub fn first_with_large_payloads(&self) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.enqueue.large_payloads)
    }

    /// Returns the first operation whose messages are archived.
    #[must_use]
    pub fn first_archived(&self) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.enqueue.is_archived())
    }

    /// Returns the first operation that accepts a client certificate of mutual TLS.
    #[must_use]
    pub fn first_with_client_certificate(&self) -> Option<&Operation> {
        let is_certificate = |requirement: &Requirement| {
            let scheme = self.scheme(&requirement.scheme);
            matches!(scheme, Some(SecurityScheme::Gateway { identity: GatewayIdentity::ClientCertificate, .. }))
        };
        self.operations.iter().find(|operation| operation.security.iter().flatten().any(is_certificate))
    }

    /// Returns the same contract with this public document, which is not part of its serialised form.
    #[must_use]
    pub fn with_public_document(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.public_document = text.into();
        self
    }

    /// Returns the document as JSON text, without `x-sluicegate`, `x-secret`, `x-signature` and `x-authorizer`.
    #[must_use]
    pub fn public_document(&self) -> &str {
        &self.public_document
    }
}

/// One method on one path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The `operationId`, unique in the contract.
    pub id: String,
    /// Upper case: `POST`.
    pub method: String,
    /// As in the document: `/orders/{order_id}`. A parameter is a whole segment.
    pub path: String,
    /// Any one of these alternatives admits the request, if all of its requirements are met. Empty: public.
    pub security: Vec<Vec<Requirement>>,
    /// The parameters of the path item and the operation together.
    pub parameters: Vec<Parameter>,
    /// `None`: the operation declares no request body.
    pub body: Option<Body>,
    /// The destination of an admitted request.
    pub enqueue: Enqueue,
    /// The origins that may ask for permission to send CloudEvents here, in lower case; `*` is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhook_origins: Vec<String>,
}

impl Operation {
    /// Returns the path as a URI-reference (RFC 3986), with its parameters by name: `/orders/%7Border_id%7D`. It is the
    /// CloudEvents `source` of the operation's messages, regardless of the host, stage and parameters of a request.
    #[must_use]
    pub fn source(&self) -> Cow<'_, str> {
        // The only characters that a path of the contract may have and a URI may not.
        const ILLEGAL: &AsciiSet = &CONTROLS.add(b'{').add(b'}').add(b'[').add(b']');
        utf8_percent_encode(&self.path, ILLEGAL).into()
    }
}

/// A security scheme that must be satisfied, and the scopes the principal must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// Name of a [`SecurityScheme`]; see [`Contract::scheme`].
    pub scheme: String,
    /// All of them are needed. Always empty for a signature, a client certificate and IAM.
    pub scopes: Vec<String>,
}

/// The name of a provider whose scheme the contract itself describes.
pub const CUSTOM: &str = "custom";

/// The authentication method of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityScheme {
    /// A key that is sent as it is.
    ApiKey {
        /// Where the key is.
        place: KeyPlace,
        /// The name there; lower case for a header.
        name: String,
        /// Logical name of the secret that lists the live keys.
        secret: String,
    },
    /// The user name and password of HTTP Basic (RFC 7617): the principal of a key, and the key.
    Basic {
        /// Logical name of the secret that lists the live keys.
        secret: String,
    },
    /// A JSON Web Token of an issuer, in `Authorization: Bearer`.
    Token {
        /// The accepted tokens.
        tokens: Box<AccessTokens>,
    },
    /// An identity that the gateway has checked, from the event's `requestContext`.
    Gateway {
        /// What the gateway has checked.
        identity: GatewayIdentity,
        /// The JSON pointer of the principal in the claims; not used for a client certificate and IAM.
        principal: String,
    },
    /// A signature over the exact body.
    Signature {
        /// Lower-case name of the signature's header, one of those the scheme reads.
        header: String,
        /// The provider's slug in the catalog of `sluicegate-webhook`, or [`CUSTOM`].
        provider: String,
        /// How the provider signs.
        scheme: Box<Scheme>,
        /// Logical name of the secret that lists the live signing secrets.
        secret: String,
    },
}

/// Where an API key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPlace {
    /// A header.
    Header,
    /// A parameter of the query.
    Query,
    /// A cookie.
    Cookie,
}

/// What a gateway has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayIdentity {
    /// A client certificate of mutual TLS: the principal is its subject.
    ClientCertificate,
    /// An AWS signature (SigV4): the principal is the ARN of the user or role.
    Iam,
    /// The claims of a token, checked by a JWT authorizer, or by a Cognito authorizer of a REST API.
    Jwt,
    /// The context that a Lambda authorizer returned.
    Lambda,
}

impl GatewayIdentity {
    /// Returns whether it has claims.
    #[must_use]
    pub fn has_claims(self) -> bool {
        matches!(self, Self::Jwt | Self::Lambda)
    }
}

impl SecurityScheme {
    /// Returns the logical name of the secret's list; `None` for a scheme without one.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::ApiKey { secret, .. } | Self::Basic { secret } | Self::Signature { secret, .. } => Some(secret),
            Self::Token { .. } | Self::Gateway { .. } => None,
        }
    }

    /// Returns whether a caller has claims.
    #[must_use]
    pub fn has_claims(&self) -> bool {
        match self {
            Self::Token { .. } => true,
            Self::Gateway { identity, .. } => identity.has_claims(),
            Self::ApiKey { .. } | Self::Basic { .. } | Self::Signature { .. } => false,
        }
    }

    /// Returns the logical name of the secret that lists the live verify tokens, for a provider whose handshake has
    /// one. It is another list than that of the signing secrets: the token is part of a URL, and must not be able to
    /// sign a webhook.
    #[must_use]
    pub fn verify_tokens(&self) -> Option<String> {
        let Self::Signature { scheme, secret, .. } = self else { return None };
        let has_token = scheme.handshakes.iter().any(|handshake| handshake.token.is_some());
        has_token.then(|| format!("{secret}-verify-token"))
    }
}

/// A value of the request outside its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Lower case for a header, as written otherwise.
    pub name: String,
    /// Where the parameter is.
    pub location: Location,
    /// Always true for a path parameter.
    pub required: bool,
    /// For one value, never a list or an object. `None`: any text.
    pub schema: Option<SchemaText>,
}

/// Where a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Location {
    /// A segment of the path.
    Path,
    /// The query string.
    Query,
    /// A header field.
    Header,
}

/// The request body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Whether a request without a body is refused.
    pub required: bool,
    /// The accepted media types (lower case, no parameters, never a range), each with the schema of its payload; of a
    /// batch, that of one item.
    pub content: Vec<(String, BodySchema)>,
    /// The accepted content codings besides `identity`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_codings: Vec<ContentCoding>,
    /// Whether JSON bodies are arrays of payloads; see [`Body::mode`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_batch: bool,
    /// Whether the attributes of a CloudEvent are in the headers; see [`Body::mode`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_binary_events: bool,
    /// The fewest and the most items of a batch.
    #[serde(default = "any_items", skip_serializing_if = "is_any_items")]
    pub items: (usize, usize),
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn any_items() -> (usize, usize) {
    (0, BATCH_ITEMS_MAX)
}

fn is_any_items(items: &(usize, usize)) -> bool {
    *items == any_items()
}

/// The constraint on a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodySchema {
    /// Any payload; for a JSON media type, any JSON. There is no schema, or one that every value matches.
    Any,
    /// Any JSON object: the schema is `type: object`, with nothing but descriptions beside it.
    Object,
    /// JSON that matches this schema.
    Schema(SchemaText),
}

/// The content of `x-sluicegate`: the queue of an admitted request, and its delivery options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enqueue {
    /// Logical name of the queue, bound to a broker by `QUEUE_<NAME>` at deploy time. It gets each message that no
    /// condition sends to another queue.
    pub queue: String,
    /// Conditions that choose another queue, in order. The first that holds counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue_conditions: Vec<QueueCondition>,
    /// Logical names of further queues, each of which gets every message too. Empty for a route that may take a batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    /// The CloudEvents `type`.
    pub event_type: ValueTemplate,
    /// The CloudEvents `subject`.
    pub subject: Option<ValueTemplate>,
    /// FIFO message group, fair-queue tenant, or routing key suffix.
    pub group: Option<ValueTemplate>,
    /// How repeats of a request are recognized.
    pub idempotency: Option<Idempotency>,
    /// How many requests are admitted. Each limit counts by another identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Seconds until the message is delivered, at most [`DELAY_S_MAX`].
    pub delay_s: u16,
    /// The lower-case name of the header that gives the seconds, in place of `delay_s`. A request without the header
    /// has no delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_header: Option<String>,
    /// The largest payload admitted, in bytes.
    pub payload_bytes_max: usize,
    /// Whether a message that is larger than its SQS queue accepts goes to S3, with a pointer to it on the queue.
    #[serde(default, skip_serializing_if = "is_false")]
    pub large_payloads: bool,
    /// Whether the sender of a message can ask for its status, at [`STATUS_PATH`](crate::STATUS_PATH). Every caller of
    /// such a route is a principal, and a request is one message for one queue.
    #[serde(default, skip_serializing_if = "is_false")]
    pub status: bool,
}

impl Enqueue {
    /// Returns the logical names of the queues that a message may go to, that of most messages first.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        let others = self.queue_conditions.iter().map(|condition| condition.queue.as_str());
        std::iter::once(self.queue.as_str()).chain(others).chain(self.copies.iter().map(String::as_str))
    }

    /// Returns the longest delay that a message may have, in seconds.
    #[must_use]
    pub fn delay_s_max(&self) -> u16 {
        if self.delay_header.is_some() { DELAY_S_MAX } else { self.delay_s }
    }

    /// Returns whether every message goes to the archive too.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.copies.iter().any(|copy| copy == ARCHIVE_QUEUE)
    }

    /// Returns whether all environments count a rate limit together.
    #[must_use]
    pub fn has_shared_limit(&self) -> bool {
        self.rate_limits.iter().any(|limit| limit.store.is_some())
    }

    /// Returns every template.
    pub fn templates(&self) -> impl Iterator<Item = &ValueTemplate> {
        let key = self.idempotency.as_ref().map(|idempotency| &idempotency.key);
        let conditions = self.queue_conditions.iter().map(|condition| &condition.when);
        [Some(&self.event_type), self.subject.as_ref(), self.group.as_ref(), key]
            .into_iter()
            .flatten()
            .chain(conditions)
    }

    /// Returns the JSON pointers of the values that templates take from a JSON body.
    pub fn body_pointers(&self) -> impl Iterator<Item = &str> {
        self.templates().flat_map(ValueTemplate::sources).filter_map(|source| match source {
            ValueSource::Body(pointer) => Some(pointer.as_str()),
            _ => None,
        })
    }
}

/// A queue for the messages with one of these values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueCondition {
    /// Logical name of the queue.
    pub queue: String,
    /// The value of the request. A request that lacks it does not fit the condition.
    pub when: ValueTemplate,
    /// The values that fit, compared exactly.
    pub values: Vec<String>,
}

/// How repeats of a request are recognized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key. The same key from the same principal gives the same message id, unless `fingerprint` is set and the
    /// requests differ.
    pub key: ValueTemplate,
    /// Whether another payload, or another value of a template or parameter, under the same key gives another message
    /// id: the idempotency fingerprint (draft-ietf-httpapi-idempotency-key-header-07, section 2.4). False where the
    /// sender of a webhook chooses the key, because its retries may differ in their bytes.
    pub fingerprint: bool,
    /// Whether a request without the key is refused.
    pub required: bool,
    /// The store that answers repeats; without one, a repeat is a message with the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<IdempotencyStore>,
}

impl Idempotency {
    /// Returns the lower-case name of the header whose value is the key; `None` if the key has any other part.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self.key.as_source()? {
            ValueSource::Header(name) => Some(name),
            _ => None,
        }
    }
}

/// The store of a route's idempotency keys, a DynamoDB table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyStore {
    /// How long a key is remembered, 1 to [`IDEMPOTENCY_TTL_DAYS_MAX`](crate::IDEMPOTENCY_TTL_DAYS_MAX).
    pub ttl_days: u16,
    /// What happens to a request while the store does not answer.
    pub on_failure: OnStoreFailure,
}

/// What happens to a request while a store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStoreFailure {
    /// It is refused.
    Closed,
    /// It is admitted as without a store.
    Open,
}

/// Returns whether payloads of this media type (lower case, no parameters) are JSON: `application/json`, or a
/// type with the suffix `+json`.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}
