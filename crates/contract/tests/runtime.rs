//! Tests of what the ingress relies on at run time: routing, rendering, self-contained schemas, the public document.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::borrow::Cow;

use serde_json::Value;
use sluicegate_contract::{
    BodySchema, Contract, Drift, IdempotencyStore, OnStoreFailure, RouteError, SecurityScheme, ValueSource,
    ValueTemplate,
};
use sluicegate_webhook::{IssuerKeys, TokenAlgorithm};

/// A contract with these operations (`METHOD /path`), each named by its own line.
fn contract(operations: &[&str]) -> Contract {
    let mut paths: Vec<(&str, String)> = Vec::new();
    for line in operations {
        let (method, path) = line.split_once(' ').unwrap();
        let parameters: Vec<_> = path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(|name| format!("{{ name: {name}, in: path, required: true }}"))
            .collect();
        let operation = format!(
            "    {}: {{ operationId: '{line}', security: [], parameters: [{}], x-sluicegate: {{ queue: q, type: t }} }}\n",
            method.to_lowercase(),
            parameters.join(", ")
        );
        match paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, item)) => item.push_str(&operation),
            None => paths.push((path, operation)),
        }
    }
    let paths: String = paths.iter().map(|(path, item)| format!("  '{path}':\n{item}")).collect();
    let yaml = format!("openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n{paths}");
    Contract::parse("routes.yaml", &yaml).unwrap()
}

/// A line of the vectors: `METHOD path` and the expected result.
#[derive(serde::Deserialize)]
struct Case {
    request: String,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    params: Vec<(String, String)>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(serde::Deserialize)]
struct Vectors {
    operations: Vec<String>,
    cases: Vec<Case>,
}

#[test]
fn every_queue_of_a_route_is_one_of_the_contract() {
    let yaml = "openapi: 3.1.0
info: { title: t, version: v }
paths:
  /a:
    post:
      operationId: a
      security: []
      x-sluicegate:
        queue:
          - { queue: urgent, when: '{header.X-Priority}', is: [high, now] }
          - { queue: eu, when: '{query.region}', is: eu }
          - rest
        type: t
        delay: '{header.X-Delay}'
  /b: { post: { operationId: b, security: [], x-sluicegate: { queue: [only], type: t, delay: 5s } } }
";
    let contract = Contract::parse("a.yaml", yaml).unwrap();
    assert_eq!(contract.queues().into_iter().collect::<Vec<_>>(), ["eu", "only", "rest", "urgent"]);
    let [a, b] = contract.operations() else { panic!("{contract:?}") };
    assert_eq!(a.enqueue.queues().collect::<Vec<_>>(), ["rest", "urgent", "eu"]);
    assert_eq!((a.enqueue.delay_header.as_deref(), a.enqueue.delay_s_max()), (Some("x-delay"), 900));
    assert_eq!((b.enqueue.delay_header.as_deref(), b.enqueue.delay_s_max()), (None, 5));
    assert_eq!(a.enqueue.queue_conditions[0].values, ["high", "now"]);
    // As the function embeds it.
    let embedded = serde_json::to_string(&contract).unwrap();
    let read: Contract = serde_json::from_str(&embedded).unwrap();
    assert_eq!(read.operations(), contract.operations());
    assert!(!serde_json::to_string(&b.enqueue).unwrap().contains("queue_conditions"));
}

#[test]
fn requests_are_routed_as_the_vectors_say() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../../tests/vectors/contract-routes.json")).unwrap();
    let operations: Vec<_> = vectors.operations.iter().map(String::as_str).collect();
    let contract = contract(&operations);
    for case in vectors.cases {
        let (method, path) = case.request.split_once(' ').unwrap();
        let found = contract.route(method, path);
        match (&found, &case.error) {
            (Ok(found), None) => {
                assert_eq!(Some(&found.operation.id), case.operation.as_ref(), "{}", case.request);
                assert_eq!(found.path_params, case.params, "{}", case.request);
            }
            (Err(RouteError::MethodNotAllowed { allow }), None) => assert_eq!(allow, &case.allow, "{}", case.request),
            (Err(RouteError::NotFound), Some(error)) => assert_eq!(error, "not found", "{}", case.request),
            (Err(RouteError::BadPath), Some(error)) => assert_eq!(error, "bad path", "{}", case.request),
            _ => panic!("{}: {found:?}", case.request),
        }
    }
}

#[test]
fn the_order_of_the_document_does_not_decide_a_route() {
    let operations = ["POST /a/{x}/c", "POST /a/b/{y}", "POST /{z}/b/c"];
    for first in 0..operations.len() {
        let mut operations = operations;
        operations.rotate_left(first);
        assert_eq!(contract(&operations).route("POST", "/a/b/c").unwrap().operation.id, "POST /a/b/{y}");
    }
}

#[test]
fn templates_render_or_name_the_missing_value() {
    let lookup = |source: &ValueSource| match source {
        ValueSource::Header(name) if name == "x-github-event" => Some(Cow::Borrowed("push")),
        ValueSource::Path(name) if name == "id" => Some(Cow::Borrowed("a/b {x}")),
        ValueSource::Query(name) if name == "page" => Some(Cow::Borrowed("")),
        ValueSource::Body(pointer) if pointer == "/order/a~1b" => Some(Cow::Owned(7.to_string())),
        ValueSource::Form { name, pointer: None } if name == "Sms.Status" => Some(Cow::Borrowed("sent")),
        ValueSource::Form { name, pointer: Some(at) } if name == "payload" && at == "/type" => Some("click".into()),
        _ => None,
    };
    let check = |template: &str, expected: Result<&str, &str>| {
        let template: ValueTemplate = template.parse().unwrap();
        let rendered = template.render(lookup).map_err(|missing| missing.to_string());
        assert_eq!(rendered, expected.map(str::to_owned).map_err(str::to_owned), "{template}");
        let json = serde_json::to_string(&template).unwrap();
        assert_eq!(serde_json::from_str::<ValueTemplate>(&json).unwrap(), template, "the text determines the template");
    };
    check("order.placed", Ok("order.placed"));
    check("github.{header.X-GitHub-Event}", Ok("github.push"));
    check("{path.id}", Ok("a/b {x}"));
    check("<{query.page}>{body#/order/a~1b}", Ok("<>7"));
    check("é{header.x-github-event}é", Ok("épushé"));
    check("{form.Sms.Status}-{form.payload#/type}", Ok("sent-click"));
    check("{header.x-none |form.command|  form.payload#/type | path.id}", Ok("click"));
    check("{header.x-none}", Err("the request has no header.x-none"));
    check("{form.payload# | form.x}", Err("the request has no form.payload#"));
    check("{body#}", Err("the request has no body#"));
}

#[test]
fn a_bundled_schema_stands_alone_even_if_it_contains_itself() {
    let yaml = r"
openapi: 3.1.0
info: { title: t, version: v }
security: []
paths:
  /trees:
    post:
      operationId: plant
      requestBody:
        content:
          application/json: { schema: { $ref: '#/components/schemas/Tree' } }
          application/vnd.forest+json: { schema: { type: array, items: { $ref: '#/components/schemas/Tree' } } }
          text/csv: {}
      x-sluicegate: { queue: q, type: t, payloadBytes: 6291456, delay: 900s }
components:
  schemas:
    Tree:
      type: object
      required: [leaf]
      properties:
        leaf: { $ref: '#/components/schemas/Leaf/$defs/Green' }
        branches: { type: array, items: { $ref: '#/components/schemas/Tree' } }
    Leaf:
      $defs: { Green: { enum: [green, { $ref: data }], description: Not needed to validate } }
";
    let contract = Contract::parse("trees.yaml", yaml).unwrap();
    let operation = contract.route("POST", "/trees").unwrap().operation;
    assert!(operation.security.is_empty());
    assert_eq!((operation.enqueue.delay_s, operation.enqueue.payload_bytes_max), (900, 6_291_456));
    let content = &operation.body.as_ref().unwrap().content;
    let check = |index: usize, payload: &str, expected: bool| {
        let BodySchema::Schema(text) = &content[index].1 else { panic!("{content:?}") };
        let schema: Value = serde_json::from_str(text).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        assert_eq!(validator.is_valid(&serde_json::from_str(payload).unwrap()), expected, "{schema} {payload}");
    };
    check(0, r#"{"leaf":"green","branches":[{"leaf":"green","branches":[{"leaf":{"$ref":"data"}}]}]}"#, true);
    check(0, r#"{"leaf":"green","branches":[{"leaf":"green","branches":[{"leaf":"red"}]}]}"#, false);
    check(1, r#"[{"leaf":"green","branches":[{"leaf":"green"}]}]"#, true);
    check(1, r#"[{"leaf":"green","branches":[{}]}]"#, false);
    assert_eq!(content[2], ("text/csv".to_owned(), BodySchema::Any));
    assert!(!format!("{:?}", content[0]).contains("description"));
}

#[test]
fn the_public_document_is_the_same_document_without_our_extensions() {
    let yaml = r##"
openapi: 3.1.0
info: { title: t, version: v, x-logo: kept }
security: [{ key: [] }]
paths:
  /a:
    post:
      operationId: a
      requestBody:
        content:
          application/json:
            schema: { type: object, properties: { x-signature: { x-secret: gone, type: string } } }
            example: { x-secret: kept }
      responses: { 202: { description: d, headers: { x-signature: { schema: { x-secret: gone } } } } }
      x-sluicegate: { queue: q, type: t }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: x-hub-signature-256, x-secret: gone, x-signature: github }
"##;
    let contract = Contract::parse("a.yaml", yaml).unwrap();
    let public = r#"{"openapi":"3.1.0","info":{"title":"t","version":"v","x-logo":"kept"},"security":[{"key":[]}],
        "paths":{"/a":{"post":{"operationId":"a","requestBody":{"content":{"application/json":{
        "schema":{"type":"object","properties":{"x-signature":{"type":"string"}}},"example":{"x-secret":"kept"}}}},
        "responses":{"202":{"description":"d","headers":{"x-signature":{"schema":{}}}}}}}},
        "components":{"securitySchemes":{"key":{"type":"apiKey","in":"header","name":"x-hub-signature-256"}}}}"#;
    let public: String = public.lines().map(str::trim_start).collect();
    assert_eq!(contract.public_document(), public);
}

/// A contract with one webhook route: its scheme, its request body and the rest of its `x-sluicegate`.
fn webhook(header: &str, signature: &str, media_type: &str, enqueue: &str) -> Result<Contract, String> {
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /hook:\n    post:\n      operationId: hook\n      \
         security: [{{ s: [] }}]\n      requestBody: {{ content: {{ {media_type}: {{}} }} }}\n      \
         x-sluicegate: {{ queue: q{enqueue} }}\ncomponents:\n  securitySchemes:\n    \
         s: {{ type: apiKey, in: header, name: {header}, x-secret: s, x-signature: {signature} }}\n"
    );
    Contract::parse("hook.yaml", &yaml).map_err(|faults| faults.to_string())
}

#[test]
fn a_provider_brings_its_type_and_its_key() {
    let check = |header: &str, signature: &str, enqueue: &str, event_type: &str, key: Option<(&str, bool)>| {
        let contract = webhook(header, signature, "application/json", enqueue).unwrap();
        let enqueue = &contract.operations()[0].enqueue;
        assert_eq!(enqueue.event_type.to_string(), event_type, "{signature}");
        let found = enqueue.idempotency.as_ref().map(|found| (found.key.to_string(), found.fingerprint));
        assert_eq!(found, key.map(|(key, fingerprint)| (key.to_owned(), fingerprint)), "{signature}");
    };
    check("stripe-signature", "stripe", "", "stripe.{body#/type}", Some(("{body#/id}", false)));
    let github = Some(("{header.x-github-delivery}", false));
    check("x-hub-signature-256", "github", "", "github.{header.x-github-event}", github);
    check("x-hub-signature-256", "github", ", type: mine", "mine", github);
    let own = ", idempotency: { key: '{body#/mine}' }";
    check("stripe-signature", "stripe", own, "stripe.{body#/type}", Some(("{body#/mine}", true)));
    check("x-dropbox-signature", "dropbox", "", "dropbox.changed", None);
    let paddle = "{ scheme: paddle, pastSeconds: 60 }";
    check("paddle-signature", paddle, "", "paddle.{body#/event_type}", Some(("{body#/event_id}", false)));

    let custom = "{ signature: { header: x-acme } }";
    let fault = webhook("x-acme", custom, "application/json", "").unwrap_err();
    assert!(fault.contains("/x-sluicegate/type: is missing"), "{fault}");
    let form = "application/x-www-form-urlencoded";
    let fault = webhook("stripe-signature", "stripe", form, "").unwrap_err();
    assert!(fault.contains("the type of stripe, stripe.{body#/type}, has no value in every requestBody"), "{fault}");
    let stripe = webhook("stripe-signature", "stripe", form, ", type: stripe.form").unwrap();
    assert_eq!(stripe.operations()[0].enqueue.idempotency, None);
    let slack = webhook("x-slack-signature", "slack", form, "").unwrap();
    assert!(slack.operations()[0].enqueue.idempotency.is_some());
}

#[test]
fn a_store_has_days_and_a_failure_rule() {
    let check = |idempotency: &str, key: &str, fingerprint: bool, ttl_days: u16, on_failure: OnStoreFailure| {
        let enqueue = format!(", idempotency: {{ {idempotency} }}");
        let contract = webhook("stripe-signature", "stripe", "application/json", &enqueue).unwrap();
        // What the build embeds is what the ingress reads.
        let embedded: Contract = serde_json::from_str(&serde_json::to_string(&contract).unwrap()).unwrap();
        let found = embedded.first_with_store().unwrap().enqueue.idempotency.clone().unwrap();
        assert_eq!((found.key.to_string().as_str(), found.fingerprint), (key, fingerprint), "{idempotency}");
        assert_eq!(found.store, Some(IdempotencyStore { ttl_days, on_failure }), "{idempotency}");
    };
    // Without a key, it is the provider's, which alone names the message.
    check("store: dynamodb", "{body#/id}", false, 7, OnStoreFailure::Closed);
    check("store: dynamodb, fingerprint: payload", "{body#/id}", true, 7, OnStoreFailure::Closed);
    let own = "key: '{body#/mine}', store: dynamodb, ttlDays: 365, onStoreFailure: open";
    check(own, "{body#/mine}", true, 365, OnStoreFailure::Open);
    let without = webhook("stripe-signature", "stripe", "application/json", "").unwrap();
    assert_eq!(without.first_with_store(), None);
    assert!(!serde_json::to_string(&without).unwrap().contains("store"), "a contract without a store is as before");
}

#[test]
fn a_route_has_one_limit_or_several() {
    let check = |rate_limit: &str, expected: &[(u32, u32, &str)]| {
        let contract = webhook("stripe-signature", "stripe", "application/json", rate_limit).unwrap();
        // What the build embeds is what the ingress reads.
        let embedded = serde_json::to_string(&contract).unwrap();
        assert_eq!(embedded.contains("rate_limits"), !expected.is_empty(), "{embedded}");
        let read: Contract = serde_json::from_str(&embedded).unwrap();
        let limits = &read.operations()[0].enqueue.rate_limits;
        let found: Vec<_> = limits.iter().map(|limit| (limit.limit, limit.window_s, limit.by.name())).collect();
        assert_eq!(found, expected, "{rate_limit}");
    };
    check("", &[]);
    check(", rateLimit: { limit: 5, window: 1m, by: principal }", &[(5, 60, "principal")]);
    check(", rateLimit: [{ limit: 5, window: 1m, by: address }]", &[(5, 60, "address")]);
    let three = "{ limit: 9, window: 1s, by: route }, { limit: 5, window: 1m, by: principal }, \
                 { limit: 1000000, window: 24h, by: address }";
    let expected = [(9, 1, "route"), (5, 60, "principal"), (1_000_000, 86_400, "address")];
    check(&format!(", rateLimit: [{three}]"), &expected);

    let stored = |settings: &str| {
        let yaml = format!(", rateLimit: [{{ limit: 5, window: 1m, by: route{settings} }}]");
        webhook("stripe-signature", "stripe", "application/json", &yaml).unwrap()
    };
    for (settings, store) in [
        ("", None),
        (", store: dynamodb", Some(OnStoreFailure::Closed)),
        (", store: dynamodb, onStoreFailure: closed", Some(OnStoreFailure::Closed)),
        (", store: dynamodb, onStoreFailure: open", Some(OnStoreFailure::Open)),
    ] {
        let read: Contract = serde_json::from_str(&serde_json::to_string(&stored(settings)).unwrap()).unwrap();
        assert_eq!(read.operations()[0].enqueue.rate_limits[0].store, store, "{settings}");
        assert_eq!(read.first_with_store().is_some(), store.is_some(), "{settings}");
    }
}

#[test]
fn the_archive_gets_a_copy_of_every_message() {
    let with = |members: &str| {
        let yaml = format!(
            "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /a:\n    post:\n      operationId: a\n      \
             security: [{{ key: [] }}]\n      x-sluicegate: {{ queue: q, type: t, idempotency: {{ key: '{{header.k}}' }}{members} \
             }}\ncomponents: {{ securitySchemes: {{ key: {{ type: apiKey, in: header, name: k, x-secret: keys }} }} }}\n"
        );
        Contract::parse("a.yaml", &yaml).unwrap()
    };
    for (members, queues) in [
        ("", &["q"][..]),
        (", archive: false", &["q"]),
        (", archive: true", &["q", "archive"]),
        (", archive: true, copyTo: [audit]", &["q", "audit", "archive"]),
        (", archive: true, status: true", &["q", "archive"]),
        (", archive: true, batch: true", &["q", "archive"]),
    ] {
        let contract = with(members);
        let enqueue = &contract.operations()[0].enqueue;
        assert_eq!(enqueue.queues().collect::<Vec<_>>(), queues, "{members}");
        assert_eq!(contract.first_archived().is_some(), queues.contains(&"archive"), "{members}");
    }
}

#[test]
fn a_contract_with_a_status_has_its_path() {
    let with = |status: &str| {
        let yaml = format!(
            "openapi: 3.1.0\ninfo: {{ title: t, version: v, x-example: {{ paths: {{}} }} }}\npaths:\n  /a:\n    post:\n      \
             operationId: a\n      security: [{{ key: [w] }}, {{ key: [x] }}]\n      \
             x-sluicegate: {{ queue: q, type: t{status} }}\n  /b:\n    post:\n      operationId: b\n      security: \
             [{{ key: [other] }}]\n      x-sluicegate: {{ queue: q, type: t }}\ncomponents: {{ securitySchemes: {{ key: {{ type: \
             apiKey, in: header, name: k, x-secret: keys }} }} }}\n"
        );
        Contract::parse("a.yaml", &yaml).unwrap()
    };
    for (status, has_status) in [("", false), (", status: false", false), (", status: true", true)] {
        let contract = with(status);
        let read: Contract = serde_json::from_str(&serde_json::to_string(&contract).unwrap()).unwrap();
        assert_eq!((read.has_status(), read.operations()[0].enqueue.status), (has_status, has_status), "{status}");
        assert_eq!(read.first_with_store().is_some(), has_status, "{status}");
        let document: Value = serde_json::from_str(contract.public_document()).unwrap();
        let get = &document["paths"]["/messages/{id}"]["get"];
        assert_eq!(get.is_object(), has_status, "{document}");
        assert_eq!(document["info"]["x-example"]["paths"], serde_json::json!({}));
        if has_status {
            assert_eq!(get["security"], serde_json::json!([{ "key": ["w"] }, { "key": ["x"] }]));
        }
        let routes = ["POST /a", "POST /b", "GET /openapi.json"];
        let missing = Drift::between(&contract, routes).missing;
        assert_eq!(missing.contains("GET /messages/{id}"), has_status, "{missing:?}");
        assert_eq!(missing.len(), usize::from(has_status));
    }
}

#[test]
fn a_limit_beyond_the_writes_of_an_item_is_a_warning() {
    let route = "openapi: 3.1.0\ninfo: { title: t, version: v }\npaths:\n  /a:\n    post:\n      operationId: a\n      \
                 security: []\n      x-sluicegate: { queue: q, type: t, rateLimit: { by: route, LIMIT } }\n";
    for (limit, warnings) in [
        ("limit: 59999, window: 60s, store: dynamodb", 0),
        ("limit: 60000, window: 60s, store: dynamodb", 1),
        ("limit: 60000, window: 60s", 0),
    ] {
        let (_, found) = Contract::parse_with_warnings("a.yaml", &route.replace("LIMIT", limit)).unwrap();
        assert_eq!(found.len(), warnings, "{limit}: {found:?}");
        assert!(found.iter().all(|warning| warning.pointer.ends_with("/rateLimit")), "{found:?}");
    }
}

#[test]
fn access_tokens_are_read_with_their_defaults() {
    let read = |scheme: &str| {
        let yaml = format!(
            "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /a:\n    post:\n      operationId: a\n      \
             security: [{{ s: [] }}]\n      x-sluicegate: {{ queue: q, type: 't.{{claims#/org}}', subject: '{{principal}}' }}\n\
             components:\n  securitySchemes:\n    s: {scheme}\n"
        );
        let contract = Contract::parse("a.yaml", &yaml).unwrap();
        // What the build embeds is what the ingress reads.
        let embedded: Contract = serde_json::from_str(&serde_json::to_string(&contract).unwrap()).unwrap();
        assert_eq!(embedded.scheme("s"), contract.scheme("s"));
        assert_eq!(embedded.operations(), contract.operations());
        match contract.scheme("s") {
            Some(SecurityScheme::Token { tokens }) => (**tokens).clone(),
            other => panic!("{other:?}"),
        }
    };
    let tokens = read(
        "{ type: http, scheme: Bearer, bearerFormat: JWT, x-jwt: { issuer: 'https://a.example/t/', audience: api } }",
    );
    assert_eq!(
        (tokens.issuer.as_str(), tokens.audiences, tokens.audience_claim.as_str()),
        ("https://a.example/t/", vec!["api".to_owned()], "aud")
    );
    assert_eq!(tokens.keys, IssuerKeys::Discovery("https://a.example/t/.well-known/openid-configuration".to_owned()));
    assert_eq!((tokens.algorithms.len(), tokens.skew_s, tokens.principal.as_str()), (9, 60, "/sub"));
    assert_eq!(tokens.scopes, ["/scope", "/scp"]);
    let url = "https://a.example/v2/.well-known/openid-configuration";
    let tokens = read(&format!("{{ type: openIdConnect, openIdConnectUrl: '{url}', x-jwt: {{ audience: [a, b] }} }}"));
    assert_eq!((tokens.issuer.as_str(), tokens.audiences.len()), ("https://a.example/v2", 2));
    assert_eq!(tokens.keys, IssuerKeys::Discovery(url.to_owned()));
    let tokens = read(
        "{ type: oauth2, flows: { clientCredentials: { tokenUrl: /t, scopes: {} } }, x-jwt: { issuer: accounts.google.com, \
         audience: a, jwks: 'https://www.googleapis.com/oauth2/v3/certs', algorithms: [RS256], principal: /azp, scopes: /p, \
         audienceClaim: client_id, skewSeconds: 0 } }",
    );
    assert_eq!(tokens.keys, IssuerKeys::Jwks("https://www.googleapis.com/oauth2/v3/certs".to_owned()));
    assert_eq!((tokens.algorithms.as_slice(), tokens.principal.as_str()), (&[TokenAlgorithm::RS256][..], "/azp"));
    assert_eq!(
        (tokens.scopes.as_slice(), tokens.audience_claim.as_str(), tokens.skew_s),
        (&["/p".to_owned()][..], "client_id", 0)
    );
}

#[test]
fn every_provider_can_be_named() {
    for provider in sluicegate_webhook::Provider::all() {
        let header = provider.scheme.signature.header.first().replace("{n}", "2");
        let header = if header.is_empty() { "x-any" } else { &header };
        let signature = match provider.scheme.assurance {
            sluicegate_webhook::Assurance::Signed => provider.slug.clone(),
            sluicegate_webhook::Assurance::Partial => format!("{{ scheme: {}, accept: partial }}", provider.slug),
            sluicegate_webhook::Assurance::Token => format!("{{ scheme: {}, accept: token }}", provider.slug),
        };
        let signature = match provider.scheme.clone().open_claim() {
            Some(_) => signature.replace(" }", ", audience: 'https://a.example/b' }"),
            None => signature,
        };
        let contract = webhook(&format!("'{header}'"), &signature, "application/json", "");
        let contract = contract.unwrap_or_else(|fault| panic!("{}: {fault}", provider.slug));
        // What the build embeds is what the ingress reads.
        let embedded: Contract = serde_json::from_str(&serde_json::to_string(&contract).unwrap()).unwrap();
        assert_eq!(embedded.scheme("s"), contract.scheme("s"), "{}", provider.slug);
    }
}
