//! [`Config`]: the variables of the OpenTelemetry specification that apply to spans.
//!
//! A blank variable counts as absent, and one of traces alone takes precedence over that of all signals, as the
//! specification has it.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>,
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::sampler::Sampler;

/// Longest wait for an export by default. The specification has 10 s, for exports that run in the background; here the
/// caller of the function waits.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// Longest wait that can be set: the deadline of a function, 900 s, is earlier.
const TIMEOUT_MS_MAX: u64 = 900_000;

/// The path of spans below the endpoint of all signals.
const TRACES_PATH: &str = "/v1/traces";

/// How spans are recorded and where they go.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) endpoint: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
    pub(crate) sampler: Sampler,
    pub(crate) resource: Vec<(String, String)>,
}

/// A variable that cannot be used. The text has no value of a header, which may be a credential.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The endpoint is not an absolute http(s) URL.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is not an http:// or https:// URL")]
    Endpoint,
    /// The protocol is not built in.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}: spans are sent as http/json; unset it, and use the port for HTTP")]
    Protocol(String),
    /// A variable is not a list of `name=value`.
    #[error("{0} is not a list of name=value with commas between, percent-encoded")]
    List(&'static str),
    /// The timeout is not a number.
    #[error("OTEL_EXPORTER_OTLP_TIMEOUT is {0:?}: it is milliseconds, 1 to {TIMEOUT_MS_MAX}")]
    Timeout(String),
    /// The sampler is unknown, or its argument is not a ratio.
    #[error("OTEL_TRACES_SAMPLER is {0:?}, or OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1")]
    Sampler(String),
    /// TLS cannot be configured.
    #[error("no connection can be made to the endpoint of OTLP: {0}")]
    Connection(#[from] sluicegate_aws_client::http_client::ConnectionError),
}

impl Config {
    /// Reads the variables; `None` if spans are not exported.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let get = |name: &str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let otlp = |setting: &str| {
            get(&format!("OTEL_EXPORTER_OTLP_TRACES_{setting}"))
                .or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{setting}")))
        };
        let is_disabled = get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if is_disabled || get("OTEL_TRACES_EXPORTER").is_some_and(|name| name == "none") {
            return Ok(None);
        }
        let base = || Some(format!("{}{TRACES_PATH}", get("OTEL_EXPORTER_OTLP_ENDPOINT")?.trim_end_matches('/')));
        let Some(endpoint) = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(base) else { return Ok(None) };
        let endpoint: Uri = endpoint.parse().map_err(|_| ConfigError::Endpoint)?;
        if !matches!(endpoint.scheme_str(), Some("http" | "https")) {
            return Err(ConfigError::Endpoint);
        }
        if let Some(protocol) = otlp("PROTOCOL").filter(|protocol| protocol != "http/json") {
            return Err(ConfigError::Protocol(protocol));
        }
        let unfit = ConfigError::List("OTEL_EXPORTER_OTLP_HEADERS");
        let headers = otlp("HEADERS").map_or(Some(Vec::new()), |text| headers(&text)).ok_or(unfit)?;
        let timeout = otlp("TIMEOUT").map_or(Ok(TIMEOUT_DEFAULT), |text| {
            let ms = text.parse().ok().filter(|ms| (1..=TIMEOUT_MS_MAX).contains(ms));
            ms.map(Duration::from_millis).ok_or(ConfigError::Timeout(text))
        })?;
        let sampler = get("OTEL_TRACES_SAMPLER").map_or(Ok(Sampler::default()), |name| {
            let argument = get("OTEL_TRACES_SAMPLER_ARG");
            Sampler::named(&name, argument.as_deref()).ok_or(ConfigError::Sampler(name))
        })?;
        let resource = resource(get)?;
        Ok(Some(Self { endpoint, headers, timeout, sampler, resource }))
    }
}

fn headers(text: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let header = |(name, value): (String, String)| {
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name).ok()?, value))
    };
    list(text)?.into_iter().map(header).collect()
}

/// Returns the attributes of the function.
///
/// <https://opentelemetry.io/docs/specs/semconv/resource/faas/>
fn resource(get: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, ConfigError> {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut set = get(ATTRIBUTES).map_or(Some(Vec::new()), |text| list(&text)).ok_or(ConfigError::List(ATTRIBUTES))?;
    if let Some(name) = get("OTEL_SERVICE_NAME") {
        set.retain(|(key, _)| key != "service.name");
        set.push(("service.name".to_owned(), name));
    }
    let function = get("AWS_LAMBDA_FUNCTION_NAME");
    let is_lambda = function.is_some();
    let own = [
        ("service.name", function.clone().or_else(|| Some("unknown_service".to_owned()))),
        ("faas.name", function),
        ("faas.version", get("AWS_LAMBDA_FUNCTION_VERSION")),
        ("faas.instance", get("AWS_LAMBDA_LOG_STREAM_NAME")),
        ("cloud.provider", is_lambda.then(|| "aws".to_owned())),
        ("cloud.platform", is_lambda.then(|| "aws_lambda".to_owned())),
        ("cloud.region", get("AWS_REGION").filter(|_| is_lambda)),
        ("telemetry.sdk.name", Some(env!("CARGO_PKG_NAME").to_owned())),
        ("telemetry.sdk.language", Some("rust".to_owned())),
        ("telemetry.sdk.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
    ];
    for (key, value) in own {
        if let Some(value) = value.filter(|_| !set.iter().any(|(other, _)| other == key)) {
            set.push((key.to_owned(), value));
        }
    }
    Ok(set)
}

/// Parses `name=value` with commas between, percent-encoded.
fn list(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
    let entry = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
    };
    text.split(',').filter(|each| !each.trim().is_empty()).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Config>, String> {
        let lookup =
            |name: &str| variables.iter().find_map(|(variable, text)| (*variable == name).then(|| (*text).to_owned()));
        Config::read(lookup).map_err(|error| error.to_string())
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/");

    #[test]
    fn without_an_endpoint_or_where_it_is_turned_off_nothing_is_exported() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "  ")],
            &[BASE, ("OTEL_SDK_DISABLED", "TRUE")],
            &[BASE, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "x")],
        ] {
            assert!(read(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[test]
    fn a_variable_of_traces_takes_precedence() {
        let all = read(&[BASE, ("OTEL_EXPORTER_OTLP_HEADERS", "a=1%2C2, b = 3 ,"), ("AWS_LAMBDA_FUNCTION_NAME", "f")]);
        let all = all.unwrap().unwrap();
        assert_eq!(all.endpoint, "http://localhost:4318/v1/traces");
        let headers: Vec<_> = all.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("a", &b"1,2"[..]), ("b", b"3")]);
        assert_eq!((all.timeout, all.sampler), (TIMEOUT_DEFAULT, Sampler::default()));
        let traces = [
            BASE,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://otlp.example.com/x"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ];
        let traces = read(&traces).unwrap().unwrap();
        assert_eq!(traces.endpoint, "https://otlp.example.com/x");
        assert_eq!(traces.timeout, Duration::from_millis(250));
    }

    #[test]
    fn the_service_is_named_by_its_variable_its_attribute_or_its_function() {
        let (service, attributes) =
            (("OTEL_SERVICE_NAME", "s"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=r,team=a%20b"));
        let function = ("AWS_LAMBDA_FUNCTION_NAME", "f");
        for (variables, expected) in [
            (&[BASE, function, attributes, service][..], "s"),
            (&[BASE, function, attributes], "r"),
            (&[BASE, function], "f"),
            (&[BASE], "unknown_service"),
        ] {
            let resource = read(variables).unwrap().unwrap().resource;
            let named: Vec<_> = resource.iter().filter(|(key, _)| key == "service.name").collect();
            assert_eq!(named, [&("service.name".to_owned(), expected.to_owned())], "{variables:?}");
            let has_team = resource.contains(&("team".to_owned(), "a b".to_owned()));
            assert_eq!(has_team, variables.contains(&attributes));
        }
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_an_error_without_its_secrets() {
        for (name, text, expected) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "not an http://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://localhost:4317", "not an http://"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "is \"grpc\""),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer 7", "OTEL_EXPORTER_OTLP_HEADERS is not a list"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0A7", "OTEL_EXPORTER_OTLP_HEADERS is not a list"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "is \"0\""),
            ("OTEL_TRACES_SAMPLER", "xray", "is \"xray\""),
            ("OTEL_RESOURCE_ATTRIBUTES", "team", "OTEL_RESOURCE_ATTRIBUTES is not a list"),
        ] {
            let error = read(&[(name, text), BASE]).err().unwrap_or_default();
            assert!(error.contains(expected) && !error.contains('7'), "{name}={text}: {error}");
        }
    }
}
