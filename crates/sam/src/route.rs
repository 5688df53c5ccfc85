//! The key of an HTTP API's route, from the Method and Path of an event.

/// The route of every request that no other route takes.
pub const DEFAULT_ROUTE: &str = "$default";

/// Returns the route key as API Gateway writes it: `POST /orders`, `ANY /files/{proxy+}` or `$default`. Returns `None`
/// for a method without a path, which SAM refuses.
#[must_use]
pub fn route_key(method: Option<&str>, path: Option<&str>) -> Option<String> {
    let method = method.map(str::to_uppercase);
    match (method.as_deref(), path) {
        (None, None) | (_, Some(DEFAULT_ROUTE)) => Some(DEFAULT_ROUTE.to_owned()),
        (None | Some("ANY" | "X-AMAZON-APIGATEWAY-ANY-METHOD"), Some(path)) => Some(format!("ANY {path}")),
        (Some(method), Some(path)) => Some(format!("{method} {path}")),
        (Some(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::route_key;

    #[test]
    fn a_route_key_is_what_api_gateway_writes() {
        for (method, path, expected) in [
            (None, None, Some("$default")),
            (Some("GET"), Some("$default"), Some("$default")),
            (None, Some("/a"), Some("ANY /a")),
            (Some("any"), Some("/a"), Some("ANY /a")),
            (Some("x-amazon-apigateway-any-method"), Some("/a"), Some("ANY /a")),
            (Some("post"), Some("/a/{b}"), Some("POST /a/{b}")),
            (Some("GET"), None, None),
        ] {
            assert_eq!(route_key(method, path).as_deref(), expected, "{method:?} {path:?}");
        }
    }
}
