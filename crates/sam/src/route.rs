//! The routes of HTTP APIs, from the HttpApi events of functions.

use std::time::Duration;

use super::{Fault, JwtAuthorizer, Props, Reader, Setting};

/// The route of requests that match no other route.
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

/// The settings of an HttpApi event.
#[derive(Debug, Clone)]
pub struct Route {
    /// The value of `Ref` of its API.
    pub api: Setting<String>,
    /// Its method.
    pub method: Setting<String>,
    /// Its path.
    pub path: Setting<String>,
    /// How long the integration may take.
    pub timeout_ms: Setting<u64>,
    /// The version of the event that the function receives.
    pub payload_version: Setting<String>,
}

/// A route of the HTTP API: `POST /orders`, `ANY /files/{proxy+}` or `$default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePlan {
    /// As API Gateway writes it.
    pub key: String,
    /// The function's name.
    pub function: String,
    /// How long the integration may take.
    pub timeout: Duration,
    /// The authorizer that checks a token before the function is invoked, with the scopes of the route.
    pub authorizer: Option<JwtAuthorizer>,
}

/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const TIMEOUT_MS_MAX: u64 = 30_000;
/// SAM's default, and the only version of the local stack.
const PAYLOAD_VERSION: &str = "2.0";

impl Route {
    /// Reads the properties of an event.
    #[must_use]
    pub fn read(props: Props<'_>) -> Self {
        Self {
            api: props.text("ApiId"),
            method: props.text("Method"),
            path: props.text("Path"),
            timeout_ms: props.number("TimeoutInMillis").or_default(TIMEOUT_MS_MAX),
            payload_version: props.text("PayloadFormatVersion").or_default(PAYLOAD_VERSION.to_owned()),
        }
    }

    /// Returns the route key; `None` if it is unknown, or one that SAM refuses.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        // An unknown path may be that of any route.
        if self.path.is_unknown() || self.method.is_unknown() && !self.path.is(DEFAULT_ROUTE) {
            return None;
        }
        route_key(self.method.as_str(), self.path.as_str())
    }
}

impl Reader<'_> {
    pub(super) fn route(&mut self, function: &str, route: &Route, props: Props<'_>, path: &str) -> Result<(), Fault> {
        let authorizer = self.authorizer(props);
        let runs_auth = authorizer.is_ok().then_some("Auth");
        let known = ["ApiId", "Method", "Path", "PayloadFormatVersion", "TimeoutInMillis"];
        self.notice_others(props, path, &known.into_iter().chain(runs_auth).collect::<Vec<_>>());
        let at = |property: &str| format!("{path}/{property}");
        self.remote_text(&route.api, &at("ApiId"))?;
        let version = self.remote_text(&route.payload_version, &at("PayloadFormatVersion"))?;
        if version.is_some_and(|version| version != PAYLOAD_VERSION) {
            return Err(self.fault(path, "PayloadFormatVersion: only 2.0 is supported locally"));
        }
        let timeout_ms = self.number(&route.timeout_ms, &at("TimeoutInMillis"), 50..=TIMEOUT_MS_MAX)?;
        let method = self.remote_text(&route.method, &at("Method"))?;
        let written = self.remote_text(&route.path, &at("Path"))?;
        let is_path = |route: &str| route.starts_with('/') || route == DEFAULT_ROUTE;
        let key = route_key(method.as_deref(), written.as_deref()).filter(|_| written.as_deref().is_none_or(is_path));
        let Some(key) = key else {
            return Err(self.fault(path, "needs Method and a Path that starts with /, or neither"));
        };
        if let Some(other) = self.plan.routes.iter().find(|other| other.key == key) {
            return Err(self.fault(path, format!("{key} already leads to {}", other.function)));
        }
        let timeout = Duration::from_millis(timeout_ms);
        self.plan.routes.push(RoutePlan {
            key,
            function: function.to_owned(),
            timeout,
            authorizer: authorizer.unwrap_or_default(),
        });
        Ok(())
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
