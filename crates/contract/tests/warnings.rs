//! Tests of warnings: a probable mistake is reported with its place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use sluicegate_contract::{BodySchema, Contract};

/// A contract whose route has these parameters, `content` and members of `x-sluicegate`.
fn document(parameters: &str, content: &str, enqueue: &str) -> String {
    format!(
        "openapi: 3.1.1
info: {{ title: t, version: v }}
paths:
  /a/{{p}}:
    post:
      operationId: a
      security: []
      parameters: [{{ name: p, in: path, required: true, schema: {{ format: int32, type: integer }} }}, {parameters}]
      requestBody: {{ required: true, content: {{ {content} }} }}
      x-sluicegate: {{ queue: q, type: t, {enqueue} }}
components:
  schemas:
    Id: {{ type: string, pattern: '^[!-~]{{1,64}}$' }}
    Named: {{ type: object, required: [id], properties: {{ id: {{ $ref: '#/components/schemas/Id' }} }} }}
"
    )
}

fn warnings(yaml: &str) -> Vec<(String, String)> {
    let (_, warnings) = Contract::parse_with_warnings("a.yaml", yaml).unwrap();
    warnings.into_iter().map(|warning| (warning.pointer, warning.reason)).collect()
}

#[track_caller]
fn check(parameters: &str, content: &str, enqueue: &str, expected: &[&str]) {
    let found = warnings(&document(parameters, content, enqueue));
    let at = |pointer: &str| pointer.starts_with("/paths/~1a~1{p}/post/x-sluicegate/");
    let as_expected = found.len() == expected.len()
        && found.iter().zip(expected).all(|((pointer, reason), says)| at(pointer) && reason.contains(says));
    assert!(as_expected, "{parameters} {content} {enqueue}: {found:#?}");
}

/// Names the pattern that would do.
const CONTROL: &str = "control characters, which an event must not have: give it a `pattern` from ^ to $ that excludes them, such \
                       as ^[ -~]+$";
const LONG: &str = "longer than the 2,048 bytes";
const MISSING: &str = "may be missing";

#[test]
fn a_template_whose_value_may_be_invalid_is_a_warning() {
    let json = "application/json: {}";
    let header = |schema: &str| format!("{{ name: X-H, in: header, required: true, schema: {{ {schema} }} }}");
    let subject = "subject: '{header.x-h}'";
    for (schema, expected) in [
        ("type: string", &[LONG, CONTROL][..]),
        ("maxLength: 512", &[CONTROL]),
        ("maxLength: 513, pattern: '^[a-z]*$'", &[LONG]),
        ("pattern: '^[a-z]*$'", &[LONG]),
        ("pattern: '^[ -~]+$', maxLength: 64", &[]),
        ("pattern: '^[a-z]{1,64}$'", &[]),
        ("pattern: '^(a|b.{3})$'", &[CONTROL]),
        ("pattern: '[a-z]{1,64}$'", &[LONG, CONTROL]),
        ("pattern: '^a|b$'", &[LONG, CONTROL]),
        ("pattern: '^[^ ]{1,64}$'", &[CONTROL]),
        ("pattern: '^\\S{1,64}$'", &[CONTROL]),
        ("pattern: '^(?=a).{1,64}$'", &[LONG, CONTROL]),
        ("pattern: '^[ -~\\u00A0-\\uFDCF\\uFDF0-\\uFFFD]+$', maxLength: 64", &[]),
        ("enum: [a, b]", &[]),
        ("const: \"a\\tb\"", &[CONTROL]),
        ("type: integer", &[]),
        ("type: [boolean, 'null']", &[]),
        ("format: uuid, x-format-assertion: true", &[]),
        ("format: uuid", &[LONG, CONTROL]),
        ("$ref: '#/components/schemas/Id'", &[]),
        ("allOf: [{ maxLength: 9 }, { pattern: '^[a-z]+$' }]", &[]),
    ] {
        check(&header(schema), json, subject, expected);
    }
    check("", json, subject, &["not a declared parameter"]);
    check("", json, "subject: '{path.p}'", &[]);
    check("{ name: q, in: query, schema: { type: integer } }", json, "group: '{query.q}'", &[MISSING]);
    // An invalid idempotency key is refused separately.
    check("", json, "idempotency: { key: '{header.x-h}' }", &[]);
}

#[test]
fn a_template_is_checked_against_the_schema_of_the_body() {
    let body = |schema: &str| format!("application/json: {{ schema: {schema} }}");
    let named = "{ $ref: '#/components/schemas/Named' }";
    for (schema, pointer, expected) in [
        (named, "/id", &[][..]),
        (named, "/other", &[LONG, MISSING, CONTROL]),
        (named, "/id/deeper", &[LONG, MISSING, CONTROL]),
        ("{ type: object }", "/id", &[LONG, MISSING, CONTROL]),
        ("{ required: [n], properties: { n: { allOf: [{ $ref: '#/components/schemas/Named' }] } } }", "/n/id", &[]),
        ("{ properties: { n: { $ref: '#/components/schemas/Named' } } }", "/n/id", &[MISSING]),
        ("{ allOf: [{ $ref: '#/components/schemas/Named' }, { properties: { id: { maxLength: 3 } } }] }", "/id", &[]),
        ("{ $ref: '#/components/schemas/Id' }", "", &[]),
    ] {
        check("", &body(schema), &format!("subject: '{{body#{pointer}}}'"), expected);
    }
}

#[test]
fn a_payload_limit_above_that_of_sqs_is_a_warning() {
    check("", "application/json: {}", "payloadBytes: 1024000", &[]);
    check(
        "",
        "application/json: {}",
        "payloadBytes: 1024001",
        &["SQS accepts at most 1024000 bytes of a JSON payload"],
    );
    check("", "text/csv: {}", "payloadBytes: 768000", &[]);
    check(
        "",
        "text/csv: {}",
        "payloadBytes: 768001",
        &["SQS accepts at most 768000 bytes of a payload that is not JSON"],
    );
    check("", "application/json: {}, text/csv: {}", "payloadBytes: 1000000", &["base64"]);
    check("", "text/csv: {}", "payloadBytes: 6291456, largePayloads: s3", &[]);
}

#[test]
fn a_format_is_checked_where_the_contract_asserts_it() {
    let schema = |document: &str, beside: &str| {
        let content = format!("application/json: {{ schema: {{ type: string, format: uri{beside} }} }}");
        let yaml = self::document("", &content, "").replace("paths:\n", &format!("{document}paths:\n"));
        let contract = Contract::parse("a.yaml", &yaml).unwrap();
        let BodySchema::Schema(text) = &contract.operations()[0].body.as_ref().unwrap().content[0].1 else {
            return None;
        };
        Some(text.contains("format"))
    };
    let (whole, not_whole) = ("x-format-assertion: true\n", "x-format-assertion: false\n");
    assert_eq!(schema("", ""), Some(false), "an annotation, as in JSON Schema");
    assert_eq!(schema(whole, ""), Some(true));
    assert_eq!(schema(not_whole, ""), Some(false));
    assert_eq!(schema("", ", x-format-assertion: true"), Some(true));
    assert_eq!(schema(whole, ", x-format-assertion: false"), Some(false));
    let unknown = document("", "application/json: { schema: { format: uid } }", "");
    assert!(warnings(&unknown)[0].1.contains("not a known format"));
}

/// One route for each of GitHub's webhook events, with schemas that share most of their references.
#[test]
fn a_large_contract_is_read_quickly_and_its_faults_are_reported() {
    let mut yaml = "openapi: 3.1.1\ninfo: { title: t, version: v }\nsecurity: []\npaths:\n".to_owned();
    for route in 0..264 {
        yaml += &format!(
            "  /r{route}:\n    post:\n      operationId: r{route}\n      requestBody: {{ content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/E{route}' }} }} }} }}\n      x-sluicegate: {{ queue: q, type: t }}\n"
        );
    }
    yaml += "components:\n  schemas:\n";
    for route in 0..264 {
        yaml += &format!(
            "    E{route}: {{ type: object, required: [a], properties: {{ a: {{ $ref: '#/components/schemas/S{}' }}, b: {{ const: {route} }} }} }}\n",
            route % 60
        );
    }
    for shared in 0..60 {
        yaml += &format!(
            "    S{shared}:\n      type: object\n      properties:\n        next: {{ $ref: '#/components/schemas/S{}' }}\n",
            shared / 10 * 10 + (shared + 1) % 10
        );
        for member in 0..30 {
            yaml += &format!(
                "        m{member}: {{ type: [string, 'null'], description: A member, pattern: '^[a-z]{{1,{}}}$' }}\n",
                member + 1
            );
        }
    }
    let started = Instant::now();
    let contract = Contract::parse("a.yaml", &yaml).unwrap();
    let took = started.elapsed();
    assert_eq!(contract.operations().len(), 264);
    println!("{} bytes in {took:?}", yaml.len());
    assert!(took < Duration::from_secs(15), "{took:?}");

    let broken = yaml.replace("'^[a-z]{1,7}$'", "'^[a-z{1,7}$'").replace("b: { const: 9 }", "b: { minimum: x }");
    let faults = Contract::parse("a.yaml", &broken).unwrap_err();
    let mut places: Vec<_> = faults.iter().map(|fault| fault.pointer.clone()).collect();
    places.sort();
    let mut expected: Vec<_> =
        (0..60).map(|shared| format!("/components/schemas/S{shared}/properties/m6/pattern")).collect();
    expected.push("/components/schemas/E9/properties/b/minimum".to_owned());
    expected.sort();
    assert_eq!(places, expected);
}
