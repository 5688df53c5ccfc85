//! `sluicegate send`: one request with the credentials that the contract requires.
//!
//! Headers of the caller are kept. The development secrets are used unless `--secret` gives another. Secrets are never
//! printed. What a provider writes into the body, its time and its signatures, is written anew.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sluicegate_contract::{Contract, GatewayIdentity, KeyPlace, Match, SecurityScheme, ValueSource};
use sluicegate_local::secrets;
use sluicegate_webhook::{self as webhook, Encoding, Scheme};

use crate::{CommandError, development, fail, input, output::say, paths};

/// The gateway answers within 30 s, with an error at the latest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// Send a file to a route, with the credentials or signature its contract requires, and print the answer
#[derive(Args)]
pub(crate) struct Arguments {
    /// The request's body; - reads the standard input
    file: PathBuf,
    /// Method and path, such as 'POST /orders'
    #[arg(long, value_name = "METHOD PATH")]
    route: String,
    /// The URL of the API
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    to: String,
    /// An additional header; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The API key, token, user:password, signing secret or private key (PKCS#8), instead of the development one
    #[arg(long)]
    secret: Option<String>,
    /// A claim of the token that is made for a route with access tokens; may be repeated. A value that is JSON is taken
    /// as JSON: tenant=acme, level=3, roles='["a"]'. NAME may be a JSON pointer: /org/id
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = input::pair, conflicts_with = "secret")]
    claims: Vec<(String, String)>,
    /// The `keyid` of the signature, for HTTP Message Signatures
    #[arg(long, value_name = "NAME")]
    keyid: Option<String>,
    /// The ingress function's PUBLIC_URL, for providers that sign the URL [default: https and the host of --to]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The OpenAPI document [default: functions/ingress/openapi.yaml]
    #[arg(long, value_name = "openapi.yaml")]
    contract: Option<PathBuf>,
}

pub(crate) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match exchange(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => fail(reason),
    }
}

/// Sends the request and prints the answer. Returns whether the status is a success.
fn exchange(arguments: &Arguments) -> Result<bool, CommandError> {
    let contract = input::contract(&paths::or_default(arguments.contract.as_ref(), paths::CONTRACT))?;
    let (method, target) = arguments.route.split_once(' ').ok_or("--route is a method and a path: 'POST /orders'")?;
    let (method, target) = (method.to_uppercase(), target.trim());
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let found = contract.route(&method, path).map_err(|error| {
        let known = contract.operations().iter().map(|known| format!("{} {}", known.method, known.path));
        format!("{method} {path}: {error}; the contract has {}", known.collect::<Vec<_>>().join(", "))
    })?;
    let body = input::read(&arguments.file)?;
    let given = HeaderMap::from_iter(arguments.headers.iter().cloned());
    let to = arguments.to.trim_end_matches('/');
    let parse = |url: &str| {
        let parsed = url.parse::<Uri>();
        parsed.map_err(|error| format!("{url}: {error}: --to is a URL, such as http://127.0.0.1:3000"))
    };
    // As ingress makes it of a request.
    let host = parse(to)?.authority().map(|authority| format!("https://{authority}")).unwrap_or_default();
    let public_url = arguments.public_url.as_deref().map_or(host.as_str(), |url| url.trim_end_matches('/'));
    let message = Message { headers: given, url: format!("{public_url}{target}"), body };
    let Message { headers, url, body } =
        complete(&contract, &found, message, &Credentials::of(arguments), &method, &|note| eprintln!("{note}"))?;

    let target = url.strip_prefix(public_url).unwrap_or(target);
    let url = format!("{to}{target}");
    let uri = parse(&url)?;
    let mut config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT));
    if uri.host().is_some_and(|host| host == "localhost" || host.starts_with("127.")) {
        // A proxy from the environment cannot reach a loopback host.
        config = config.proxy(None);
    }
    let mut request = Request::builder().method(method.as_str()).uri(uri);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(|error| error.to_string())?;
    let answer = config.build().new_agent().run(request);
    let mut answer =
        answer.map_err(|error| format!("{url}: {error}: start `cargo local`, or name the API's address with --to"))?;
    let text = answer.body_mut().read_to_string().map_err(|error| format!("{url}: {error}"))?;
    say(answer.status());
    for name in [header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = answer.headers().get(&name) {
            say(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    say(text);
    Ok(answer.status().is_success())
}

/// What the caller says of the credentials.
pub(crate) struct Credentials<'a> {
    secret: Option<&'a str>,
    keyid: Option<&'a str>,
    claims: &'a [(String, String)],
}

impl<'a> Credentials<'a> {
    /// Returns those of the local stack.
    pub(crate) fn development() -> Self {
        Self { secret: None, keyid: None, claims: &[] }
    }

    fn of(arguments: &'a Arguments) -> Self {
        let Arguments { secret, keyid, claims, .. } = arguments;
        Self { secret: secret.as_deref(), keyid: keyid.as_deref(), claims }
    }
}

/// A request to sign and send.
pub(crate) struct Message {
    pub(crate) headers: HeaderMap,
    /// The URL as the provider knows it.
    pub(crate) url: String,
    pub(crate) body: Vec<u8>,
}

/// Adds the missing headers that the contract requires: content type, credentials, idempotency key. What the caller did
/// not choose is passed to `note`.
pub(crate) fn complete(
    contract: &Contract,
    found: &Match<'_>,
    mut message: Message,
    &Credentials { secret, keyid, claims }: &Credentials<'_>,
    method: &str,
    note: &dyn Fn(&str),
) -> Result<Message, CommandError> {
    let operation = found.operation;
    let schemes = operation.security.first().into_iter().flatten();
    let mut schemes = schemes.filter_map(|requirement| contract.scheme(&requirement.scheme));
    let has_token = |scheme: &SecurityScheme| {
        use GatewayIdentity::Jwt;
        matches!(scheme, SecurityScheme::Token { .. } | SecurityScheme::Gateway { identity: Jwt, .. })
    };
    if !claims.is_empty() && !schemes.any(has_token) {
        return Err(
            "--claim is for a route whose first alternative of security takes a token (x-jwt, or x-authorizer: \
                    jwt)"
                .into(),
        );
    }
    let media_type = operation.body.as_ref().and_then(|body| body.content.first());
    if let Some((media_type, _)) = media_type {
        add(&mut message.headers, "content-type", media_type)?;
    }
    let key = operation.enqueue.idempotency.iter().flat_map(|idempotency| idempotency.key.sources());
    let key_headers: Vec<&str> = key
        .filter_map(|source| match source {
            ValueSource::Header(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    // A scheme that signs an id uses the id of the caller, if given.
    let given = key_headers.iter().find_map(|name| message.headers.get(*name)?.to_str().ok().map(str::to_owned));
    let id = given.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    // Any alternative is sufficient; the first is used.
    for requirement in operation.security.first().into_iter().flatten() {
        match contract.scheme(&requirement.scheme) {
            Some(SecurityScheme::ApiKey { place, name, .. }) => {
                add_key(&mut message, *place, name, secret.unwrap_or(secrets::API_KEY))?;
            }
            Some(SecurityScheme::Signature { header, provider, scheme, .. })
                if !message.headers.contains_key(header) =>
            {
                sign((provider, scheme), (secret, keyid), &id, method, &mut message)?;
            }
            Some(SecurityScheme::Basic { .. }) => {
                let pair = secret.map_or_else(|| format!("{}:{}", secrets::PRINCIPAL, secrets::API_KEY), str::to_owned);
                let credentials = format!("Basic {}", Encoding::Base64.encode(pair.as_bytes()));
                add(&mut message.headers, "authorization", &credentials)?;
            }
            Some(SecurityScheme::Token { tokens }) => {
                let development = || development::tokens::token(contract, &requirement.scheme, tokens, claims);
                let token = secret.map(str::to_owned).or_else(development).ok_or("no development token can be made")?;
                add(&mut message.headers, "authorization", &format!("Bearer {token}"))?;
            }
            Some(SecurityScheme::Gateway { identity: GatewayIdentity::Jwt, .. }) => {
                let key = format!("{method} {}", operation.path);
                let development = || development::tokens::route_token(paths::TEMPLATE, contract, &key, claims);
                match secret.map(str::to_owned).or_else(development) {
                    Some(token) => add(&mut message.headers, "authorization", &format!("Bearer {token}"))?,
                    None => note(&format!(
                        "{}: {} has no JWT authorizer for {key} whose issuer and audience are known: send the token that \
                         cargo local prints, with --secret",
                        requirement.scheme,
                        paths::TEMPLATE
                    )),
                }
            }
            Some(SecurityScheme::Gateway { .. }) => note(&format!(
                "{}: only a gateway checks these credentials, and cargo local has none: send them with --header",
                requirement.scheme
            )),
            Some(SecurityScheme::Signature { .. }) | None => {}
        }
    }
    for name in key_headers.iter().filter(|name| !message.headers.contains_key(**name)).collect::<Vec<_>>() {
        note(&format!("{name}: {id}"));
        add(&mut message.headers, name, &id)?;
    }
    Ok(message)
}

/// Adds an API key at its place, unless the caller gave it in a header.
fn add_key(message: &mut Message, place: KeyPlace, name: &str, key: &str) -> Result<(), CommandError> {
    match place {
        KeyPlace::Header => add(&mut message.headers, name, key),
        KeyPlace::Cookie => add(&mut message.headers, "cookie", &format!("{name}={key}")),
        KeyPlace::Query => {
            let separator = if message.url.contains('?') { '&' } else { '?' };
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            message.url = format!("{}{separator}{}={}", message.url, encoded(name), encoded(key));
            Ok(())
        }
    }
}

fn sign(
    (provider, scheme): (&str, &Scheme),
    (secret, keyid): (Option<&str>, Option<&str>),
    id: &str,
    method: &str,
    message: &mut Message,
) -> Result<(), CommandError> {
    let key = secret.map(str::to_owned).or_else(|| development::signing_key(provider, scheme));
    let key =
        key.ok_or_else(|| format!("only {provider} can sign: send a message that it signed, with its --header"))?;
    let key = scheme.signing_key(keyid, &key).map_err(|error| format!("--secret: {error}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let request = webhook::Request::new(&message.headers, &message.body).at(method, &message.url);
    let signed = scheme.sign_request(&key, id, i64::try_from(now).unwrap_or(i64::MAX), &request);
    let signed = signed.map_err(|error| format!("this message cannot be signed: {error}"))?;
    message.body = signed.body.unwrap_or_else(|| std::mem::take(&mut message.body));
    message.url = signed.url.unwrap_or_else(|| std::mem::take(&mut message.url));
    for (name, value) in signed.headers {
        add(&mut message.headers, &name, &value)?;
    }
    Ok(())
}

/// Adds a header unless the caller gave it.
fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), CommandError> {
    let name = HeaderName::try_from(name).map_err(|error| format!("{name}: {error}"))?;
    if !headers.contains_key(&name) {
        let mut value = HeaderValue::try_from(value).map_err(|error| format!("{name}: {error}"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use sluicegate_webhook::{Provider, Request};

    use super::*;

    /// A request as a server receives it.
    struct Received {
        target: String,
        headers: HeaderMap,
        body: Vec<u8>,
    }

    /// Reads a request with a length, and answers it.
    fn receive(stream: TcpStream) -> Received {
        let mut reader = BufReader::new(stream);
        let mut lines = reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty());
        let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers: HeaderMap = lines.map(|line| parse_header(&line).unwrap()).collect();
        let mut body = vec![0; headers["content-length"].to_str().unwrap().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        reader.into_inner().write_all(answer).unwrap();
        Received { target, headers, body }
    }

    /// What arrives is signed, with the URL that ingress makes of the request.
    #[test]
    fn what_arrives_is_signed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (slug, media_type, body, public_url) in [
            ("square", "application/json", r#"{"a":1}"#, None),
            ("square", "application/json", r#"{"a":1}"#, Some("https://api.example.com/")),
            ("twilio", "application/json", r#"{"a":1}"#, None),
            ("twilio", "application/x-www-form-urlencoded", "b=2&a=1+1", None),
            ("contentful", "application/json", r#"{"a":1}"#, None),
            ("discord", "application/json", r#"{"type":1}"#, None),
            ("linear", "application/json", r#"{"webhookTimestamp":1}"#, None),
            ("standard-webhooks", "application/json", "{}", None),
            ("http-message-signatures", "application/json", "{}", Some("https://api.example.com")),
        ] {
            let Provider { scheme, .. } = Provider::named(slug).unwrap();
            let header = scheme.signature.header.first();
            let yaml = format!(
                "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /hook:\n    post:\n      operationId: hook\n      \
                 security: [{{ s: [] }}]\n      requestBody: {{ content: {{ {media_type}: {{}} }} }}\n      \
                 x-sluicegate: {{ queue: hooks }}\ncomponents:\n  securitySchemes:\n    \
                 s: {{ type: apiKey, in: header, name: {header}, x-secret: s, x-signature: {slug} }}\n"
            );
            std::fs::write(path("openapi.yaml"), yaml).unwrap();
            std::fs::write(path("body"), body).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = format!("http://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || receive(listener.accept().unwrap().0));
            let arguments = Arguments {
                file: path("body"),
                route: "POST /hook?a=1".to_owned(),
                to: to.clone(),
                headers: Vec::new(),
                secret: None,
                claims: Vec::new(),
                keyid: None,
                public_url: public_url.map(str::to_owned),
                contract: Some(path("openapi.yaml")),
            };
            assert!(exchange(&arguments).unwrap(), "{slug}");
            let Received { target, headers, body } = server.join().unwrap();
            let base =
                public_url.map_or_else(|| to.replace("http:", "https:"), |url| url.trim_end_matches('/').to_owned());
            let url = format!("{base}{target}");
            let request = Request::new(&headers, &body).at("POST", &url);
            let secret = scheme.secret(&development::signing_secret(slug, scheme).unwrap()).unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let verified = scheme.verify(&request, &[secret], i64::try_from(now).unwrap());
            assert!(verified.is_ok() && target.starts_with("/hook?a=1"), "{slug}: {verified:?} {target}");
        }
    }

    /// A claim without a token to put it into would be ignored.
    #[test]
    fn a_claim_needs_a_route_with_tokens() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            arguments: Arguments,
        }
        let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../functions/ingress/openapi.yaml");
        let line = ["send", "Cargo.toml", "--route", "POST /orders", "--claim", "tenant=acme", "--contract", contract];
        let refused = exchange(&Command::parse_from(line).arguments).unwrap_err().to_string();
        assert!(refused.starts_with("--claim is for a route"), "{refused}");
        assert!(Command::try_parse_from(line.iter().chain(&["--secret", "a"])).is_err());
    }

    /// What arrives has the development credentials at the place of the contract, or those of `--secret`.
    #[test]
    fn what_arrives_has_the_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let basic = |pair: &str| format!("Basic {}", Encoding::Base64.encode(pair.as_bytes()));
        let jwt = "{ type: http, scheme: bearer, x-jwt: { issuer: 'https://a.example', audience: api } }";
        for (scheme, secret, header, value, target) in [
            ("{ type: http, scheme: basic, x-secret: s }", None, "authorization", basic("dev:dev-key"), "/take?a=1"),
            ("{ type: http, scheme: basic, x-secret: s }", Some("a:b"), "authorization", basic("a:b"), "/take?a=1"),
            (jwt, Some("a.b.c"), "authorization", "Bearer a.b.c".to_owned(), "/take?a=1"),
            (jwt, None, "authorization", "Bearer eyJ".to_owned(), "/take?a=1"),
            (
                "{ type: apiKey, in: cookie, name: sid, x-secret: s }",
                None,
                "cookie",
                "sid=dev-key".to_owned(),
                "/take?a=1",
            ),
            (
                "{ type: apiKey, in: query, name: key, x-secret: s }",
                Some("a b&c"),
                "host",
                String::new(),
                "/take?a=1&key=a%20b%26c",
            ),
        ] {
            let yaml = format!(
                "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
                 security: [{{ s: [] }}]\n      requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
                 x-sluicegate: {{ queue: q, type: t }}\ncomponents:\n  securitySchemes:\n    s: {scheme}\n"
            );
            std::fs::write(path("openapi.yaml"), yaml).unwrap();
            std::fs::write(path("body"), "{}").unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let to = format!("http://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || receive(listener.accept().unwrap().0));
            let arguments = Arguments {
                file: path("body"),
                route: "POST /take?a=1".to_owned(),
                to,
                headers: Vec::new(),
                secret: secret.map(str::to_owned),
                claims: Vec::new(),
                keyid: None,
                public_url: None,
                contract: Some(path("openapi.yaml")),
            };
            assert!(exchange(&arguments).unwrap(), "{scheme}");
            let received = server.join().unwrap();
            let sent = received.headers[header].to_str().unwrap();
            assert!(sent.starts_with(&value), "{scheme}: {sent}");
            assert_eq!(received.target, target, "{scheme}");
        }
    }
}
