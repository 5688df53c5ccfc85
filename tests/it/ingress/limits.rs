//! Rate limits: whom they count, several at a time, and what answers say of them.

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_queue::SendError;

use super::bodies::taking;
use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress_of, secret_text, shipped_with};

/// Returns the shipped contract whose orders have these limits.
pub(super) fn contract(limits: &str) -> &'static Contract {
    let shipped = "rateLimit:\n          limit: 6000\n          window: 60s\n          by: principal\n";
    shipped_with(&[(shipped, &format!("rateLimit: {limits}\n"))])
}

/// Returns an order with this key, from this address.
pub(super) fn order(key: &str, address: Option<&str>) -> Value {
    let headers = ORDER_HEADERS.map(|(name, value)| (name, if name == "x-api-key" { key } else { value }));
    let mut event = http_api("POST", "/orders", &headers, ORDER);
    event["requestContext"]["http"]["sourceIp"] = address.map_or(Value::Null, Value::from);
    event
}

/// Sends orders, and returns the statuses. `writer` is a key of acme, `old` and `new` are keys of globex.
async fn statuses(limits: &str, orders: &[(&str, Option<&str>)]) -> Vec<u64> {
    let broker = Broker::default();
    let ingress = ingress_of(contract(limits), &broker, &Store::with(&secret_text()));
    let mut statuses = Vec::new();
    for (key, address) in orders {
        statuses.push(answer(&ingress, &order(key, *address)).await["statusCode"].as_u64().unwrap());
    }
    let accepted = statuses.iter().filter(|status| **status == 202).count();
    assert_eq!(broker.len(), accepted, "nothing refused is stored");
    statuses
}

#[tokio::test]
async fn a_limit_counts_principals_addresses_or_the_route() {
    let (one, two) = (Some("192.0.2.1"), Some("192.0.2.2"));
    let of = |by: &str| format!("{{ limit: 2, window: 1h, by: {by} }}");
    let requests = [("writer", one), ("writer", two), ("old", two), ("writer", one), ("new", two), ("old", one)];
    assert_eq!(statuses(&of("principal"), &requests).await, [202, 202, 202, 429, 202, 429]);
    assert_eq!(statuses(&of("address"), &requests).await, [202, 202, 202, 202, 429, 429]);
    assert_eq!(statuses(&of("route"), &requests).await, [202, 202, 429, 429, 429, 429]);
}

#[tokio::test]
async fn an_address_is_a_network_of_ipv6_and_one_without_text() {
    let limits = "{ limit: 1, window: 1h, by: address }";
    for (first, second, status) in [
        (Some("192.0.2.1"), Some("192.0.2.2"), 202),
        (Some("2001:db8:1:2::1"), Some("2001:db8:1:2:ffff::9"), 429),
        (Some("2001:db8:1:2::1"), Some("2001:db8:1:3::1"), 202),
        (Some("::ffff:192.0.2.1"), Some("::ffff:192.0.2.2"), 202),
        (None, None, 429),
        (None, Some(""), 429),
        (None, Some("192.0.2.1"), 202),
    ] {
        let found = statuses(limits, &[("writer", first), ("old", second)]).await;
        assert_eq!(found, [202, status], "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_counts_for_no_other() {
    let (principal, route) = ("{ limit: 2, window: 1h, by: principal }", "{ limit: 3, window: 1h, by: route }");
    let requests = [("writer", None), ("writer", None), ("writer", None), ("old", None), ("new", None)];
    for limits in [format!("[{principal}, {route}]"), format!("[{route}, {principal}]")] {
        // The third is one too many of acme, the last one too many of the route.
        assert_eq!(statuses(&limits, &requests).await, [202, 202, 429, 202, 429], "{limits}");
    }
}

const TWO: &str = "[{ limit: 5, window: 60s, by: principal }, { limit: 9, window: 1h, by: route }]";

/// Returns the members of a List of Strings with two integer parameters, such as `"name";q=1;w=2`.
fn members<'a>(field: &'a str, parameters: [&str; 2]) -> Vec<(&'a str, u64, u64)> {
    let member = |text: &'a str| {
        let (name, rest) = text.strip_prefix('"')?.split_once('"')?;
        let (first, second) = rest.strip_prefix(&format!(";{}=", parameters[0]))?.split_once(';')?;
        let second = second.strip_prefix(parameters[1])?.strip_prefix('=')?;
        Some((name, first.parse().ok()?, second.parse().ok()?))
    };
    field.split(", ").map(|text| member(text).unwrap_or_else(|| panic!("{field}"))).collect()
}

/// Checks what is left: names, requests, and the longest time until it is one more.
#[track_caller]
fn check_left(answer: &Value, expected: &[(&str, u64, u64)]) {
    let left = answer["headers"]["ratelimit"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let left = members(left, ["r", "t"]);
    // The test takes time.
    let is_close = |(found, expected): (&(&str, u64, u64), &(&str, u64, u64))| {
        (found.0, found.1) == (expected.0, expected.1) && found.2 <= expected.2 && found.2 + 5 >= expected.2
    };
    assert!(left.len() == expected.len() && left.iter().zip(expected).all(is_close), "{left:?} is not {expected:?}");
}

#[tokio::test]
async fn an_answer_has_what_is_left_once_the_limits_were_checked() {
    let ingress = ingress_of(contract(TWO), &Broker::default(), &Store::with(&secret_text()));
    let check = async |event: Value, status: u16, left: &[(&str, u64, u64)]| {
        let answer = answer(&ingress, &event).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
        if left.is_empty() {
            let headers = answer["headers"].as_object().unwrap();
            assert!(!headers.keys().any(|name| name.starts_with("ratelimit")), "{answer}");
            return;
        }
        let policy = answer["headers"]["ratelimit-policy"].as_str().unwrap();
        assert_eq!(policy, r#""principal";q=5;w=60, "route";q=9;w=3600"#);
        check_left(&answer, left);
    };
    let with = |key: &str, name: &str, value: &str, body: &str| {
        let mut event = order(key, None);
        event["headers"][name] = value.into();
        event["body"] = body.into();
        event
    };
    // Refused before the limits are checked.
    check(with("guess", "a", "b", ORDER), 401, &[]).await;
    check(with("reader", "a", "b", ORDER), 403, &[]).await;
    check(with("writer", "a", "b", &"x".repeat(262_145)), 413, &[]).await;
    check(http_api("POST", "/nowhere", &[], ""), 404, &[]).await;
    check(http_api("GET", "/openapi.json", &[], ""), 200, &[]).await;
    // Checked, and then admitted or refused.
    check(with("writer", "a", "b", ORDER), 202, &[("principal", 4, 12), ("route", 8, 400)]).await;
    check(with("writer", "a", "b", "{"), 400, &[("principal", 3, 12), ("route", 7, 400)]).await;
    check(with("writer", "content-type", "text/plain", ORDER), 415, &[("principal", 2, 12), ("route", 6, 400)]).await;
    check(with("old", "a", "b", "{}"), 422, &[("principal", 4, 12), ("route", 5, 400)]).await;
    check(with("writer", "a", "b", ORDER), 202, &[("principal", 1, 12), ("route", 4, 400)]).await;
    check(with("writer", "a", "b", ORDER), 202, &[("principal", 0, 12), ("route", 3, 400)]).await;
    // Only the limit that refuses is known to be used up.
    check(with("writer", "a", "b", ORDER), 429, &[("principal", 0, 12)]).await;
    check(with("new", "a", "b", ORDER), 202, &[("principal", 3, 12), ("route", 2, 400)]).await;
}

#[tokio::test]
async fn a_route_without_a_limit_has_no_fields() {
    let ingress = ingress_of(contract(TWO), &Broker::default(), &Store::with(&secret_text()));
    let answer = answer(&ingress, &http_api("POST", "/webhooks/github", &[], "")).await;
    assert_eq!(answer["statusCode"], 401);
    let operation = json!({ "requestBody": { "content": { "text/plain": {} } } });
    let taken = super::answer(&taking(&operation, &Broker::default()), &take("text/plain", "x")).await;
    assert_eq!(taken["statusCode"], 202, "{taken}");
    for answer in [answer, taken] {
        assert!(!answer["headers"].to_string().contains("ratelimit"), "{answer}");
    }
}

/// Returns a request of the route of [`taking`].
fn take(media_type: &str, body: &str) -> Value {
    http_api("POST", "/take/a", &[("content-type", media_type)], body)
}

#[tokio::test]
async fn a_batch_is_one_request_and_its_answer_has_the_fields() {
    let limit = json!({ "limit": 2, "window": "1h", "by": "address" });
    let operation = json!({
        "requestBody": { "content": { "application/json": {} } },
        "x-sluicegate": { "batch": true, "rateLimit": limit },
    });
    let ingress = taking(&operation, &Broker::default());
    let accepted = answer(&ingress, &take("application/json", "[1, 2, 3]")).await;
    assert_eq!(accepted["statusCode"], 202, "{accepted}");
    check_left(&accepted, &[("address", 1, 1_800)]);
    check_left(&answer(&ingress, &take("application/json", "[]")).await, &[("address", 0, 1_800)]);
    assert_eq!(answer(&ingress, &take("application/json", "[1]")).await["statusCode"], 429);
}

#[tokio::test]
async fn a_refusal_names_the_limit_and_when_to_come_back() {
    let ingress = ingress_of(contract(TWO), &Broker::default(), &Store::with(&secret_text()));
    let refused_by = async |key: &str, name: &str, wait_s: u64| {
        let refused = answer(&ingress, &order(key, None)).await;
        let problem: Value = serde_json::from_str(refused["body"].as_str().unwrap()).unwrap();
        assert_eq!((&refused["statusCode"], &problem["code"]), (&429.into(), &"rate_limited".into()), "{refused}");
        assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(problem["title"], "Request cannot be satisfied as assigned quota has been exceeded");
        assert_eq!(problem["violated-policies"], json!([name]));
        check_left(&refused, &[(name, 0, wait_s)]);
        // The two waits are one.
        let t = members(refused["headers"]["ratelimit"].as_str().unwrap(), ["r", "t"])[0].2;
        assert_eq!(refused["headers"]["retry-after"], t.to_string(), "{refused}");
    };
    for _ in 0..5 {
        assert_eq!(answer(&ingress, &order("writer", None)).await["statusCode"], 202);
    }
    refused_by("writer", "principal", 12).await;
    for _ in 0..4 {
        assert_eq!(answer(&ingress, &order("old", None)).await["statusCode"], 202);
    }
    refused_by("new", "route", 400).await;
}

#[tokio::test]
async fn retry_after_is_not_earlier_than_the_next_request_of_the_limit() {
    let sick = Some(SendError::NotSent { reason: "as planned".to_owned() });
    for (limit, retry_after) in
        [("{ limit: 2, window: 2h, by: route }", "2"), ("{ limit: 1, window: 2h, by: route }", "7200")]
    {
        let broker = Broker { sick: sick.clone(), ..Broker::default() };
        let ingress = ingress_of(contract(limit), &broker, &Store::with(&secret_text()));
        let failed = answer(&ingress, &order("writer", None)).await;
        assert_eq!((&failed["statusCode"], &failed["headers"]["retry-after"]), (&503.into(), &retry_after.into()));
    }
}
