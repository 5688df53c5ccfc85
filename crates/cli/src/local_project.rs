//! The project as the console of `cargo local` shows it: the contract's routes with samples, the faults of `check` and
//! the findings of `doctor`; and the requests that the console sends.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sluicegate_contract::{Contract, SecurityScheme, ValueSource, ValueTemplate};
use sluicegate_local::{ApiRequest, Project};
use sluicegate_webhook::{Request, Scheme, SignatureError};
use sluicegate_yaml::{Document, Node};

use crate::{
    add::{
        contract::{read, resolved},
        payload,
    },
    check, development, doctor, input, paths,
    send::{self, Credentials, Message},
};

/// The methods of a path item. <https://spec.openapis.org/oas/v3.1.1.html#path-item-object>
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The project of a template.
pub(crate) struct LocalProject {
    template: PathBuf,
    contract: PathBuf,
    /// The URL that providers call, if it is not that of the API.
    public_url: Option<String>,
}

impl LocalProject {
    pub(crate) fn new(template: &Path) -> Self {
        let public_url = std::env::var("PUBLIC_URL").ok().filter(|url| !url.is_empty());
        let beside = template.with_file_name(paths::CONTRACT);
        let contract = if beside.is_file() { beside } else { paths::or_default(None, paths::CONTRACT) };
        Self { template: template.to_owned(), contract, public_url }
    }

    fn document(&self) -> Result<Document, String> {
        let text = input::text(&self.contract).map_err(|error| error.to_string())?;
        read(&self.contract.display().to_string(), &text).map_err(|error| error.to_string())
    }

    /// Returns the URL that providers sign, as ingress makes it of a request to `api`.
    fn public_url(&self, api: &str) -> String {
        let url = self.public_url.clone().unwrap_or_else(|| api.replacen("http:", "https:", 1));
        url.trim_end_matches('/').to_owned()
    }
}

impl Project for LocalProject {
    fn describe(&self) -> Value {
        let checked = check::checked(&self.contract, &self.template);
        let routes = self.document().map(|document| routes(&document, checked.contract.as_ref())).unwrap_or_default();
        let (report, unchecked) = match doctor::of_template(&self.template, checked.contract) {
            Ok(report) => (serde_json::to_value(report).unwrap_or_default(), None),
            Err(error) => (Value::Null, Some(error.to_string())),
        };
        let faults: Vec<String> = checked.faults.into_iter().chain(unchecked).collect();
        json!({
            "routes": routes,
            "faults": faults,
            "warnings": checked.warnings,
            "findings": report["findings"],
        })
    }

    fn sample(&self, route: &str, api: &str) -> Result<ApiRequest, String> {
        let document = self.document()?;
        let found = operations(&document).find(|operation| operation.route() == route);
        let operation = found.ok_or_else(|| {
            let known: Vec<_> = operations(&document).map(|operation| operation.route()).collect();
            format!("{route} is not a route: the contract has {}", known.join(", "))
        })?;
        let contract = input::contract(&self.contract).map_err(|error| error.to_string())?;
        let target = operation.target(&document);
        let path = target.split('?').next().unwrap_or_default();
        let found = contract.route(&operation.method, path).map_err(|error| format!("{route}: {error}"))?;
        let body = operation.sample(&document, Some(&contract)).unwrap_or_default().into_bytes();
        let public_url = self.public_url(api);
        let message = Message { headers: operation.headers(&document), url: format!("{public_url}{target}"), body };
        let message =
            send::complete(&contract, &found, message, &Credentials::development(), &operation.method, &|_| {});
        let Message { headers, url, body } = message.map_err(|error| error.to_string())?;
        let target = url.strip_prefix(&public_url).unwrap_or(&target).to_owned();
        Ok(ApiRequest { method: operation.method, target, headers, body })
    }

    fn renew(&self, request: ApiRequest, at_unix_s: i64, api: &str) -> ApiRequest {
        let Ok(contract) = input::contract(&self.contract) else { return request };
        renewed(&contract, request, at_unix_s, &self.public_url(api))
    }
}

/// Signs a request anew with the development secret for each signature of its route that was valid at `at_unix_s` and
/// is too old now.
fn renewed(contract: &Contract, mut request: ApiRequest, at_unix_s: i64, public_url: &str) -> ApiRequest {
    let path = request.target.split('?').next().unwrap_or_default();
    let Ok(found) = contract.route(&request.method, path) else { return request };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now_unix_s = i64::try_from(now).unwrap_or(i64::MAX);
    for requirement in found.operation.security.iter().flatten() {
        let Some(SecurityScheme::Signature { provider, scheme, .. }) = contract.scheme(&requirement.scheme) else {
            continue;
        };
        let url = format!("{public_url}{}", request.target);
        let verified = |at_unix_s| verify(provider, scheme, &request, &url, at_unix_s);
        let is_old = matches!(verified(now_unix_s), Some(Err(SignatureError::TimestampTooOld { .. })));
        if is_old && matches!(verified(at_unix_s), Some(Ok(()))) {
            request = signed(provider, scheme, request.clone(), &url, now_unix_s).unwrap_or(request);
        }
    }
    request
}

fn verify(
    provider: &str,
    scheme: &Scheme,
    request: &ApiRequest,
    url: &str,
    at_unix_s: i64,
) -> Option<Result<(), SignatureError>> {
    let secret = scheme.secret(&development::signing_secret(provider, scheme)?).ok()?;
    let received = Request::new(&request.headers, &request.body).at(&request.method, url);
    Some(scheme.verify(&received, &[secret], at_unix_s).map(drop))
}

fn signed(provider: &str, scheme: &Scheme, request: ApiRequest, url: &str, now_unix_s: i64) -> Option<ApiRequest> {
    let key = scheme.signing_key(None, &development::signing_key(provider, scheme)?).ok()?;
    let id = scheme.id.iter().find_map(|name| request.headers.get(name)?.to_str().ok()).unwrap_or_default();
    let unsigned = Request::new(&request.headers, &request.body).at(&request.method, url);
    let signed = scheme.sign_request(&key, id, now_unix_s, &unsigned).ok()?;
    let mut request = request;
    for (name, value) in signed.headers {
        request.headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    request.body = signed.body.unwrap_or(request.body);
    Some(request)
}

/// An operation in the document.
struct Operation<'d> {
    method: String,
    path: &'d str,
    item: &'d Node,
    node: &'d Node,
}

fn operations(document: &Document) -> impl Iterator<Item = Operation<'_>> {
    let items = document.root.get("paths").into_iter().flat_map(Node::entries);
    items.flat_map(|(path, item)| {
        let operations = item.entries().filter(|(method, _)| METHODS.contains(method));
        operations.map(move |(method, node)| Operation { method: method.to_ascii_uppercase(), path, item, node })
    })
}

impl<'d> Operation<'d> {
    fn route(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Returns the first media type of the body, with what the document says of it.
    fn media(&self, document: &'d Document) -> Option<(&'d str, &'d Node)> {
        let body = resolved(&document.root, self.node.get("requestBody")?)?;
        body.get("content")?.entries().next()
    }

    /// Returns the JSON pointers into the body that the templates of the contract read, those of a provider included.
    fn places(&self, contract: Option<&Contract>) -> Vec<String> {
        let operations = contract.map(Contract::operations).unwrap_or_default().iter();
        let enqueue = operations.filter(|known| known.method == self.method && known.path == self.path);
        let templates = enqueue.flat_map(|known| {
            let enqueue = &known.enqueue;
            let key = enqueue.idempotency.as_ref().map(|idempotency| &idempotency.key);
            [Some(&enqueue.event_type), enqueue.subject.as_ref(), enqueue.group.as_ref(), key]
        });
        let sources = templates.flatten().flat_map(ValueTemplate::sources);
        let pointers = sources.filter_map(|source| match source {
            ValueSource::Body(pointer) => pointer.strip_prefix('/'),
            _ => None,
        });
        pointers.map(str::to_owned).collect()
    }

    /// Returns an example of the body, or a value of its schema with what the templates of the contract read.
    fn sample(&self, document: &'d Document, contract: Option<&Contract>) -> Option<String> {
        let (_, media) = self.media(document)?;
        let example = media.get("examples").and_then(|examples| Some(examples.entries().next()?.1));
        let example = example.and_then(|example| resolved(&document.root, example)?.get("value"));
        match media.get("example").or(example) {
            Some(example) => in_json(example),
            None => Some(with_places(payload::sample(document, media.get("schema")?), &self.places(contract))),
        }
    }

    /// Returns the required parameters at a place, with a value each.
    fn parameters(&self, document: &'d Document, place: &'d str) -> impl Iterator<Item = (&'d str, String)> {
        let all = [self.item, self.node].into_iter().filter_map(|node| node.get("parameters")).flat_map(Node::items);
        let all = all.filter_map(|parameter| resolved(&document.root, parameter));
        let is_required = |parameter: &&Node| parameter.get("required").and_then(in_json).as_deref() == Some("true");
        let here = all.filter(move |parameter| parameter.get("in").and_then(Node::text) == Some(place));
        here.filter(is_required).filter_map(|parameter| {
            let value = match parameter.get("example") {
                Some(example) => in_json(example)?,
                None => payload::sample(document, parameter.get("schema")?),
            };
            // A text has quotes in JSON.
            let value = serde_json::from_str::<String>(&value).unwrap_or(value);
            Some((parameter.get("name")?.text()?, value))
        })
    }

    /// Returns the path with its parameters, and the required ones of the query.
    fn target(&self, document: &'d Document) -> String {
        let encoded =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let path = self
            .parameters(document, "path")
            .fold(self.path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), &encoded(&value)));
        let query = self.parameters(document, "query");
        let query: Vec<_> = query.map(|(name, value)| format!("{}={}", encoded(name), encoded(&value))).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }

    /// Returns the required headers, except those of which each request has another: the key of idempotency.
    fn headers(&self, document: &'d Document) -> HeaderMap {
        let key = self.node.get("x-sluicegate").and_then(|at| in_json(at.get("idempotency")?)).unwrap_or_default();
        let headers = self.parameters(document, "header").filter(|(name, _)| {
            !key.to_ascii_lowercase().contains(&format!("{{header.{}}}", name.to_ascii_lowercase()))
        });
        headers
            .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)))
            .collect()
    }
}

/// Returns a sample with a text at each of these places, without the first slash of their pointers.
fn with_places(sample: String, places: &[String]) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(&sample) else { return sample };
    let put = places.iter().filter(|place| put_text(&mut value, place)).count();
    if put > 0 { value.to_string() } else { sample }
}

/// Puts a text at a place of an object where nothing is; returns whether it did.
fn put_text(value: &mut Value, place: &str) -> bool {
    let Some(object) = value.as_object_mut() else { return false };
    let (step, rest) = place.split_once('/').unwrap_or((place, ""));
    let name = step.replace("~1", "/").replace("~0", "~");
    if !rest.is_empty() {
        return put_text(object.entry(name).or_insert_with(|| json!({})), rest);
    }
    let is_missing = !object.contains_key(&name);
    object.entry(&name).or_insert_with(|| format!("{name}-1").into());
    is_missing
}

/// Returns the routes as the console shows them.
fn routes(document: &Document, contract: Option<&Contract>) -> Vec<Value> {
    let routes = operations(document).map(|operation| {
        let enqueue = |name: &str| operation.node.get("x-sluicegate").and_then(|at| shown(at.get(name)?));
        let schema = operation.media(document).and_then(|(_, media)| resolved(&document.root, media.get("schema")?));
        json!({
            "route": operation.route(),
            "summary": operation.node.get("summary").and_then(Node::text),
            "queue": enqueue("queue"),
            "type": enqueue("type"),
            "idempotency": enqueue("idempotency"),
            "security": operation.node.get("security").or(document.root.get("security")).and_then(shown),
            "media_types": operation.media(document).map(|(media_type, _)| media_type),
            "sample": operation.sample(document, contract),
            "schema": schema.and_then(|schema| serde_json::to_string_pretty(schema).ok()),
        })
    });
    routes.collect()
}

/// Returns a text as it is, and anything else as JSON.
fn shown(node: &Node) -> Option<String> {
    node.text().map(str::to_owned).or_else(|| in_json(node))
}

fn in_json(node: &Node) -> Option<String> {
    serde_json::to_string(node).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    const API: &str = "http://127.0.0.1:3000";

    fn project() -> LocalProject {
        let template = Path::new(ROOT).join(paths::TEMPLATE);
        let contract = Path::new(ROOT).join(paths::CONTRACT);
        LocalProject { template, contract, public_url: None }
    }

    #[test]
    fn the_contract_has_its_routes_and_what_is_wrong() {
        let described = project().describe();
        let routes = described["routes"].as_array().unwrap();
        let orders = routes.iter().find(|route| route["route"] == "POST /orders").expect("the route");
        assert_eq!((&orders["queue"], &orders["type"]), (&json!("orders"), &json!("order.placed")), "{orders:#}");
        let sample: Value = serde_json::from_str(orders["sample"].as_str().unwrap()).unwrap();
        assert!(sample["items"][0]["quantity"].is_number(), "{sample}");
        assert!(orders["schema"].as_str().unwrap().contains("\"order_id\""), "{orders:#}");
        assert_eq!(described["faults"], json!([]), "{described:#}");
        assert!(described["findings"].is_array(), "{described:#}");

        let folder = tempfile::tempdir().unwrap();
        let contract = folder.path().join("openapi.yaml");
        let text = std::fs::read_to_string(project().contract).unwrap();
        std::fs::write(&contract, text.replace("queue: orders", "queues: orders")).unwrap();
        let faulty = LocalProject { contract, ..project() }.describe();
        let faults = faulty["faults"][0].as_str().unwrap();
        assert!(faults.contains("openapi.yaml:") && faults.contains("queues"), "{faults}");
        assert_eq!(faulty["routes"].as_array().unwrap().len(), routes.len());
    }

    /// Each sample is a request that the contract's authentication accepts.
    #[test]
    fn samples_are_signed_with_the_development_secrets() {
        let (project, now) = (project(), i64::MAX);
        let contract = input::contract(&project.contract).unwrap();
        let mut signatures = 0;
        for operation in contract.operations() {
            let route = format!("{} {}", operation.method, operation.path);
            let sample = project.sample(&route, API).unwrap_or_else(|error| panic!("{route}: {error}"));
            for requirement in operation.security.first().into_iter().flatten() {
                let Some(SecurityScheme::Signature { provider, scheme, .. }) = contract.scheme(&requirement.scheme)
                else {
                    continue;
                };
                let url = format!("https://127.0.0.1:3000{}", sample.target);
                let verified = verify(provider, scheme, &sample, &url, now);
                let is_signed = matches!(verified, Some(Ok(()) | Err(SignatureError::TimestampTooOld { .. })));
                assert!(is_signed, "{route}: {verified:?}");
                signatures += 1;
            }
        }
        assert!(signatures >= 3, "{signatures}");
        let refused = project.sample("POST /nothing", API).unwrap_err();
        assert!(refused.starts_with("POST /nothing is not a route: the contract has POST /orders"), "{refused}");
    }

    #[test]
    fn a_sample_has_what_the_templates_read() {
        let places = ["type", "customer/id"].map(str::to_owned);
        assert_eq!(with_places(r#"{"type": "b"}"#.to_owned(), &places[..1]), r#"{"type": "b"}"#);
        let whole = with_places("{}".to_owned(), &places);
        let expected = json!({ "type": "type-1", "customer": { "id": "id-1" } });
        assert_eq!(serde_json::from_str::<Value>(&whole).unwrap(), expected);
        assert_eq!(with_places("null".to_owned(), &places), "null");
    }

    #[test]
    fn only_a_signature_that_was_valid_is_made_anew() {
        let (project, route) = (project(), "POST /webhooks/stripe");
        let contract = input::contract(&project.contract).unwrap();
        let SecurityScheme::Signature { provider, scheme, .. } = contract.scheme("stripe").unwrap() else {
            panic!("a signature")
        };
        let url = "https://127.0.0.1:3000/webhooks/stripe";
        let old = 1_795_222_923;
        let unsigned = ApiRequest { headers: HeaderMap::new(), ..project.sample(route, API).unwrap() };
        let request = signed(provider, scheme, unsigned, url, old).unwrap();
        let renewed = |request: &ApiRequest| renewed(&contract, request.clone(), old, "https://127.0.0.1:3000");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let again = renewed(&request);
        assert!(matches!(verify(provider, scheme, &again, url, now), Some(Ok(()))));
        assert_eq!(again.body, request.body);
        // It stays as it is while it is valid, and if it never was.
        assert_eq!(renewed(&again).headers, again.headers);
        let changed = ApiRequest { body: b"{\"changed\":1}".to_vec(), ..request };
        assert_eq!(renewed(&changed).headers, changed.headers);
    }
}
