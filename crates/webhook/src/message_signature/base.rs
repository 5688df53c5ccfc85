//! The signature base: the text that is signed, with a line for each covered component; RFC 9421, section 2.5.

use std::fmt::Write as _;

use http::Uri;
use sfv::visitor::{DictionaryVisitor, EntryVisitor};
use sfv::{BareItem, Dictionary, InnerList, Item, KeyRef, Parameters, Parser};

use super::{CONTENT_DIGEST, DERIVED};
use crate::error::SignatureError;
use crate::request::Request;
use crate::scheme::is_header_name;

/// The most components of a signature. Ours: requests have fewer headers worth signing.
const COMPONENTS_MAX: usize = 64;

/// The longest name of a component, in bytes. Ours; no registered header has half of it.
const NAME_BYTES_MAX: usize = 128;

/// The derived component with a parameter.
const QUERY_PARAM: &str = "@query-param";

/// Reads a header that is a dictionary of RFC 9651. One with a key twice is refused: other readers may take the first.
pub(super) fn dictionary(request: &Request<'_>, header: &str) -> Result<Dictionary, SignatureError> {
    struct EachOnce(Dictionary);

    impl<'de> DictionaryVisitor<'de> for EachOnce {
        type Out = Dictionary;
        type Error = Twice;

        fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Twice> {
            if self.0.contains_key(key) {
                return Err(Twice);
            }
            let Ok(entry) = DictionaryVisitor::entry(&mut self.0, key);
            Ok(entry)
        }

        fn finish(self) -> Result<Dictionary, Twice> {
            Ok(self.0)
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("a key is there twice")]
    struct Twice;

    let value = request.header(header).ok_or_else(|| SignatureError::Ambiguous { header: header.to_owned() })?;
    let value = value.ok_or_else(|| SignatureError::MissingHeader { header: header.to_owned() })?;
    let read = Parser::new(value).parse_dictionary_with_visitor(EachOnce(Dictionary::new()));
    read.map_err(|_| SignatureError::Malformed { header: header.to_owned() })
}

/// Checks the list of components: each is known, is there once, and all of `required` are there. Returns whether the
/// header Content-Digest is covered.
pub(super) fn check(covered: &InnerList, required: &[String]) -> Result<bool, SignatureError> {
    if covered.items.len() > COMPONENTS_MAX {
        return Err(SignatureError::Message { reason: "covers too many components" });
    }
    for (position, item) in covered.items.iter().enumerate() {
        name(item)?;
        if covered.items[..position].contains(item) {
            return Err(SignatureError::Message { reason: "covers a component twice" });
        }
    }
    let covers = |wanted: &str| {
        let is_it = |item: &Item| item.params.is_empty() && name(item).is_ok_and(|name| name == wanted);
        covered.items.iter().any(is_it)
    };
    match required.iter().find(|required| !covers(required)) {
        Some(missing) => {
            Err(SignatureError::Component { name: missing.clone(), reason: "is not covered by the signature" })
        }
        None => Ok(covers(CONTENT_DIGEST)),
    }
}

/// Returns the name of a component that is supported with its parameters.
fn name(item: &Item) -> Result<&str, SignatureError> {
    let unknown = SignatureError::Message { reason: "covers a component that is not known" };
    let Some(name) = item.bare_item.as_string() else { return Err(unknown) };
    let name = name.as_str();
    let is_header =
        is_header_name(name) && name.len() <= NAME_BYTES_MAX && !name.bytes().any(|b| b.is_ascii_uppercase());
    if name == QUERY_PARAM {
        return match item.params.get("name") {
            Some(parameter) if item.params.len() == 1 && parameter.as_string().is_some() => Ok(name),
            _ => Err(SignatureError::Message { reason: "covers @query-param without its name" }),
        };
    }
    match (is_header || DERIVED.contains(&name), item.params.is_empty()) {
        (false, _) => Err(unknown),
        (true, false) => {
            Err(SignatureError::Message { reason: "covers a component with a parameter that is not supported" })
        }
        (true, true) => Ok(name),
    }
}

/// Returns the signature base.
pub(super) fn base(covered: &InnerList, request: &Request<'_>) -> Result<String, SignatureError> {
    let uri = request.url.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
    let mut base = String::new();
    for item in &covered.items {
        let value = match name(item)? {
            "@method" => request.method.to_owned(),
            derived if derived.starts_with('@') => {
                let uri = uri.as_ref().ok_or(SignatureError::NoText { reason: "the URL is missing" })?;
                derive(item, derived, request, uri)?
            }
            header => field(request, header)?,
        };
        if !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            let name = name(item)?.to_owned();
            return Err(SignatureError::Component { name, reason: "is not ASCII text" });
        }
        // Writing to a text cannot fail.
        let _ = writeln!(base, "{}: {value}", written(item)?);
    }
    let _ = write!(base, "\"@signature-params\": {}", parameters(covered)?);
    Ok(base)
}

/// Returns the list of components with its parameters, as Signature-Input has it after the label.
pub(super) fn parameters(covered: &InnerList) -> Result<String, SignatureError> {
    let items = covered.items.iter().map(written).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("({}){}", items.join(" "), written_parameters(&covered.params)?))
}

/// Returns an item as RFC 9651, section 4.1.3, writes it. Signatures have strings and integers alone, so sfv's writers
/// for every type are not needed.
fn written(item: &Item) -> Result<String, SignatureError> {
    Ok(written_value(&item.bare_item)? + &written_parameters(&item.params)?)
}

fn written_parameters(parameters: &Parameters) -> Result<String, SignatureError> {
    let written = parameters.iter().map(|(name, value)| Ok(format!(";{}={}", name.as_str(), written_value(value)?)));
    written.collect()
}

fn written_value(value: &BareItem) -> Result<String, SignatureError> {
    match (value.as_string(), value.as_integer()) {
        (Some(text), _) => Ok(format!("\"{}\"", text.as_str().replace('\\', "\\\\").replace('"', "\\\""))),
        (_, Some(number)) => Ok(i64::from(number).to_string()),
        _ => Err(SignatureError::Message { reason: "has a parameter of another type" }),
    }
}

/// Returns the values of a header: each without white space around it, joined with a comma and a space; section 2.1.
fn field(request: &Request<'_>, name: &str) -> Result<String, SignatureError> {
    let fault = |reason| SignatureError::Component { name: name.to_owned(), reason };
    let mut values = Vec::new();
    for value in request.headers.get_all(name) {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| fault("is not ASCII text"))?;
        values.push(text.trim_matches([' ', '\t']));
    }
    if values.is_empty() { Err(fault("is covered, and the request does not have it")) } else { Ok(values.join(", ")) }
}

/// Returns a value that is derived from the URL; section 2.2.
fn derive(item: &Item, name: &str, request: &Request<'_>, uri: &Uri) -> Result<String, SignatureError> {
    let scheme = uri.scheme_str().unwrap_or_default();
    Ok(match name {
        "@target-uri" => request.url.to_owned(),
        "@scheme" => scheme.to_ascii_lowercase(),
        "@authority" => {
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            let default = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
            match uri.port_u16().filter(|port| *port != default) {
                Some(port) => format!("{host}:{port}"),
                None => host,
            }
        }
        "@path" => uri.path().to_owned(),
        "@query" => format!("?{}", uri.query().unwrap_or_default()),
        _ => {
            let wanted = item.params.get("name").and_then(|name| name.as_string());
            let wanted = wanted.map(|name| name.as_str()).unwrap_or_default();
            let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            let mut values = pairs.filter(|(name, _)| encoded(name) == wanted).map(|(_, value)| encoded(&value));
            match (values.next(), values.next()) {
                (Some(only), None) => only,
                _ => {
                    let reason = "is covered, and the query does not have its name exactly once";
                    return Err(SignatureError::Component { name: name.to_owned(), reason });
                }
            }
        }
    })
}

/// Encodes a name or a value of a query as section 2.2.8 requires: a space is `%20`.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
