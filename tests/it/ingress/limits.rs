//! Rate limits: whom they count, several at a time.

use serde_json::Value;
use sluicegate_contract::Contract;

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress_of, secret_text, shipped_with};

/// Returns the shipped contract whose orders have these limits.
fn contract(limits: &str) -> &'static Contract {
    let shipped = "rateLimit:\n          limit: 6000\n          window: 60s\n          by: principal\n";
    shipped_with(&[(shipped, &format!("rateLimit: {limits}\n"))])
}

/// Returns an order with this key, from this address.
fn order(key: &str, address: Option<&str>) -> Value {
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
