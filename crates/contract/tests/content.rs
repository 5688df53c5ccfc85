//! The keys of a contract about content: what they mean, and the faults of wrong ones.

use sluicegate_contract::{Contract, Mode};

/// Returns the contract of one route with this request body and these keys, or its faults.
fn route(content: &str, keys: &str) -> Result<Contract, String> {
    let yaml = format!(
        r"openapi: 3.1.1
info: {{ title: t, version: '1' }}
paths:
  /t:
    post:
      operationId: t
      security: []
      requestBody: {{ content: {{ {content} }} }}
      x-sluicegate: {{ queue: q, {keys} }}
"
    );
    Contract::parse("openapi.yaml", &yaml).map_err(|faults| faults.to_string())
}

#[test]
fn a_media_type_has_one_mode() {
    let check = |keys: &str, media_type: &str, mode: Mode| {
        let contract = route(&format!("'{media_type}': {{}}"), &format!("type: t, {keys}")).unwrap();
        assert_eq!(contract.operations()[0].body.as_ref().unwrap().mode(media_type), mode, "{keys} {media_type}");
    };
    check("", "application/json", Mode::Payload);
    check("", "application/x-ndjson", Mode::Payload);
    check("batch: true", "application/json", Mode::Array);
    check("batch: true", "application/vnd.acme+json", Mode::Array);
    check("batch: true", "application/x-ndjson", Mode::Lines);
    check("batch: true", "application/jsonl", Mode::Lines);
    check("cloudEvents: binary", "application/json", Mode::BinaryEvent);
    check("cloudEvents: binary", "image/png", Mode::BinaryEvent);
    for keys in ["", "batch: true", "cloudEvents: binary"] {
        check(keys, "application/cloudevents+json", Mode::Event);
        check(keys, "application/cloudevents-batch+json", Mode::Events);
    }
}

#[test]
fn the_type_of_an_event_is_the_default() {
    let events = "application/cloudevents+json: {}, application/cloudevents-batch+json: {}";
    let contract = route(events, "subject: '{event.subject}'").unwrap();
    assert_eq!(contract.operations()[0].enqueue.event_type.to_string(), "{event.type}");
    for (content, keys) in [(format!("{events}, application/json: {{}}"), ""), ("text/plain: {}".to_owned(), "")] {
        let faults = route(&content, keys).unwrap_err();
        assert!(faults.contains("type"), "{faults}");
    }
}

#[test]
fn a_batch_has_the_schema_of_one_item_and_its_limits() {
    let array = "type: array, minItems: 2, maxItems: 9, items: { type: integer }";
    let contract = route(&format!("application/json: {{ schema: {{ {array} }} }}"), "type: t, batch: true").unwrap();
    let body = contract.operations()[0].body.as_ref().unwrap();
    assert_eq!(body.items, (2, 9));
    let schema = sluicegate_contract::BodySchema::Schema(r#"{"type":"integer"}"#.to_owned());
    assert_eq!(body.content[0].1, schema);
    let embedded = serde_json::to_string(&contract).unwrap();
    assert_eq!(serde_json::from_str::<Contract>(&embedded).unwrap().operations(), contract.operations());
}

#[test]
fn every_wrong_key_is_a_fault_with_its_place() {
    let json = "application/json: {}";
    let schema = |schema: &str| format!("application/json: {{ schema: {{ {schema} }} }}");
    for (content, keys, says) in [
        ("text/plain: {}".to_owned(), "batch: true", "a batch is a JSON array, or JSON Lines"),
        (schema("type: object"), "batch: true", "the schema of a batch is `type: array`"),
        (schema("type: array, uniqueItems: true"), "batch: true", "does not apply to a batch"),
        (schema("type: array, maxItems: 101"), "batch: true", "100"),
        (schema("type: array, minItems: 3, maxItems: 2"), "batch: true", "minItems"),
        (json.to_owned(), "batch: true, cloudEvents: binary", "one message"),
        (json.to_owned(), "batch: yes please", "batch"),
        (json.to_owned(), "cloudEvents: all", "binary"),
        (json.to_owned(), "contentEncodings: [gzip, lzma]", "br, deflate, gzip or zstd"),
        (json.to_owned(), "contentEncodings: [gzip, gzip]", "already there"),
        (json.to_owned(), "webhookOrigins: ['https://a.example/']", "an origin is a host name"),
        (json.to_owned(), "subject: '{event.type}'", "needs a requestBody that is always a CloudEvent"),
        (json.to_owned(), "subject: '{event.Type}'", "unknown placeholder"),
    ] {
        let faults = route(&content, &format!("type: t, {keys}")).map(|_| ()).unwrap_err();
        assert!(faults.contains(says), "{content} {keys}: {faults}");
        assert!(faults.contains("openapi.yaml:"), "{faults}");
    }
}

#[test]
fn cors_lists_what_the_contract_has() {
    let with = |cors: &str| {
        let yaml = format!(
            r"openapi: 3.1.1
info: {{ title: t, version: '1' }}
x-cors: {cors}
paths:
  /t:
    put:
      operationId: t
      security: []
      parameters: [{{ name: X-One, in: header }}, {{ name: q, in: query }}]
      requestBody: {{ content: {{ text/plain: {{}} }} }}
      x-sluicegate: {{ queue: q, type: t, contentEncodings: [br] }}
"
        );
        Contract::parse("openapi.yaml", &yaml).map_err(|faults| faults.to_string())
    };
    let contract = with("{ allowOrigins: ['https://a.example:8443', '*'], maxAge: 60s }").unwrap();
    let cors = contract.cors().unwrap();
    assert_eq!((cors.methods.join(" ").as_str(), cors.max_age_s), ("GET HEAD PUT", 60));
    assert_eq!(cors.headers.join(" "), "content-encoding content-type x-one");
    assert_eq!(cors.allow_origin("https://b.example"), Some("*"));
    for (cors, says) in [
        ("{}", "allowOrigins"),
        ("{ allowOrigins: [] }", "names no origin"),
        ("{ allowOrigins: [a.example] }", "an origin is a scheme and a host"),
        ("{ allowOrigins: ['https://a.example/'] }", "an origin is a scheme and a host"),
        ("{ allowOrigins: ['*'], maxAge: 2 days }", "duration"),
        ("{ allowOrigins: ['*'], allowHeaders: [a] }", "allowHeaders"),
    ] {
        let faults = with(cors).map(|_| ()).unwrap_err();
        assert!(faults.contains(says), "{cors}: {faults}");
    }
}

#[test]
fn a_coding_needs_its_feature_in_the_manifest() {
    let contract = route("text/plain: {}", "type: t, contentEncodings: [gzip, deflate, zstd]").unwrap();
    let missing = contract.missing_features(r#"sluicegate-ingress = { features = ["sqs", "zstd"] }"#);
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[1].contains("has gzip: add the feature \"gzip\""), "{missing:?}");
    assert!(contract.missing_features(r#"features = ["gzip", "zstd"]"#).is_empty());
    let contract = route("text/plain: {}", "type: t, payloadBytes: 2000000, largePayloads: s3").unwrap();
    let missing = contract.missing_features(r#"features = ["sqs"]"#);
    assert!(missing[0].contains("add the feature \"s3\""), "{missing:?}");
    assert!(contract.missing_features(r#"features = ["s3"]"#).is_empty());
    let batch = route("application/x-ndjson: {}", "type: t, batch: true, payloadBytes: 2000000, largePayloads: s3");
    assert!(batch.unwrap_err().to_string().contains("does not apply to a batch"));
}
