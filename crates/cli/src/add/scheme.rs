//! Ways to authenticate a request, and the text that each adds to a contract.
//!
//! The texts are those of the shipped contract.

use std::borrow::Cow;

use sluicegate_webhook::{Assurance, Provider};
use sluicegate_yaml::Node;

use super::names::pascal;
use crate::CommandError;

/// The authentication of a route's callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    /// A key in the header x-api-key, with scopes.
    ApiKey,
    /// A user name and a password: those of a key.
    Basic,
    /// A token of an issuer, which the ingress checks.
    Bearer,
    /// A token that API Gateway checks: the template needs the authorizer of infra/jwt-authorizer.yaml.
    Jwt,
    /// A signature of this provider of the catalog.
    Provider(&'static str),
    /// No authentication: every request is admitted.
    None,
}

/// A component of the contract: its name and its lines.
pub(crate) struct Component {
    /// The section of `components`.
    pub section: &'static str,
    pub name: Cow<'static, str>,
    pub lines: Cow<'static, str>,
}

/// The text that a way to authenticate adds to a contract.
pub(crate) struct Scheme {
    /// The security scheme, if the ingress checks one.
    pub security: Option<Component>,
    /// The `x-signature` by which an equivalent scheme of the contract is recognised; none for a key.
    pub signature: Option<&'static str>,
    /// The `scheme` of one of the type `http`; none for a key or a signature in a header.
    pub http: Option<&'static str>,
    /// Whether it has scopes.
    pub has_scopes: bool,
    /// Whether the project's own clients call the route, so that the project defines the payload's schema.
    pub is_own_client: bool,
    /// The parameters of the operation, as items of a YAML list.
    pub parameters: &'static str,
    /// A component that the parameters refer to.
    pub parameter: Option<Component>,
    /// The members of `x-sluicegate` besides queue, type and group.
    pub enqueue: &'static str,
}

impl Auth {
    /// Parses `api-key`, `basic`, `bearer`, `jwt`, `none` or the slug of a provider.
    pub(crate) fn parse(text: &str) -> Result<Self, CommandError> {
        match text {
            "api-key" => Ok(Self::ApiKey),
            "basic" => Ok(Self::Basic),
            "bearer" => Ok(Self::Bearer),
            "jwt" => Ok(Self::Jwt),
            "none" => Ok(Self::None),
            slug => match Provider::named(slug) {
                Some(provider) => Ok(Self::Provider(&provider.slug)),
                None => {
                    let similar = Provider::similar(slug);
                    let hint = similar.map(|known| format!("; did you mean {}?", known.slug)).unwrap_or_default();
                    let known = "api-key, basic, bearer, jwt, none or a provider of docs/schemes.md, such as stripe";
                    Err(format!("expected {known}{hint}").into())
                }
            },
        }
    }

    /// Returns the slugs of the providers.
    pub(crate) fn providers() -> impl Iterator<Item = &'static str> {
        Provider::all().iter().map(|provider| provider.slug.as_str())
    }

    /// Returns the event type of a provider's webhooks, as a template.
    pub(crate) fn event_type(self) -> Option<&'static str> {
        let Self::Provider(slug) = self else { return None };
        Provider::named(slug).map(|provider| provider.event_type.as_str())
    }

    /// Returns whether the provider sends forms, beside JSON.
    pub(crate) fn sends_forms(self) -> bool {
        let Self::Provider(slug) = self else { return false };
        let reads_form = |provider: &Provider| provider.event_type.contains("form.");
        Provider::named(slug).is_some_and(|provider| provider.scheme.signs_form() || reads_form(provider))
    }

    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Self::ApiKey => API_KEY,
            Self::Basic => BASIC,
            Self::Bearer => BEARER,
            Self::Jwt => JWT,
            Self::Provider("github") => GITHUB,
            Self::Provider("standard-webhooks") => STANDARD_WEBHOOKS,
            Self::Provider(slug) => Provider::named(slug).map_or(NONE, Scheme::of_provider),
            Self::None => NONE,
        }
    }
}

impl Scheme {
    /// Returns the scheme of a provider. Its event type and its idempotency key are known from its name.
    fn of_provider(provider: &'static Provider) -> Self {
        let Provider { slug, name: provider_name, docs, scheme, .. } = provider;
        let mut name = pascal(slug);
        name[..1].make_ascii_lowercase();
        let header = match scheme.signature.header.first() {
            "" => "x-signature".to_owned(),
            header => header.replacen("{n}", "1", 1),
        };
        let signature = match scheme.assurance {
            Assurance::Signed => slug.clone(),
            Assurance::Partial => format!("{{ scheme: {slug}, accept: partial }}"),
            Assurance::Token => format!("{{ scheme: {slug}, accept: token }}"),
        };
        // A token is for an audience that the user has set at the provider. No token is for this one.
        let signature = match scheme.clone().open_claim() {
            Some(_) => signature.replace(" }", ", audience: 'https://api.example.com/replace-this' }"),
            None => signature,
        };
        let lines = format!(
            "{name}:\n  type: apiKey\n  in: header\n  name: {header}\n  description: 'The signature of {provider_name}: \
             {docs}'\n  x-signature: {signature}\n  x-secret: {slug}\n"
        );
        let security = Component { section: "securitySchemes", name: name.into(), lines: lines.into() };
        Self { security: Some(security), signature: Some(slug), is_own_client: false, ..NONE }
    }

    /// Returns the name that an operation refers to: that of the contract's equivalent scheme, or else its own.
    /// A route without credentials at ingress has none.
    pub(crate) fn name_for(&self, root: &Node) -> Option<String> {
        let own = || self.security.as_ref().map(|security| security.name.clone().into_owned());
        self.name_in(root).map(str::to_owned).or_else(own)
    }

    /// Returns the name of the equivalent security scheme that the contract has.
    pub(crate) fn name_in<'n>(&self, root: &'n Node) -> Option<&'n str> {
        self.security.as_ref()?;
        let declared = root.get("components").and_then(|components| components.get("securitySchemes"));
        let is_same = |scheme: &Node| {
            let text = |name| scheme.get(name).and_then(Node::text);
            // What the gateway checks is another scheme.
            if scheme.get("x-authorizer").is_some() {
                return false;
            }
            match self.http {
                Some(_) => text("type") == Some("http") && text("scheme") == self.http,
                None => {
                    let signature = scheme.get("x-signature");
                    let slug = signature.and_then(|signature| signature.get("scheme").unwrap_or(signature).text());
                    (text("type"), text("in")) == (Some("apiKey"), Some("header")) && slug == self.signature
                }
            }
        };
        declared?.entries().find(|(_, scheme)| is_same(scheme)).map(|(name, _)| name)
    }
}

const API_KEY: Scheme = Scheme {
    security: Some(Component {
        section: "securitySchemes",
        name: Cow::Borrowed("apiKey"),
        lines: Cow::Borrowed(
            "\
apiKey:
  type: apiKey
  in: header
  name: x-api-key
  description: A key that was issued to you. It identifies you and has scopes.
  x-secret: api-keys
",
        ),
    }),
    signature: None,
    http: None,
    has_scopes: true,
    is_own_client: true,
    parameters: IDEMPOTENCY_KEY_PARAMETER,
    parameter: Some(IDEMPOTENCY_KEY),
    enqueue: IDEMPOTENCY,
};

const BASIC: Scheme = Scheme {
    security: Some(Component {
        section: "securitySchemes",
        name: Cow::Borrowed("basic"),
        lines: Cow::Borrowed(
            "\
basic:
  type: http
  scheme: basic
  description: A user name and a password that were issued to you.
  x-secret: api-keys
",
        ),
    }),
    http: Some("basic"),
    ..API_KEY
};

/// The issuer and the audience are those of the user's identity provider, which is unknown. No token is for these.
const BEARER: Scheme = Scheme {
    security: Some(Component {
        section: "securitySchemes",
        name: Cow::Borrowed("accessToken"),
        lines: Cow::Borrowed(
            "\
accessToken:
  type: http
  scheme: bearer
  bearerFormat: JWT
  description: An access token for this API.
  x-jwt:
    issuer: https://issuer.example.com/replace-this
    audience: https://api.example.com/replace-this
",
        ),
    }),
    http: Some("bearer"),
    ..API_KEY
};

const JWT: Scheme = Scheme { security: None, ..API_KEY };

const GITHUB: Scheme = Scheme {
    security: Some(Component {
        section: "securitySchemes",
        name: Cow::Borrowed("github"),
        lines: Cow::Borrowed(
            "\
github:
  type: apiKey
  in: header
  name: x-hub-signature-256
  description: '`sha256=` and the hexadecimal HMAC-SHA256 of the body under the webhook''s secret.'
  x-signature: github
  x-secret: github
",
        ),
    }),
    signature: Some("github"),
    http: None,
    has_scopes: false,
    is_own_client: false,
    parameters: "\
- name: X-GitHub-Event
  in: header
  required: true
  description: The kind of event.
  schema:
    type: string
    pattern: ^[a-z0-9_]{1,64}$
  example: push
- name: X-GitHub-Delivery
  in: header
  required: true
  description: Names the delivery; the idempotency key.
  schema:
    type: string
    pattern: ^[ -~]+$
    maxLength: 128
  example: 72d3162e-cc78-11e3-81ab-4c9367dc0958
",
    parameter: None,
    enqueue: "\
# GitHub sends more than the default of 256 KiB, and SQS takes 1 MiB with the envelope.
payloadBytes: 1000000
idempotency:
  key: '{header.x-github-delivery}'
  required: true
  fingerprint: none
",
};

const STANDARD_WEBHOOKS: Scheme = Scheme {
    security: Some(Component {
        section: "securitySchemes",
        name: Cow::Borrowed("standardWebhooks"),
        lines: Cow::Borrowed(
            "\
standardWebhooks:
  type: apiKey
  in: header
  name: webhook-signature
  description: One or more `v1,` signatures of `webhook-id.webhook-timestamp.body`, separated by spaces.
  x-signature: standard-webhooks
  x-secret: standard-webhooks
",
        ),
    }),
    signature: Some("standard-webhooks"),
    http: None,
    has_scopes: false,
    is_own_client: false,
    parameters: "\
- name: webhook-id
  in: header
  required: true
  description: Names the event; the idempotency key.
  schema:
    type: string
    pattern: ^[ -~]+$
    maxLength: 255
  example: msg_27UH4WbU6Z5A5EzD8u03UvzRbpk
- name: webhook-timestamp
  in: header
  required: true
  description: When this attempt was signed, in seconds since 1970. At most five minutes off.
  schema:
    type: string
    pattern: ^[0-9]{1,15}$
  example: '1649367553'
",
    parameter: None,
    enqueue: "\
idempotency:
  key: '{header.webhook-id}'
  required: true
  fingerprint: none
",
};

const NONE: Scheme = Scheme {
    security: None,
    signature: None,
    http: None,
    has_scopes: false,
    is_own_client: true,
    parameters: "",
    parameter: None,
    enqueue: "",
};

const IDEMPOTENCY_KEY_PARAMETER: &str = "- $ref: '#/components/parameters/IdempotencyKey'\n";

const IDEMPOTENCY_KEY: Component = Component {
    section: "parameters",
    name: Cow::Borrowed("IdempotencyKey"),
    lines: Cow::Borrowed(
        "\
IdempotencyKey:
  name: Idempotency-Key
  in: header
  required: true
  description: |
    A name of your choosing for this request, such as a UUID: 1 to 255 printable ASCII characters without space, comma
    and double quote. Repeat the request, byte for byte, with the same key until it is accepted. Use a new key for
    another request.
  schema:
    type: string
    pattern: '^[!#-+\\--~]+$'
    maxLength: 255
  example: 8e03978e-40d5-43dd-bc93-6894a57f9324
",
    ),
};

const IDEMPOTENCY: &str = "\
idempotency:
  key: '{header.idempotency-key}'
  required: true
";
