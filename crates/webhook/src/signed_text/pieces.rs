//! The bytes of a signed text, from a request.

use std::borrow::Cow;

use super::{Member, Part, SignedText};
use crate::crc32::crc32;
use crate::request::{Item, Request};

/// The values of a request that its headers or the list of the signature hold.
#[derive(Clone, Copy)]
pub(crate) struct Signed<'r> {
    pub(crate) timestamp: &'r [u8],
    pub(crate) id: &'r [u8],
    /// The name of the timestamp's header, which a list of signed headers must include; empty for none.
    pub(crate) timestamp_header: &'r str,
    /// The secret; empty unless the scheme has published keys.
    pub(crate) secret: &'r [u8],
}

impl SignedText {
    /// Returns the literal after the id. An id with it would make the split of the signed text ambiguous.
    pub(crate) fn after_id(&self) -> Option<&str> {
        self.0.windows(2).find_map(|pair| match pair {
            [Part::Id, Part::Literal(text)] => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns the bytes of each part, in order; `None` if the request has no such text.
    pub(crate) fn pieces<'r>(
        &'r self,
        request: &Request<'r>,
        item: Item<'r>,
        signed: Signed<'r>,
    ) -> Option<Vec<Cow<'r, [u8]>>> {
        let text = |text: &'r str| Cow::Borrowed(text.as_bytes());
        let owned = |text: String| Cow::Owned(text.into_bytes());
        let piece = |part: &'r Part| {
            Some(match part {
                Part::Literal(literal) => text(literal),
                Part::Body => Cow::Borrowed(request.body),
                Part::BodyEscaped => owned(escaped(std::str::from_utf8(request.body).ok()?)),
                Part::BodyCrc32 => owned(crc32(request.body).to_string()),
                Part::Lines(members) => owned(lines(item, members)?),
                Part::Secret => Cow::Borrowed(signed.secret),
                Part::Pointer(pointer) => owned(item.text(pointer).unwrap_or_default()),
                Part::Form => owned(request.form_text()?),
                Part::Timestamp => Cow::Borrowed(signed.timestamp),
                Part::Id => Cow::Borrowed(signed.id),
                Part::Header(name) => Cow::Borrowed(request.header(name)?.unwrap_or_default()),
                Part::Listed(name) => owned(request.listed(name, signed.timestamp_header)?),
                Part::Method => text(request.method),
                Part::Url => text(request.url),
                Part::UrlWithPort => owned(with_other_port(request.url)?),
                Part::Path => text(path_and_query(request.url)?),
                Part::PathEncoded => owned(encoded(path_and_query(request.url)?)?),
            })
        };
        self.0.iter().map(piece).collect()
    }
}

/// Returns the name and the value of each member in a line.
fn lines(item: Item<'_>, members: &[Member]) -> Option<String> {
    let body = item.0?.as_object()?;
    let mut lines = String::new();
    for (position, Member { name, optional }) in members.iter().enumerate() {
        let value = match body.get(name) {
            Some(value) => value.as_str()?,
            None if *optional => continue,
            None => return None,
        };
        if position > 0 && value.contains('\n') {
            return None;
        }
        lines.extend([name, "\n", value, "\n"]);
    }
    Some(lines)
}

/// Writes each character outside ASCII, and DEL, as the escapes of its UTF-16 units, `\uxxxx` in lower case, and each
/// slash that does not follow a backslash as `\/`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '/' if !escaped.ends_with('\\') => escaped.push_str("\\/"),
            '\0'..='\x7e' => escaped.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    escaped
}

/// Returns the URL without its port or, if it has none, with the default port of its scheme.
fn with_other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(format!("{scheme}://{host}{path}"))
        }
        _ => {
            let port = if scheme == "http" { 80 } else { 443 };
            Some(format!("{scheme}://{authority}:{port}{path}"))
        }
    }
}

/// The characters besides letters and digits that JavaScript's `encodeURIComponent` keeps.
const UNRESERVED: &str = "-_.!~*'()";
/// Those that `encodeURI` keeps as well.
const RESERVED: &str = ";,/?:@&=+$#";

/// Returns a path and query as Contentful signs them: the query as one component, and then both as a URI; `None` for a
/// query with another `?`, because Contentful does not sign what follows it.
fn encoded(path_and_query: &str) -> Option<String> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let uri = match query {
        "" => path.to_owned(),
        query => format!("{path}?{}", percent_encoded(query, "")),
    };
    (!query.contains('?')).then(|| percent_encoded(&uri, RESERVED))
}

fn percent_encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || UNRESERVED.contains(c) || kept.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn path_and_query(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.find(['/', '?']).map_or("/", |start| &rest[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gets_the_default_port_or_loses_its_own() {
        for (url, expected) in [
            ("https://a.example/b?c", Some("https://a.example:443/b?c")),
            ("http://a.example", Some("http://a.example:80")),
            ("https://a.example?c:1", Some("https://a.example:443?c:1")),
            ("https://a.example:8443/b", Some("https://a.example/b")),
            ("https://a.example:443", Some("https://a.example")),
            ("https://[2001:db8::1]/b", Some("https://[2001:db8::1]:443/b")),
            ("/b", None),
        ] {
            assert_eq!(with_other_port(url).as_deref(), expected);
        }
    }

    #[test]
    fn members_are_lines_that_split_in_one_way() {
        let members = |text: &str| match SignedText::try_from(format!("{{lines.{text}}}")).unwrap().0.remove(0) {
            Part::Lines(members) => members,
            part => panic!("{part:?}"),
        };
        for (body, expected) in [
            (r#"{"M":"a\nb","I":"1","S":"s"}"#, Some("M\na\nb\nI\n1\nS\ns\n")),
            (r#"{"M":"","I":"1"}"#, Some("M\n\nI\n1\n")),
            (r#"{"M":"a","I":"1\nS\ns"}"#, None),
            (r#"{"M":"a","I":"1","S":"s\n"}"#, None),
            (r#"{"M":"a","I":1}"#, None),
            (r#"{"M":"a","I":"1","S":null}"#, None),
            (r#"{"M":"a"}"#, None),
            ("[]", None),
        ] {
            let body = serde_json::from_str(body).unwrap();
            assert_eq!(lines(Item(Some(&body)), &members("M,I,S?")).as_deref(), expected, "{body}");
        }
        assert_eq!(lines(Item(None), &members("M")), None);
    }

    #[test]
    fn a_body_is_escaped_as_box_does() {
        assert_eq!(escaped("aé\u{1f600}\u{7f}~"), "a\\u00e9\\ud83d\\ude00\\u007f~");
        assert_eq!(escaped(r"https://a/ \/ é/"), r"https:\/\/a\/ \/ \u00e9\/");
    }

    /// The expected texts are those of @contentful/node-apps-toolkit 3.16.1.
    #[test]
    fn a_path_is_encoded_as_contentful_does() {
        for (path, expected) in [
            ("/hook", Some("/hook")),
            ("/hook?", Some("/hook")),
            ("/hook?a=1", Some("/hook?a%253D1")),
            (
                "/h%20k/é;,:@&=+$-_.!~*'()#?a=b&c=%20/",
                Some("/h%2520k/%C3%A9;,:@&=+$-_.!~*'()#?a%253Db%2526c%253D%252520%252F"),
            ),
            ("/hook?a=1?b=2", None),
        ] {
            assert_eq!(encoded(path).as_deref(), expected);
        }
    }
}
