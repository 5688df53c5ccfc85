//! Tests of faults: each case makes one change to a valid contract and expects exactly one fault with its place and
//! reason.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use sluicegate_contract::{Contract, Fault};

/// A valid contract with one of everything.
const VALID: &str = r##"openapi: 3.1.0
info: { title: Test, version: '1' }
paths:
  /things/{thing_id}:
    parameters:
      - $ref: '#/components/parameters/ThingId'
    post:
      operationId: putThing
      security: [{ key: [things.write] }]
      parameters:
        - { name: page, in: query, schema: { type: integer } }
      requestBody:
        content:
          application/json:
            schema: { $ref: '#/components/schemas/Thing' }
      responses:
        200: { $ref: '#/components/responses/Done' }
      x-sluicegate:
        queue: things
        type: thing.put
        subject: '{path.thing_id}'
        group: '{body#/owner}'
        idempotency: { key: '{header.Idempotency-Key}', required: true }
        rateLimit: { limit: 100, window: 60s, by: principal }
        delay: 15m
        payloadBytes: 1024
  /hooks:
    post:
      operationId: takeHook
      security: [{ hook: [] }]
      x-sluicegate: { queue: hooks, type: hook.taken }
components:
  parameters:
    ThingId: { name: thing_id, in: path, required: true, schema: { type: string } }
  responses:
    Done: { description: Done, headers: { x-signature: { schema: { type: string } } } }
  schemas:
    Thing:
      type: object
      properties:
        owner: { type: string, pattern: '^[a-z]+$' }
        parts: { type: array, items: { $ref: '#/components/schemas/Thing' } }
        $ref: { const: { $ref: not a reference } }
  securitySchemes:
    key: { type: apiKey, in: header, name: X-Api-Key, x-secret: keys }
    hook: { type: apiKey, in: header, name: x-hub-signature-256, x-secret: hooks, x-signature: github }
"##;

const LINES: usize = 46;

const POST: &str = "/paths/~1things~1{thing_id}/post";

fn faults(yaml: &str) -> Vec<Fault> {
    Contract::parse("api.yaml", yaml).err().unwrap_or_default().to_vec()
}

/// Makes one change and expects one fault. A pointer that does not start with `/` is below `x-sluicegate` of the first
/// operation.
#[track_caller]
fn check(from: &str, to: &str, pointer: &str, reason: &str) {
    assert_eq!(VALID.matches(from).count(), 1, "`{from}` must be in the contract once");
    let found = faults(&VALID.replace(from, to));
    let pointer = match pointer {
        "" | "/" => String::new(),
        absolute if absolute.starts_with('/') => absolute.replace("POST", POST.trim_start_matches('/')),
        below => format!("{POST}/x-sluicegate/{below}"),
    };
    assert!(
        matches!(found.as_slice(), [fault] if fault.pointer == pointer && fault.reason.contains(reason)),
        "`{to}` should be one fault at {pointer}: {reason}\nfound {found:#?}"
    );
}

#[test]
fn the_base_contract_is_valid() {
    assert_eq!(faults(VALID), []);
}

#[test]
fn x_sluicegate_is_checked() {
    check("delay: 15m", "dealy: 15m", "dealy", "unknown field");
    check("delay: 15m", "x-delay: 15m", "x-delay", "unknown field");
    check("limit: 100,", "limit: 100, burst: 1,", "rateLimit/burst", "unknown field");
    check("', required: true }\n        rate", "', must: true }\n        rate", "idempotency/must", "unknown field");
    check("        queue: things\n", "", "queue", "is missing");
    check("queue: things", "queue: 7", "queue", "queue name");
    check("queue: things", "queue: my things", "queue", "queue name");
    check("queue: hooks, ", "queue: THINGS, ", "/paths/~1hooks/post/x-sluicegate/queue", "QUEUE_THINGS");
    check("        type: thing.put\n", "", "type", "is missing");
    check("type: thing.put", "type: ''", "type", "not empty");
    check("key: '{header.Idempotency-Key}', ", "", "idempotency/key", "is missing");
    check("required: true }\n        rate", "required: yes }\n        rate", "idempotency/required", "true or false");
    for (to, place, reason) in [
        ("store: yes", "idempotency/store", "must be dynamodb"),
        ("store: memory, ttlDays: 7", "idempotency/store", "must be dynamodb"),
        ("store: dynamodb, ttlDays: 0", "idempotency/ttlDays", "from 1 to 365"),
        ("store: dynamodb, ttlDays: 366", "idempotency/ttlDays", "from 1 to 365"),
        ("store: dynamodb, ttlDays: 24h", "idempotency/ttlDays", "from 1 to 365"),
        ("store: dynamodb, onStoreFailure: maybe", "idempotency/onStoreFailure", "open or closed"),
        ("ttlDays: 7", "idempotency/ttlDays", "no effect without `store: dynamodb`"),
        ("onStoreFailure: open", "idempotency/onStoreFailure", "no effect without `store: dynamodb`"),
    ] {
        let to = format!("required: true, {to} }}\n        rate");
        check("required: true }\n        rate", &to, place, reason);
    }
    let of_batch =
        VALID.replace("schema: { $ref: '#/components/schemas/Thing' }\n      responses", "{}\n      responses");
    let of_batch = of_batch.replace("required: true }", "required: true, store: dynamodb }\n        batch: true");
    let found = faults(&of_batch);
    assert!(found.iter().any(|fault| fault.pointer.ends_with("idempotency/store")), "{found:#?}");
    for fingerprint in ["body", "true", ""] {
        let to = format!("required: true, fingerprint: {fingerprint} }}\n        rate");
        check("required: true }\n        rate", &to, "idempotency/fingerprint", "payload or none");
    }
    check("limit: 100", "limit: 0", "rateLimit/limit", "from 1 to 1000000");
    check("limit: 100", "limit: 1.5", "rateLimit/limit", "integer");
    check("window: 60s", "window: 60", "rateLimit/window", "duration");
    check("window: 60s", "window: 0s", "rateLimit/window", "duration");
    check("window: 60s", "window: 25h", "rateLimit/window", "86400s");
    check(", window: 60s", "", "rateLimit/window", "is missing");
    check("by: principal", "by: phase", "rateLimit/by", "principal, address or route");
    let whole = "{ limit: 100, window: 60s, by: principal }";
    let route = "{ limit: 9, window: 1s, by: route }";
    check(whole, "[]", "rateLimit", "has no limit");
    check(whole, "7", "rateLimit", "must be an object");
    check(whole, &format!("[{whole}, 7]"), "rateLimit/1", "must be an object");
    check(whole, &format!("[{route}, {whole}, {route}]"), "rateLimit/2", "a limit by route already");
    check(whole, &format!("[{route}, {{ limit: 0, window: 1s, by: address }}]"), "rateLimit/1/limit", "from 1");
    for (to, place, reason) in [
        ("store: memory", "rateLimit/store", "must be dynamodb"),
        ("store: dynamodb, onStoreFailure: maybe", "rateLimit/onStoreFailure", "open or closed"),
        ("onStoreFailure: open", "rateLimit/onStoreFailure", "no effect without `store: dynamodb`"),
        ("store: dynamodb, ttlDays: 7", "rateLimit/ttlDays", "unknown field"),
    ] {
        check("by: principal", &format!("by: principal, {to}"), place, reason);
    }
    check("delay: 15m", "delay: 901s", "delay", "900s");
    check("delay: 15m", "delay: 99999999999s", "delay", "900s");
    check("delay: 15m", "delay: 4294967295h", "delay", "900s");
    check("delay: 15m", "delay: 5é", "delay", "duration");
    check("delay: 15m", "delay: 5", "delay", "duration");
    check("delay: 15m", "delay: '{header.x-delay}s'", "delay", "one header with the seconds");
    check("delay: 15m", "delay: '{body#/delay}'", "delay", "one header with the seconds");
    check("delay: 15m", "delay: '{header.x-delay | header.x-wait}'", "delay", "one header with the seconds");
    check("delay: 15m", "delay: '{header.x delay}'", "delay", "not a header name");
    check("payloadBytes: 1024", "payloadBytes: 0", "payloadBytes", "from 1");
    check("payloadBytes: 1024", "payloadBytes: 6291457", "payloadBytes", "to 6291456");
    check("payloadBytes: 1024", "largePayloads: s3", "largePayloads", "needs payloadBytes");
    check("payloadBytes: 1024", "payloadBytes: 1024\n        largePayloads: gcs", "largePayloads", "must be s3");
    check("payloadBytes: 1024", "status: maybe", "status", "true or false");
    check(
        "x-sluicegate: { queue: hooks, type: hook.taken }",
        "x-sluicegate: hooks",
        "/paths/~1hooks/post/x-sluicegate",
        "object",
    );
    check(
        "\n      x-sluicegate: { queue: hooks, type: hook.taken }",
        "",
        "/paths/~1hooks/post/x-sluicegate",
        "missing",
    );
    check("[{ key: [things.write] }]", "[]", "rateLimit/by", "no principal");
    check("[{ key: [things.write] }]", "[{ key: [] }, {}]", "rateLimit/by", "no principal");
}

#[test]
fn a_status_belongs_to_a_principal_and_to_one_message() {
    check(
        "type: hook.taken }",
        "type: hook.taken, status: true }",
        "/paths/~1hooks/post/x-sluicegate/status",
        "which a signature does not",
    );
    check("payloadBytes: 1024", "status: true\n        copyTo: [audit]", "status", "each copy would have a status");
    let (limit, path) =
        ("        rateLimit: { limit: 100, window: 60s, by: principal }\n", "/paths/~1messages~1{message}");
    let public =
        VALID.replace(limit, "        status: true\n").replace("[{ key: [things.write] }]", "[{ key: [] }, {}]");
    let [fault] = &faults(&public)[..] else { panic!("{public}") };
    assert!(fault.pointer.ends_with("/status") && fault.reason.contains("name a principal"), "{fault:?}");
    // Its path is free without a status.
    let with_path =
        VALID.replace("/things/{thing_id}:", "/messages/{message}:").replace("name: thing_id", "name: message");
    let with_path = with_path.replace("path.thing_id", "path.message");
    assert_eq!(faults(&with_path), []);
    let [fault] = &faults(&with_path.replace("payloadBytes: 1024", "status: true"))[..] else { panic!("{with_path}") };
    assert!(fault.pointer == path && fault.reason.contains("reserved"), "{fault:?}");
}

#[test]
fn templates_are_checked() {
    check("thing.put", "thing.{path.thing_id", "type", "braces");
    check("thing.put", "thing.path}", "type", "braces");
    check("thing.put", "thing.{{path.thing_id}}", "type", "braces");
    check("thing.put", "thing.{cookie.a}", "type", "unknown placeholder {cookie.a}");
    check("thing.put", "thing.{path.}", "type", "unknown placeholder");
    check("thing.put", "thing.{header.a b}", "type", "not a header name");
    check("{body#/owner}", "{body#owner}", "group", "not a JSON pointer");
    check("{body#/owner}", "{body#/~2}", "group", "not a JSON pointer");
    check("{path.thing_id}", "{path.thing}", "subject", "the path has no {thing}");
    check("{body#/owner}", "{form.#/a}", "group", "unknown placeholder {form.#/a}");
    check("{body#/owner}", "{form.a#b}", "group", "`b` is not a JSON pointer");
    check("{body#/owner}", "{body#/owner |}", "group", "unknown placeholder {}");
    check("{body#/owner}", "{form.a}", "group", "needs a requestBody that is always application/x-www-form-urlencoded");
    check("{body#/owner}", "{form.a | form.b}", "group", "{form.a | ...} has no value for one of the media types");
    check("hook.taken }", "'{body#/type}' }", "/paths/~1hooks/post/x-sluicegate/type", "needs a requestBody");
    check(
        "application/json:\n            schema: { $ref: '#/components/schemas/Thing' }",
        "text/plain: {}",
        "group",
        "always JSON",
    );
}

#[test]
fn references_are_checked() {
    let body = "/POST/requestBody/content/application~1json/schema/$ref";
    let items = "/components/schemas/Thing/properties/parts/items/$ref";
    check(
        "schema: { $ref: '#/components/schemas/Thing' }",
        "schema: { $ref: '#/components/schemas/Thin' }",
        body,
        "leads nowhere",
    );
    check("items: { $ref: '#/components/schemas/Thing' }", "items: { $ref: 'other.yaml#/Thing' }", items, "not local");
    check("items: { $ref: '#/components/schemas/Thing' }", "items: { $ref: '#thing' }", items, "not local");
    check(
        "items: { $ref: '#/components/schemas/Thing' }",
        "items: { $ref: 'https://example.com/' }",
        items,
        "not local",
    );
    check("items: { $ref: '#/components/schemas/Thing' }", "items: { $ref: 5 }", items, "must be text");
    check("#/components/responses/Done", "#/components/responses/None", "/POST/responses/200/$ref", "leads nowhere");
    check(
        "ThingId'\n",
        "ThingId'\n        required: false\n",
        "/paths/~1things~1{thing_id}/parameters/0/required",
        "no effect",
    );
    check(
        "ThingId: { name: thing_id, in: path, required: true, schema: { type: string } }",
        "ThingId: { name: thing_id, in: path, required: true, schema: { type: string } }\n    A: { $ref: '#/components/parameters/B' }",
        "/components/parameters/A/$ref",
        "leads nowhere",
    );
    // A circular reference is reported where it is used; the parameter that it should define is missing too.
    let looped = VALID.replace(
        "ThingId: { name: thing_id, in: path, required: true, schema: { type: string } }",
        "ThingId: { $ref: '#/components/parameters/ThingId' }",
    );
    assert!(faults(&looped).iter().any(|fault| fault.reason.contains("is circular")));
}

#[test]
fn routes_are_checked() {
    let hooks = |path: &str, pointer: &str, reason: &str| {
        check("  /hooks:", &format!("  {path}: {{}}\n  /hooks:"), pointer, reason)
    };
    hooks("/things/{other}", "/paths/~1things~1{other}", "same route as /things/{thing_id}");
    hooks("hooks", "/paths/hooks", "starts with one `/`");
    hooks("//hooks", "/paths/~1~1hooks", "starts with one `/`");
    hooks("/openapi.json", "/paths/~1openapi.json", "reserved");
    hooks("/openapi%2Ejson", "/paths/~1openapi%2Ejson", "reserved");
    check("components:\n", "  /%68ooks: {}\ncomponents:\n", "/paths/~1%68ooks", "same route as /hooks");
    hooks("'/%74hings/{other}'", "/paths/~1%74hings~1{other}", "same route as /things/{thing_id}");
    for literal in ["a%zz", "a%4", "a%", "%FF", "%ED%A0%80"] {
        hooks(&format!("/hooks/{literal}"), &format!("/paths/~1hooks~1{literal}"), "not percent-encoded UTF-8");
    }
    for literal in ["a%2Fb", "a%2fb", "a%3Fb", "100%25"] {
        hooks(&format!("/hooks/{literal}"), &format!("/paths/~1hooks~1{literal}"), "HTTP APIs do not pass on");
    }
    for literal in [".", "..", "%2E", ".%2e"] {
        hooks(&format!("/hooks/{literal}"), &format!("/paths/~1hooks~1{literal}"), "never sent");
    }
    hooks("/hooks/a%00", "/paths/~1hooks~1a%00", "control character");
    hooks("/hooks/a b", "/paths/~1hooks~1a b", "`a b`");
    hooks("/hooks?x=1", "/paths/~1hooks?x=1", "`hooks?x=1`");
    hooks("'/hooks/{proxy+}'", "/paths/~1hooks~1{proxy+}", "{proxy+}");
    hooks("'/hooks/{a}.json'", "/paths/~1hooks~1{a}.json", "{a}.json");
    check("components:\n", "  /hooks: {}\ncomponents:\n", "/paths/~1hooks", "already there");
    for path in ["/hooks/caf%C3%A9", "/hooks/%7B%7D", "/hooks/a%20b%23c", "/hooks/..."] {
        assert_eq!(faults(&VALID.replace("  /hooks:", &format!("  {path}: {{}}\n  /hooks:"))), [], "{path}");
    }
}

#[test]
fn operations_are_checked() {
    let hook = "/paths/~1hooks/post";
    check("      operationId: takeHook\n", "", &format!("{hook}/operationId"), "is missing");
    check(
        "operationId: takeHook",
        "operationId: putThing",
        &format!("{hook}/operationId"),
        "already the operationId of",
    );
    check("      security: [{ hook: [] }]\n", "", &format!("{hook}/security"), "security: []");
    check("[{ hook: [] }]", "[{ hok: [] }]", &format!("{hook}/security/0/hok"), "not declared");
    check("[{ hook: [] }]", "{ hook: [] }", &format!("{hook}/security"), "list");
    check("[{ hook: [] }]", "[{ hook: [admin] }]", &format!("{hook}/security/0/hook"), "no scopes");
    check(
        "operationId: takeHook",
        "operationId: takeHook\n      parametres: []",
        &format!("{hook}/parametres"),
        "unknown field",
    );
    check("  /hooks:\n", "  /hooks:\n    get_: {}\n", "/paths/~1hooks/get_", "unknown field");
    check("  /hooks:\n", "  /hooks:\n    options: {}\n", "/paths/~1hooks/options", "operations are not supported");
    check("  /hooks:\n", "  /hooks:\n    trace: {}\n", "/paths/~1hooks/trace", "operations are not supported");
}

#[test]
fn requests_are_checked() {
    let page = "/POST/parameters/0";
    check("in: query", "in: cookie", &format!("{page}/in"), "not supported");
    check("page, in: query", "other, in: path, required: true", page, "the path has no {other}");
    check("page, in: query", "a b, in: header", &format!("{page}/name"), "not a header name");
    check("page, in: query", "Content-Type, in: header", &format!("{page}/name"), "ignores");
    check("in: query,", "in: query, style: deepObject,", &format!("{page}/style"), "only the style `form`");
    check("in: query, schema: { type: integer }", "in: query, content: {}", &format!("{page}/content"), "use `schema`");
    check(
        "in: query, schema: { type: integer }",
        "in: query, schema: { type: array }",
        &format!("{page}/schema"),
        "one value",
    );
    check("in: query,", "in: query, requird: true,", &format!("{page}/requird"), "unknown field");
    check(
        "        - { name: page, in: query",
        "        - { name: page, in: query }\n        - { name: page, in: query",
        "/POST/parameters/1",
        "already there",
    );
    check("in: path, required: true", "in: path", "/components/parameters/ThingId/required", "required: true");
    check(
        "    parameters:\n      - $ref: '#/components/parameters/ThingId'\n",
        "",
        "/POST/parameters",
        "{thing_id} is not declared",
    );
    let content = "/POST/requestBody/content";
    check("application/json:\n", "application/*:\n", &format!("{content}/application~1*"), "ranges");
    check("application/json:\n", "json:\n", &format!("{content}/json"), "is not a media type");
    check(
        "application/json:\n",
        "application/json; charset=utf-8:\n",
        &format!("{content}/application~1json; charset=utf-8"),
        "no parameters",
    );
    check(
        "          application/json:\n",
        "          application/JSON: {}\n          application/json:\n",
        &format!("{content}/application~1json"),
        "already there",
    );
    check(
        "          application/json:\n",
        "          application/json:\n            encoding: {}\n",
        &format!("{content}/application~1json/encoding"),
        "unknown field",
    );
}

#[test]
fn conditions_of_a_queue_are_checked() {
    let queue = |entries: &str, within: &str, reason: &str| {
        check("queue: things", &format!("queue: [{entries}]"), &format!("queue{within}"), reason);
    };
    let when = "when: '{header.x-priority}'";
    queue("", "", "a queue name is letters");
    queue(&format!("{{ queue: a, {when}, is: b }}"), "/0", "ends with a queue without a condition");
    queue("a, b", "/0", "needs a condition");
    queue("7", "/0", "queue name");
    queue(&format!("{{ queue: a, {when}, is: b }}, my things"), "/1", "queue name");
    queue(&format!("{{ queue: a b, {when}, is: b }}, things"), "/0/queue", "queue name");
    queue(&format!("{{ {when}, is: b }}, things"), "/0/queue", "is missing");
    queue("{ queue: a, is: b }, things", "/0/when", "is missing");
    queue(&format!("{{ queue: a, {when} }}, things"), "/0/is", "is missing");
    queue(&format!("{{ queue: a, {when}, is: b, equals: c }}, things"), "/0/equals", "unknown field");
    queue(&format!("{{ queue: a, {when}, is: 7 }}, things"), "/0/is", "in quotes");
    queue(&format!("{{ queue: a, {when}, is: [] }}, things"), "/0/is", "not empty");
    queue(&format!("{{ queue: a, {when}, is: [b, true] }}, things"), "/0/is/1", "in quotes");
    queue("{ queue: a, when: high, is: b }, things", "/0/when", "the same for every request");
    queue("{ queue: a, when: '{header.x', is: b }, things", "/0/when", "unbalanced braces");
    queue("{ queue: a, when: '{path.other}', is: b }, things", "/0/when", "the path has no {other}");
    queue("{ queue: a, when: '{event.type}', is: b }, things", "/0/when", "always a CloudEvent");
    queue(&format!("{{ queue: THINGS, {when}, is: b }}, things"), "/1", "QUEUE_THINGS");
    check(
        "queue: things",
        &format!("queue: [{{ queue: HOOKS, {when}, is: b }}, things]"),
        "/paths/~1hooks/post/x-sluicegate/queue",
        "QUEUE_HOOKS",
    );
}

#[test]
fn copies_are_checked() {
    let copy = |copies: &str, within: &str, reason: &str| {
        check(
            "queue: things\n",
            &format!("queue: things\n        copyTo: {copies}\n"),
            &format!("copyTo{within}"),
            reason,
        );
    };
    copy("audit", "", "list");
    copy("[audit, 7]", "/1", "queue name");
    copy("[audit, audit]", "/1", "already");
    copy("[things]", "/0", "already");
    copy("[THINGS]", "/0", "QUEUE_THINGS");
    let archive = |members: &str, reason: &str| {
        check("queue: things\n", &format!("{members}\n        archive: true\n"), "archive", reason);
    };
    archive("queue: archive", "already");
    archive("queue: things\n        copyTo: [archive]", "already");
    check(
        "type: hook.taken }",
        "type: hook.taken }\n  /other:\n    post: { operationId: other, security: [], x-sluicegate: { queue: a, type: t, archive: true } }",
        "/paths/~1other/post/x-sluicegate/archive",
        "needs idempotency",
    );
    check(
        "x-sluicegate: { queue: hooks, type: hook.taken }",
        "x-sluicegate: { queue: hooks, type: hook.taken, copyTo: [audit], idempotency: { key: '{header.a}' } }\n  /other:\n    \
         post: { operationId: other, security: [], x-sluicegate: { queue: a, type: t, copyTo: [b] } }",
        "/paths/~1other/post/x-sluicegate/copyTo",
        "needs idempotency",
    );
}

#[test]
fn a_condition_on_an_item_of_a_batch_is_a_fault() {
    let batch = VALID
        .replace("schema: { $ref: '#/components/schemas/Thing' }\n      responses", "{}\n      responses")
        .replace(
            "queue: things\n",
            "queue: [{ queue: a, when: '{body#/owner}', is: b }, things]\n        batch: true\n",
        );
    let found = faults(&batch);
    let is_it = |fault: &Fault| fault.pointer.ends_with("queue/0/when") && fault.reason.contains("may differ");
    assert!(found.iter().any(is_it), "{found:#?}");
}

#[test]
fn schemes_without_a_signature_are_checked() {
    const KEY: &str = "key: { type: apiKey, in: header, name: X-Api-Key, x-secret: keys }";
    let at = |within: &str| format!("/components/securitySchemes/key{within}");
    let key = |scheme: &str, within: &str, reason: &str| check(KEY, &format!("key: {scheme}"), &at(within), reason);
    let jwt = |members: &str, within: &str, reason: &str| {
        key(&format!("{{ type: http, scheme: bearer, x-jwt: {{ {members} }} }}"), &format!("/x-jwt{within}"), reason);
    };
    key("{ type: http, scheme: digest, x-secret: keys }", "/scheme", "`digest` is not supported; use basic or bearer");
    key("{ type: http, scheme: basic }", "/x-secret", "is missing");
    key("{ type: http, scheme: basic, x-secret: keys, x-signature: github }", "/x-signature", "unknown field");
    key("{ type: http, scheme: bearer }", "/x-jwt", "is missing; write `x-jwt: { issuer: https://…, audience: … }`");
    let with_secret = "{ type: http, scheme: bearer, x-secret: keys, x-authorizer: jwt }";
    key(with_secret, "/x-secret", "unknown field");
    key("{ type: apiKey, in: query, name: 'a b', x-secret: keys }", "/name", "not a parameter name");
    key("{ type: apiKey, in: cookie, name: 'a=b', x-secret: keys }", "/name", "not a cookie name");
    key("{ type: apiKey, in: query, name: a, x-secret: keys, x-signature: github }", "/in", "in a header");

    let (issuer, audience) = ("issuer: 'https://a.example'", "audience: api");
    jwt(issuer, "/audience", "a token that the issuer made for any other API would be accepted");
    jwt(audience, "/issuer", "is missing; write the tokens' claim `iss`, exactly");
    jwt(&format!("{issuer}, audience: []"), "/audience", "an empty list admits no token");
    jwt(&format!("{issuer}, audience: [api, 7]"), "/audience/1", "text that is not empty");
    jwt(&format!("issuer: a.example, {audience}"), "/issuer", "not an https URL");
    jwt(&format!("issuer: 'http://a.example', {audience}"), "/issuer", "not an https URL");
    jwt(&format!("issuer: 'https://user@a.example', {audience}"), "/issuer", "not an https URL");
    jwt(&format!("{issuer}, {audience}, jwks: 'http://a.example/keys'"), "/jwks", "not an https URL");
    jwt(&format!("{issuer}, {audience}, algorithms: []"), "/algorithms", "must be a list of algorithms");
    jwt(&format!("{issuer}, {audience}, algorithms: RS256"), "/algorithms", "must be a list");
    jwt(&format!("{issuer}, {audience}, algorithms: [RS256, none]"), "/algorithms/1", "proves nothing");
    jwt(&format!("{issuer}, {audience}, algorithms: [HS256]"), "/algorithms/0", "the key of an HMAC is shared");
    jwt(&format!("{issuer}, {audience}, algorithms: [ES512]"), "/algorithms/0", "use one of RS256, RS384");
    jwt(&format!("{issuer}, {audience}, skewSeconds: 301"), "/skewSeconds", "from 0 to 300");
    jwt(&format!("{issuer}, {audience}, principal: sub"), "/principal", "not the JSON pointer of a claim");
    jwt(&format!("{issuer}, {audience}, scopes: /a~2"), "/scopes", "not the JSON pointer of a claim");
    jwt(&format!("{issuer}, {audience}, audiences: api"), "/audiences", "unknown field");

    let url = "openIdConnectUrl: 'https://a.example/.well-known/openid-configuration'";
    key(&format!("{{ type: openIdConnect, {url} }}"), "/x-jwt", "is missing");
    key(
        "{ type: openIdConnect, x-jwt: { audience: a, issuer: 'https://b.example' } }",
        "/openIdConnectUrl",
        "is missing",
    );
    key(
        "{ type: openIdConnect, openIdConnectUrl: 'https://a.example/configuration', x-jwt: { audience: a } }",
        "/x-jwt/issuer",
        "openIdConnectUrl does not end in /.well-known/openid-configuration",
    );
    let flow = |scopes: &str| {
        format!(
            "{{ type: oauth2, flows: {{ clientCredentials: {{ tokenUrl: 'https://a.example/token', scopes: {scopes} }} }}, x-jwt: {{ {issuer}, {audience} }} }}"
        )
    };
    let scope = "/paths/~1things~1{thing_id}/post/security/0/key/0";
    check(
        KEY,
        &format!("key: {}", flow("{ things.read: Read }")),
        scope,
        "`things.write` is not a scope of the flows of `key`",
    );
    key("{ type: oauth2, x-jwt: { issuer: 'https://a.example', audience: a } }", "/flows", "is missing");
    key(
        &flow("{ things.write: Write }").replace("tokenUrl", "x-tokenUrl"),
        "/flows/clientCredentials/tokenUrl",
        "is missing",
    );
    key(&flow("{ things.write: Write }").replace("clientCredentials", "device"), "/flows/device", "unknown field");

    let both = format!("{{ type: http, scheme: bearer, x-authorizer: jwt, x-jwt: {{ {issuer}, {audience} }} }}");
    key(&both, "/x-authorizer", "either ingress checks the token (x-jwt) or the gateway does");
    key("{ type: http, scheme: bearer, x-authorizer: cognito }", "/x-authorizer", "must be jwt, lambda or iam");
    key(
        "{ type: http, scheme: bearer, x-authorizer: { type: iam, principal: /a } }",
        "/x-authorizer/principal",
        "the principal of IAM is the ARN",
    );
    check(KEY, "key: { type: mutualTLS }", &scope[..scope.len() - 2], "a client certificate has no scopes; write []");
    let iam = "key: { type: apiKey, in: header, name: Authorization, x-authorizer: iam }";
    check(KEY, iam, &scope[..scope.len() - 2], "IAM has no scopes");
    let bearer = format!("key: {{ type: http, scheme: bearer, x-jwt: {{ {issuer}, {audience} }} }}");
    let valid = VALID.replace(KEY, &bearer);
    assert_eq!(faults(&valid), []);
    for scope in ["'a b'", "'a\"b'", "'a\\b'", "'ä'"] {
        let found = faults(&valid.replace("[things.write]", &format!("[{scope}]")));
        assert!(found.len() == 1 && found[0].reason.contains("is not a scope"), "{scope}: {found:?}");
    }
    for name in ["'a b'", "'a\"b'", "a/b"] {
        let found =
            faults(&VALID.replace("\n    hook: {", &format!("\n    {name}: {{ type: mutualTLS }}\n    hook: {{")));
        assert!(found.len() == 1 && found[0].reason.contains("the name of a scheme is letters"), "{name}: {found:?}");
    }
}

#[test]
fn a_template_takes_only_what_every_caller_has() {
    check("thing.put", "thing.{claims#/a}", "type", "needs claims in every alternative of security");
    check("thing.put", "thing.{claims#a}", "type", "not a JSON pointer");
    check("thing.put", "thing.{claims.a}", "type", "unknown placeholder {claims.a}");
    check("thing.put", "thing.{principals}", "type", "unknown placeholder {principals}");
    let hook = "/paths/~1hooks/post/x-sluicegate/type";
    let valid = VALID.replace("type: hook.taken", "type: 'hook.{principal}'");
    assert_eq!(faults(&valid), []);
    for security in ["[]", "[{ hook: [] }, {}]"] {
        let found = faults(&valid.replace("[{ hook: [] }]", security));
        assert!(
            matches!(found.as_slice(), [fault] if fault.pointer == hook && fault.reason.contains("needs authentication")),
            "{security}: {found:?}"
        );
    }
    let either = VALID.replace("thing.put", "'thing.{claims#/a | path.thing_id}'");
    assert_eq!(faults(&either), []);
}

#[test]
fn security_schemes_are_checked() {
    let hook = "/components/securitySchemes/hook";
    let signature = format!("{hook}/x-signature");
    check("x-signature: github", "x-signature: githb", &signature, "did you mean `github`?");
    check("x-signature: github", "x-signature: {scheme: githb}", &format!("{signature}/scheme"), "not a known");
    check("x-signature: github", "x-signature: okta", &signature, "write `{ scheme: okta, accept: token }`");
    check(
        "x-signature: github",
        "x-signature: {scheme: adyen, accept: full}",
        &format!("{signature}/accept"),
        "partial",
    );
    let audience = "x-signature: {scheme: github, audience: a}";
    check("x-signature: github", audience, &format!("{signature}/audience"), "github has no audience to set");
    let google = "x-signature: {scheme: google-pubsub, accept: token}";
    check("x-signature: github", google, &signature, "write `audience: …` beside `scheme: google-pubsub`");
    let own = "x-signature: {signature: {header: x-hub-signature-256, claims: [{name: aud, values: []}]}, accept: token, assurance: token}";
    check("x-signature: github", own, &signature, "the claim `aud` has no values");
    let limits = "x-signature: {scheme: github, pastSeconds: 5}";
    check("x-signature: github", limits, &format!("{signature}/pastSeconds"), "signs no time");
    for (own, at, reason) in [
        ("{signature: {header: x-hub-signature-256, encoding: hax}}", "/signature/encoding", "unknown variant `hax`"),
        ("{signature: {heder: x-hub-signature-256}}", "/signature/heder", "unknown field `heder`"),
        ("{signature: {}}", "/signature", "set either `header` or `body`"),
        ("{signature: {header: x-hub-signature-256}, signed: '{boddy}'}", "/signed", "{boddy} is not a part"),
        ("{signature: {header: x-hub-signature-256}, algorithm: token}", "/assurance", "write `token`"),
        ("{signature: {header: x-hub-signature-256}, signed: a}", "/assurance", "not the whole body is signed"),
        ("{signature: {header: x-hub-signature-256}, timestamp: {header: x-t, unit: s}}", "/signed", "add {timestamp}"),
        ("{signature: {header: x-hub-signature-256}, id: x-i}", "/id", "the id is not signed"),
        (
            "{signature: {header: signature, message: {components: [content-digest, Date]}}, timestamp: {field: created, unit: s, pastSeconds: 9}}",
            "/signature/message/components/1",
            "in lower case",
        ),
        ("{signature: {header: signature, message: {component: []}}}", "/signature/message/component", "unknown field"),
        (
            "{signature: {header: x-hub-signature-256, field: a, separator: ä}}",
            "/signature/separator",
            "the separator is `,`",
        ),
        // A token and an id are in a single header each.
        (
            "{signature: {header: [x-hub-signature-256, 'x-{n}'], claim: {name: a}}}",
            "/signature/header",
            "`x-{n}` is not a header name",
        ),
        (
            "{signature: {header: x-hub-signature-256}, id: 'x-{n}', signed: '{id}.{body}'}",
            "/id",
            "`x-{n}` is not a header name",
        ),
        (
            "{signature: {header: x-hub-signature-256}, handshakes: [{when: {method: GET}, status: 99}]}",
            "/handshakes/0/status",
            "200 to 599",
        ),
    ] {
        let own = format!("x-signature: {own}");
        check("x-signature: github", &own, &format!("{signature}{at}"), reason);
    }
    check("x-signature: github", "x-signatur: github", &format!("{hook}/x-signatur"), "unknown field");
    check(", x-secret: hooks", "", &format!("{hook}/x-secret"), "is missing");
    check("name: x-hub-signature-256", "name: x hub", &format!("{hook}/name"), "not a header name");
    check(
        "key: { type: apiKey, in: header",
        "key: { type: apiKey, in: body",
        "/components/securitySchemes/key/in",
        "`body` is not known; must be header, query or cookie",
    );
    check("hook: { type: apiKey", "hook: { type: token", &format!("{hook}/type"), "`token` is not supported");
    let name = format!("{hook}/name");
    check("name: x-hub-signature-256", "name: X-Signature", &name, "write x-hub-signature-256");
    // The header of another preset, and a declared API key's.
    check("name: x-hub-signature-256", "name: webhook-signature", &name, "write x-hub-signature-256");
    check("x-signature: github", "x-signature: standard-webhooks", &name, "webhook-signature or svix-signature");
    for (written, bad) in [("keys", r#""k\u0007""#), ("hooks", r#""\uFDD0""#), ("hooks", "a b")] {
        let pointer = if written == "keys" { "/components/securitySchemes/key" } else { hook };
        let (from, to) = (format!("x-secret: {written}"), format!("x-secret: {bad}"));
        check(&from, &to, &format!("{pointer}/x-secret"), "printable ASCII");
    }
}

#[test]
fn a_list_of_secrets_is_of_one_kind() {
    let pointer = |scheme: &str| format!("/components/securitySchemes/{scheme}/x-secret");
    check("x-secret: hooks", "x-secret: keys", &pointer("hook"), "another kind of secret");
    let standard = "\n    other: { type: apiKey, in: header, name: webhook-signature, x-secret: hooks, x-signature: standard-webhooks }";
    let hook = "x-signature: github }";
    check(hook, &format!("{hook}{standard}"), &pointer("other"), "another kind of secret");
    // Two schemes of one kind share a list.
    let same = VALID.replace(
        hook,
        &format!(
            "{hook}{}",
            standard.replace("webhook-signature", "x-hub-signature-256").replace("standard-webhooks", "github")
        ),
    );
    assert_eq!(faults(&same), Vec::new());
}

#[test]
fn a_signature_may_declare_any_name_of_its_header_in_any_case() {
    for (preset, name) in [
        ("github", "x-hub-signature-256"),
        ("github", "X-Hub-Signature-256"),
        ("standard-webhooks", "webhook-signature"),
        ("standard-webhooks", "Webhook-Signature"),
        ("standard-webhooks", "Svix-Signature"),
    ] {
        let yaml = VALID.replace("x-signature: github", &format!("x-signature: {preset}"));
        let yaml = yaml.replace("name: x-hub-signature-256", &format!("name: {name}"));
        assert_eq!(faults(&yaml), [], "{preset} {name}");
    }
}

#[test]
fn schemas_are_checked() {
    let owner = "/components/schemas/Thing/properties/owner";
    check("owner: { type: string", "owner: { type: strin", &format!("{owner}/type"), "not a JSON Schema");
    check("'^[a-z]+$'", "'^[a-z+$'", &format!("{owner}/pattern"), "not a JSON Schema");
    check("owner: { type: string", "owner: { maxLenght: 5", &format!("{owner}/maxLenght"), "not a keyword");
    check("owner: { type: string", "owner: { nullable: true", &format!("{owner}/nullable"), "OpenAPI 3.0");
    check(
        "owner: { type: string",
        "owner: { x-format-assertion: true, format: uid",
        &format!("{owner}/format"),
        "not a known format",
    );
    check(
        "owner: { type: string",
        "owner: { x-format-assertion: 1, format: uuid",
        &format!("{owner}/x-format-assertion"),
        "true or false",
    );
    check("paths:\n", "x-format-assertion: yes please\npaths:\n", "/x-format-assertion", "true or false");
    check("owner: { type: string", "owner: { $id: a", &format!("{owner}/$id"), "not supported");
    check("owner: { type: string", "owner: { minLength: -1", &format!("{owner}/minLength"), "not a JSON Schema");
    check(
        "owner: { type: string",
        "owner: { $schema: 'http://json-schema.org/draft-07/schema#'",
        &format!("{owner}/$schema"),
        "2020-12",
    );
    check("schema: { type: integer }", "schema: { type: 1 }", "/POST/parameters/0/schema/type", "not a JSON Schema");
    check(
        "  schemas:\n",
        "  schemas:\n    Unused: { minimum: one }\n",
        "/components/schemas/Unused/minimum",
        "not a JSON Schema",
    );
}

#[test]
fn a_schema_may_have_keywords_beside_its_reference() {
    let chain = "  schemas:\n    Alias: { $ref: '#/components/schemas/Narrow' }\n    Narrow: { $ref: '#/components/schemas/Thing', minProperties: 1 }\n";
    assert_eq!(faults(&VALID.replace("  schemas:\n", chain)), []);
    check(
        "  schemas:\n",
        "  schemas:\n    Loop: { $ref: '#/components/schemas/Loop' }\n",
        "/components/schemas/Loop/$ref",
        "is circular",
    );
}

#[test]
fn the_document_is_checked() {
    check("openapi: 3.1.0", "openapi: 3.0.3", "/openapi", "3.1");
    check("openapi: 3.1.0", "openapi: 3.1", "/openapi", "3.1");
    check("openapi: 3.1.0\n", "", "/openapi", "is missing");
    check("title: Test, ", "", "/info/title", "is missing");
    check("components:\n", "component: {}\ncomponents:\n", "/component", "unknown field");
    check("components:\n", "components:\n  schema: {}\n", "/components/schema", "unknown field");
    check(
        "components:\n",
        "jsonSchemaDialect: http://json-schema.org/draft-07/schema#\ncomponents:\n",
        "/jsonSchemaDialect",
        "2020-12",
    );
    check("components:\n", "---\ncomponents:\n", "/", "second YAML document");
}

#[test]
fn yaml_is_checked() {
    check("title: Test", "title: Test, title: Again", "/info/title", "already there");
    check("title: Test", "title: [", "/", "not YAML");
    check("delay: 15m", "delay: 15m\n        delay: 10m", "delay", "already there");
    check("200:", "[200]:", "/POST/responses", "key must be text");
    check(
        "const: { $ref: not a reference }",
        "const: .nan",
        "/components/schemas/Thing/properties/$ref/const",
        "infinity",
    );
    check("components:\n", "x-a: &a 1\nx-b: *a\ncomponents:\n", "/x-b", "aliases");
    check("components:\n", "x-a: { <<: 1 }\ncomponents:\n", "/x-a/<<", "merge keys");
    check("components:\n", "x-a: !!int abc\ncomponents:\n", "/x-a", "tag");
    assert!(faults("")[0].reason.contains("empty"));
    assert!(faults(&"- ".repeat(100_000))[0].reason.contains("nested deeper"));
    assert!(!faults(&"[".repeat(100_000)).is_empty());
}

#[test]
fn every_fault_is_reported_once_in_the_order_of_the_document() {
    let yaml = VALID.replace("queue: things", "queu: things").replace("pattern: '^[a-z]+$'", "pattern: '['");
    let yaml = yaml.replace("x-signature: github", "x-signature: git");
    let found: Vec<_> = faults(&yaml).iter().map(|fault| (fault.line, fault.pointer.clone())).collect();
    let expect = |text: &str, pointer: &str| {
        (yaml.lines().position(|line| line.contains(text)).unwrap() + 1, pointer.replace("POST", POST))
    };
    assert_eq!(
        found,
        [
            expect("      x-sluicegate:", "POST/x-sluicegate/queue"),
            expect("queu: things", "POST/x-sluicegate/queu"),
            expect("owner: {", "/components/schemas/Thing/properties/owner/pattern"),
            expect("x-signature: git", "/components/securitySchemes/hook/x-signature"),
        ]
    );
}

#[test]
fn a_fault_reads_as_file_line_pointer_reason() {
    let fault = &faults(&VALID.replace("        queue: things\n", ""))[0];
    assert_eq!(fault.to_string(), format!("api.yaml:18: {POST}/x-sluicegate/queue: is missing"));
}

proptest! {
    // No regression files: a failure prints its input, which can be added above as a case.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// `sluicegate check` accepts any text.
    #[test]
    fn parse_never_panics(start in 0..VALID.len(), length in 0..40_usize, with in "[ -~\n\t\u{0}é{}\\[\\]:#&*'\"-]{0,12}") {
        let end = (start + length).min(VALID.len());
        let _ = Contract::parse("api.yaml", &format!("{}{with}{}", &VALID[..start], &VALID[end..]));
    }

    /// Replaces one line of the contract by another, which often remains valid YAML.
    #[test]
    fn parse_never_panics_on_misplaced_lines(from in 0..LINES, to in 0..LINES) {
        let mut lines: Vec<_> = VALID.lines().collect();
        assert_eq!(lines.len(), LINES);
        lines[to] = lines[from];
        let _ = Contract::parse("api.yaml", &lines.join("\n"));
    }

    /// A scheme of one's own is accepted or has faults, each at a place within it. Long runs: `PROPTEST_CASES=100000`.
    #[test]
    fn a_scheme_of_ones_own_has_its_faults_within_it(fields in proptest::collection::vec((
        proptest::sample::select(SCHEME_FIELDS), proptest::sample::select(SCHEME_VALUES)), 0..6)) {
        let fields: std::collections::BTreeMap<_, _> = fields.into_iter().collect();
        let own: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let yaml = VALID.replace("x-signature: github", &format!("x-signature: {{ {} }}", own.join(", ")));
        if let Err(found) = Contract::parse("api.yaml", &yaml) {
            for Fault { pointer, reason, .. } in found.iter() {
                // A scheme that brings no idempotency key is used by an operation.
                let within = ["/components/securitySchemes/hook", "/paths/~1hooks/post"];
                let is_within = within.iter().any(|start| pointer.starts_with(start));
                prop_assert!(is_within && !reason.is_empty(), "{pointer}: {reason}\n{own:?}");
            }
        }
    }
}

const SCHEME_FIELDS: &[&str] = &[
    "signature",
    "algorithm",
    "signed",
    "secret",
    "timestamp",
    "id",
    "each",
    "assurance",
    "handshakes",
    "accept",
    "scheme",
    "pastSeconds",
    "unknown",
];

const SCHEME_VALUES: &[&str] = &[
    "{ header: x-hub-signature-256 }",
    "{ header: signature, message: { components: [content-digest] } }",
    "{ header: x-hub-signature-256, message: { components: ['@status', Date] } }",
    "{ header: [x-hub-signature-256, 'x y'], field: v1, separator: é }",
    "{ body: /a~2, claim: { name: a } }",
    "{ field: created, unit: s, pastSeconds: 300 }",
    "{ header: x-time, unit: rfc3339, pastSeconds: -1 }",
    "'{timestamp}.{body}'",
    "['{id}', '{body#/a}', '{']",
    "{ encoding: spki, prefixes: [a] }",
    "ed25519",
    "token",
    "partial",
    "github",
    "x-id",
    "[]",
    "7",
    "null",
];
