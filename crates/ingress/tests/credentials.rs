//! Credentials besides tokens and signatures: HTTP Basic, keys in query and cookie, and what a gateway has checked, in
//! the events of each service.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;

/// Returns an ingress whose only route has this scheme with these scopes.
fn ingress(scheme: &str, scopes: &str) -> TestIngress {
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
         security: [{{ s: [{scopes}] }}]\n      requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
         x-sluicegate: {{ queue: q, type: t, subject: '{{principal}}' }}\ncomponents:\n  securitySchemes:\n    s: {scheme}\n"
    );
    let contract = Contract::parse("take.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}"));
    TestIngress::new(contract).api_key("keys", "a key: ü", "acme", &["write"]).api_key(
        "keys",
        "other",
        "globex",
        &["*"],
    )
}

/// A form of event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    HttpApi2,
    HttpApi1,
    Rest,
    FunctionUrl,
    Alb,
    AlbMulti,
}

const FORMS: [Form; 6] = [Form::HttpApi2, Form::HttpApi1, Form::Rest, Form::FunctionUrl, Form::Alb, Form::AlbMulti];

/// Returns POST /take with these headers, cookies, query and members of `requestContext`.
fn event(form: Form, headers: &[(&str, &str)], query: &[(&str, &str)], context: &Value) -> Value {
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/json"));
    let single: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let multi: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect();
    let mut event = match form {
        Form::HttpApi2 | Form::FunctionUrl => {
            let host = if form == Form::FunctionUrl { "a.lambda-url.eu-west-1.on.aws" } else { "a.example.com" };
            let raw: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let cookies = single.get("cookie").and_then(Value::as_str).map(|text| text.split("; ").collect::<Vec<_>>());
            let mut single = single.clone();
            single.remove("cookie");
            json!({
                "version": "2.0", "rawPath": "/take", "rawQueryString": raw.join("&"), "headers": single,
                "cookies": cookies,
                "requestContext": {
                    "domainName": host, "stage": "$default", "http": { "method": "POST", "sourceIp": "192.0.2.1" },
                },
            })
        }
        Form::HttpApi1 | Form::Rest => {
            let parameters: serde_json::Map<String, Value> =
                query.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect();
            let mut event = json!({
                "httpMethod": "POST", "path": "/take", "headers": single, "multiValueHeaders": multi,
                "multiValueQueryStringParameters": parameters,
                "requestContext": { "stage": "prod", "identity": { "sourceIp": "192.0.2.1" } },
            });
            if form == Form::HttpApi1 {
                event["version"] = "1.0".into();
            }
            event
        }
        Form::Alb | Form::AlbMulti => {
            let parameters: serde_json::Map<String, Value> =
                query.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            let name = if form == Form::Alb { "headers" } else { "multiValueHeaders" };
            json!({
                "httpMethod": "POST", "path": "/take", "queryStringParameters": parameters,
                name: if form == Form::Alb { single } else { multi },
                "requestContext": { "elb": { "targetGroupArn": "arn" } },
            })
        }
    };
    event["body"] = "{}".into();
    for (name, value) in context.as_object().unwrap() {
        match (&mut event["requestContext"][name], value) {
            (Value::Object(known), Value::Object(more)) => known.extend(more.clone()),
            (place, value) => *place = value.clone(),
        }
    }
    event
}

/// An answer: its status, code and challenge, and the principal of the message.
type Answer = (u64, String, String, Option<String>);

async fn send(ingress: &TestIngress, event: &Value) -> Answer {
    let before = ingress.stored().len();
    let answer = ingress.handle(&event.to_string()).await.unwrap();
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    let challenge = match &answer["multiValueHeaders"]["www-authenticate"][0] {
        Value::String(challenge) => challenge.clone(),
        _ => answer["headers"]["www-authenticate"].as_str().unwrap_or_default().to_owned(),
    };
    let stored = ingress.stored();
    let principal = stored.get(before).map(|stored| stored.envelope.principal().unwrap_or_default().to_owned());
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    (answer["statusCode"].as_u64().unwrap(), code, challenge, principal)
}

fn accepted(principal: &str) -> Answer {
    (202, String::new(), String::new(), Some(principal.to_owned()))
}

fn refused(code: &str, challenge: &str) -> Answer {
    (if code == "scope_missing" { 403 } else { 401 }, code.to_owned(), challenge.to_owned(), None)
}

const BASIC: &str = "{ type: http, scheme: basic, x-secret: keys }";

#[tokio::test]
async fn a_user_and_a_password_are_a_principal_and_its_key() {
    let challenge = r#"Basic realm="s", charset="UTF-8""#;
    let (missing, invalid) = (refused("credentials_missing", challenge), refused("credentials_invalid", challenge));
    let of = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
    for form in FORMS {
        for (authorization, expected) in [
            // A password may have a colon.
            (of("acme:a key: ü"), accepted("acme")),
            (of("globex:other"), accepted("globex")),
            (of("acme:a key: ü").replace("Basic", "bAsIc"), accepted("acme")),
            (of("globex:a key: ü"), invalid.clone()),
            (of("acme:other"), invalid.clone()),
            (of("acme:"), invalid.clone()),
            (of(":a key: ü"), invalid.clone()),
            (of("acme"), invalid.clone()),
            ("Basic".to_owned(), invalid.clone()),
            ("Basic %%%".to_owned(), invalid.clone()),
            (format!("Basic {}", BASE64_STANDARD.encode([0xff, b':', 0xfe])), invalid.clone()),
            ("Bearer a".to_owned(), missing.clone()),
        ] {
            let event = event(form, &[("authorization", &authorization)], &[], &json!({}));
            assert_eq!(send(&ingress(BASIC, ""), &event).await, expected, "{form:?} {authorization}");
        }
        let none = event(form, &[], &[], &json!({}));
        assert_eq!(send(&ingress(BASIC, ""), &none).await, missing, "{form:?}");
        let scoped = event(form, &[("authorization", &of("acme:a key: ü"))], &[], &json!({}));
        assert_eq!(send(&ingress(BASIC, "admin"), &scoped).await, refused("scope_missing", ""), "{form:?}");
    }
}

#[tokio::test]
async fn a_key_is_read_from_its_place_alone() {
    let query = "{ type: apiKey, in: query, name: api_key, x-secret: keys }";
    let cookie = "{ type: apiKey, in: cookie, name: sid, x-secret: keys }";
    for form in FORMS {
        let (of_query, of_cookie) = (r#"ApiKey query="api_key""#, r#"ApiKey cookie="sid""#);
        for (scheme, headers, parameters, expected) in [
            (query, &[][..], &[("api_key", "other")][..], accepted("globex")),
            (query, &[], &[("api_key", "guess")], refused("credentials_invalid", of_query)),
            (query, &[("api_key", "other")], &[("API_KEY", "other")], refused("credentials_missing", of_query)),
            (cookie, &[("cookie", "sid=other")], &[], accepted("globex")),
            (cookie, &[("cookie", "a=b; sid=other; c=d")], &[], accepted("globex")),
            (cookie, &[("cookie", "sid=guess")], &[], refused("credentials_invalid", of_cookie)),
            (cookie, &[("cookie", "sid=other; sid=other")], &[], refused("credentials_invalid", of_cookie)),
            (cookie, &[("cookie", "asid=other; sid2=other")], &[], refused("credentials_missing", of_cookie)),
            (cookie, &[("sid", "other")], &[("sid", "other")], refused("credentials_missing", of_cookie)),
        ] {
            let event = event(form, headers, parameters, &json!({}));
            assert_eq!(send(&ingress(scheme, ""), &event).await, expected, "{form:?} {headers:?} {parameters:?}");
        }
    }
    let twice = event(Form::HttpApi2, &[], &[("api_key", "other"), ("api_key", "other")], &json!({}));
    let answer = send(&ingress(query, ""), &twice).await;
    assert_eq!(answer, refused("credentials_invalid", r#"ApiKey query="api_key""#));
}

#[tokio::test]
async fn what_the_gateway_has_checked_counts_where_the_contract_says_so() {
    let certificate = json!({ "clientCert": { "subjectDN": "CN=partner", "issuerDN": "CN=ca" } });
    let arn = "arn:aws:iam::123456789012:user/deploy";
    let claims = json!({ "sub": "acme", "scope": "write read", "org": "o-1" });
    let of_lambda = json!({ "principalId": "acme", "scope": "write", "tenant": "t-1", "integrationLatency": 5 });
    let v2 = |name: &str, value: Value| json!({ "authorizer": { name: value } });
    let certificates = "{ type: mutualTLS }";
    let iam =
        "{ type: apiKey, in: header, name: Authorization, x-authorizer: iam, x-amazon-apigateway-authtype: awsSigv4 }";
    let jwt = "{ type: http, scheme: bearer, x-authorizer: jwt }";
    let lambda = "{ type: apiKey, in: header, name: x-key, x-authorizer: lambda }";
    let tenant = "{ type: http, scheme: bearer, x-authorizer: { type: lambda, principal: /tenant } }";
    let at =
        |scheme: &'static str, form: Form, context: Value, principal: &'static str| (scheme, form, context, principal);
    let cases = [
        at(certificates, Form::HttpApi2, json!({ "authentication": certificate.clone() }), "CN=partner"),
        at(certificates, Form::HttpApi1, json!({ "identity": certificate }), "CN=partner"),
        at(certificates, Form::Rest, json!({ "identity": certificate }), "CN=partner"),
        at(iam, Form::HttpApi2, v2("iam", json!({ "userArn": arn, "accountId": "1" })), arn),
        at(iam, Form::FunctionUrl, v2("iam", json!({ "userArn": arn })), arn),
        at(iam, Form::HttpApi1, json!({ "identity": { "userArn": arn } }), arn),
        at(iam, Form::Rest, json!({ "identity": { "userArn": arn } }), arn),
        at(jwt, Form::HttpApi2, v2("jwt", json!({ "claims": claims, "scopes": null })), "acme"),
        at(jwt, Form::HttpApi1, v2("claims", claims.clone()), "acme"),
        at(jwt, Form::Rest, v2("claims", claims.clone()), "acme"),
        at(lambda, Form::HttpApi2, v2("lambda", of_lambda.clone()), "acme"),
        at(lambda, Form::HttpApi1, json!({ "authorizer": of_lambda }), "acme"),
        at(lambda, Form::Rest, json!({ "authorizer": of_lambda }), "acme"),
        at(tenant, Form::HttpApi2, v2("lambda", of_lambda.clone()), "t-1"),
        at(tenant, Form::Rest, json!({ "authorizer": of_lambda }), "t-1"),
    ];
    for (scheme, form, context, principal) in &cases {
        let answer = send(&ingress(scheme, ""), &event(*form, &[], &[], context)).await;
        assert_eq!(answer, accepted(principal), "{scheme} {form:?}");
    }
    // Headers that a client can send are not a gateway's.
    let forged = [
        ("authorization", "Bearer a.b.c"),
        ("x-amzn-mtls-clientcert-subject", "CN=partner"),
        ("x-amzn-oidc-identity", "acme"),
        ("x-amzn-oidc-data", "a.b.c"),
        ("x-key", "acme"),
    ];
    for scheme in [certificates, iam, jwt, lambda, tenant] {
        for form in FORMS {
            for context in [
                json!({}),
                json!({ "authorizer": null }),
                json!({ "authorizer": {} }),
                json!({ "authorizer": { "jwt": 7, "lambda": [], "iam": {} } }),
            ] {
                let (status, code, challenge, stored) =
                    send(&ingress(scheme, ""), &event(form, &forged, &[], &context)).await;
                assert_eq!((status, stored), (401, None), "{scheme} {form:?} {context}");
                assert!(code.starts_with("credentials_") && !challenge.is_empty(), "{scheme} {form:?}: {code}");
            }
        }
        // Nor does one identity count as another.
        for (of, form, context, _) in cases
            .iter()
            .filter(|(of, ..)| *of != scheme && (*of, scheme) != (lambda, tenant) && (*of, scheme) != (tenant, lambda))
        {
            let answer = send(&ingress(scheme, ""), &event(*form, &[], &[], context)).await;
            assert_eq!((answer.0, answer.3), (401, None), "{of} as {scheme} {form:?}");
        }
    }
    // A contract that does not say so takes no notice.
    for (_, form, context, _) in &cases {
        let key = "{ type: apiKey, in: header, name: x-api-key, x-secret: keys }";
        let answer = send(&ingress(key, ""), &event(*form, &[], &[], context)).await;
        assert_eq!(answer, refused("credentials_missing", r#"ApiKey header="x-api-key""#), "{form:?}");
    }
}

#[tokio::test]
async fn scopes_of_checked_claims_are_checked() {
    let jwt = "{ type: http, scheme: bearer, x-authorizer: jwt }";
    let lacks = refused("scope_missing", r#"Bearer realm="s", error="insufficient_scope", scope="write""#);
    for (scope, expected) in [
        (json!("write read"), accepted("acme")),
        // A list, as API Gateway makes a text of it.
        (json!("[read write]"), accepted("acme")),
        (json!("read"), lacks.clone()),
        (json!(null), lacks),
    ] {
        let context = json!({ "authorizer": { "jwt": { "claims": { "sub": "acme", "scope": scope } } } });
        let answer = send(&ingress(jwt, "write"), &event(Form::HttpApi2, &[], &[], &context)).await;
        assert_eq!(answer, expected, "{scope}");
    }
}

/// OpenAPI 3.1, Operation Object: `security` of an operation replaces that of the document, `[]` removes it.
#[tokio::test]
async fn the_security_of_an_operation_replaces_that_of_the_document() {
    for (security, without_key, with_key) in
        [("", 401, 202), ("security: []\n      ", 202, 202), ("security: [{ t: [] }]\n      ", 401, 401)]
    {
        let yaml = format!(
            "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\nsecurity: [{{ s: [] }}]\npaths:\n  /take:\n    post:\n      \
             operationId: take\n      {security}requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
             x-sluicegate: {{ queue: q, type: t }}\ncomponents:\n  securitySchemes:\n    \
             s: {{ type: apiKey, in: header, name: x-key, x-secret: keys }}\n    \
             t: {{ type: apiKey, in: header, name: x-other, x-secret: keys }}\n"
        );
        let contract = Contract::parse("take.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}"));
        let ingress = TestIngress::new(contract).api_key("keys", "a key", "acme", &["*"]);
        let status = async |headers: &[(&str, &str)]| {
            let event = event(Form::HttpApi2, headers, &[], &json!({}));
            ingress.handle(&event.to_string()).await.unwrap()["statusCode"].clone()
        };
        assert_eq!(status(&[]).await, without_key, "{security}");
        assert_eq!(status(&[("x-key", "a key")]).await, with_key, "{security}");
    }
}
