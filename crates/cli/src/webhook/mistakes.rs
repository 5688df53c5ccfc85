//! The usual mistakes with a webhook: the bodies, URLs and keys that the sender may have used instead, each with its
//! cause.

use serde_json::Value;
use sluicegate_webhook::{Encoding, KeyEncoding, Scheme, Secret};

/// The white space of JSON that something wrote anew.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    AsItIs,
    Compact,
    /// A space after each comma and colon.
    Spaced,
    /// A line for each value, and this many spaces for each level.
    Indented(usize),
}

const LAYOUTS: [(&str, Layout); 5] = [
    ("", Layout::AsItIs),
    (" without white space", Layout::Compact),
    (" with a space after each comma and colon", Layout::Spaced),
    (" with an indentation of 2", Layout::Indented(2)),
    (" with an indentation of 4", Layout::Indented(4)),
];

/// The form of the strings of JSON that something wrote anew.
#[derive(Clone, Copy, PartialEq)]
enum Strings {
    AsTheyAre,
    /// Characters outside ASCII as `\uxxxx`.
    Escaped,
    /// Characters outside ASCII as they are.
    Unescaped,
    /// `\/` for each slash.
    SlashesEscaped,
    SlashesUnescaped,
}

const STRINGS: [(&str, Strings); 5] = [
    ("", Strings::AsTheyAre),
    (", with \\u escapes", Strings::Escaped),
    (", without \\u escapes", Strings::Unescaped),
    (", with escaped slashes", Strings::SlashesEscaped),
    (", without escaped slashes", Strings::SlashesUnescaped),
];

/// Returns the bodies that the sender may have signed, with what distinguishes each from the recorded one.
pub(super) fn bodies(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut bodies: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: String, other: Vec<u8>| {
        if other != body && !bodies.iter().any(|(_, known)| *known == other) {
            bodies.push((what, other));
        }
    };
    match body.strip_suffix(b"\n") {
        Some(without) => {
            add("it has no line feed at the end".to_owned(), without.to_vec());
            if let Some(without) = without.strip_suffix(b"\r") {
                add("it has no carriage return and line feed at the end".to_owned(), without.to_vec());
            }
        }
        None => {
            add("it ends with a line feed".to_owned(), [body, b"\n"].concat());
            add("it ends with a carriage return and a line feed".to_owned(), [body, b"\r\n"].concat());
        }
    }
    let lines = |separator: &[u8]| {
        let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.collect::<Vec<_>>().join(separator)
    };
    add("its lines end with a carriage return and a line feed".to_owned(), lines(b"\r\n"));
    add("its lines end with a line feed alone".to_owned(), lines(b"\n"));
    if let Some(without) = body.strip_prefix("\u{feff}".as_bytes()) {
        add("it has no byte order mark".to_owned(), without.to_vec());
    }
    let base64 = Encoding::Base64.decode(body.trim_ascii()).filter(|decoded| !decoded.is_empty());
    if let Some(decoded) = base64 {
        add("the recorded one is base64 of it, as isBase64Encoded in an event says".to_owned(), decoded);
    }
    if serde_json::from_slice::<Value>(body).is_ok()
        && let Ok(text) = std::str::from_utf8(body)
    {
        for (how, strings) in STRINGS {
            for (white_space, layout) in LAYOUTS {
                let what = format!("it is the same JSON{white_space}{how}: something wrote it anew");
                add(what, rewritten(text, layout, strings).into_bytes());
            }
        }
    }
    bodies
}

/// Returns the URLs that the sender may have signed, with what distinguishes each from the given one.
pub(super) fn urls(url: &str) -> Vec<(&'static str, String)> {
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let with_query = |path: &str| query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let slash = match path.strip_suffix('/') {
        Some(without) => ("it has no slash at the end", with_query(without)),
        None => ("it has a slash at the end", with_query(&format!("{path}/"))),
    };
    let mut urls = vec![slash];
    if query.is_some() {
        urls.push(("it has no query", path.to_owned()));
    }
    for (one, other, what) in [("http://", "https://", "it is https"), ("https://", "http://", "it is http")] {
        urls.extend(url.strip_prefix(one).map(|rest| (what, format!("{other}{rest}"))));
    }
    urls
}

/// Returns the keys that the sender may have made of the text of a secret, with how it made each.
pub(super) fn keys(scheme: &Scheme, text: &str) -> Vec<(&'static str, Scheme, Secret)> {
    const STANDARD_PREFIX: &str = "whsec_";
    let prefixes = match scheme.secret.prefixes.as_slice() {
        [] => vec![STANDARD_PREFIX.to_owned()],
        known => known.to_vec(),
    };
    let trimmed = text.trim();
    let bare = prefixes.iter().fold(trimmed, |text, prefix| text.strip_prefix(prefix.as_str()).unwrap_or(text));
    let base64 = bare.replace('-', "+").replace('_', "/");
    let forms = [
        ("the text itself is the key, it is not decoded", KeyEncoding::Text, trimmed),
        ("the text after the prefix is the key, it is not decoded", KeyEncoding::Text, bare),
        ("the key is base64, after the prefix of the secret", KeyEncoding::Base64, bare),
        ("the key is base64 in the alphabet of URLs", KeyEncoding::Base64, base64.as_str()),
        ("the key is in hexadecimal digits", KeyEncoding::Hex, bare),
    ];
    let mut keys: Vec<(&'static str, Scheme, Secret)> = Vec::new();
    for (position, (what, encoding, text)) in forms.into_iter().enumerate() {
        let mut other = scheme.clone();
        (other.secret.encoding, other.secret.bytes_min, other.secret.bytes_max) = (encoding, None, None);
        let is_known = forms[..position].iter().any(|(_, known, same)| (*known, *same) == (encoding, text));
        if !is_known && let Ok(secret) = other.secret(text) {
            keys.push((what, other, secret));
        }
    }
    keys
}

/// Returns JSON in another form. The order of members and the numbers stay.
fn rewritten(json: &str, layout: Layout, strings: Strings) -> String {
    let (mut written, mut depth) = (String::with_capacity(json.len() * 2), 0_usize);
    let new_line = |written: &mut String, depth: usize| {
        if let Layout::Indented(width) = layout {
            written.push('\n');
            written.extend(std::iter::repeat_n(' ', width * depth));
        }
    };
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                let mut literal = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => literal.extend([Some(c), chars.next()].into_iter().flatten()),
                        c => literal.push(c),
                    }
                }
                written.push('"');
                written.push_str(&string(&literal, strings));
                written.push('"');
            }
            c if layout == Layout::AsItIs => written.push(c),
            c if c.is_ascii_whitespace() => {}
            '{' | '[' => {
                written.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                if chars.peek().is_some_and(|next| !"}]".contains(*next)) {
                    depth += 1;
                    new_line(&mut written, depth);
                } else {
                    written.extend(chars.next());
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut written, depth);
                written.push(c);
            }
            ',' => {
                written.push(c);
                written.push_str(if layout == Layout::Spaced { " " } else { "" });
                new_line(&mut written, depth);
            }
            ':' => written.push_str(if layout == Layout::Compact { ":" } else { ": " }),
            c => written.push(c),
        }
    }
    written
}

/// Returns the content of a JSON string in another form.
fn string(literal: &str, form: Strings) -> String {
    match form {
        Strings::AsTheyAre => literal.to_owned(),
        Strings::SlashesUnescaped => literal.replace("\\/", "/"),
        Strings::SlashesEscaped => literal.replace("\\/", "/").replace('/', "\\/"),
        Strings::Escaped => {
            let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            literal.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect()
        }
        Strings::Unescaped => {
            let (mut text, mut rest) = (String::new(), literal);
            while let Some(at) = rest.find('\\') {
                text.push_str(&rest[..at]);
                rest = &rest[at..];
                let (c, length) = unescaped(rest).unwrap_or(('\\', 1));
                text.push(c);
                rest = &rest[length..];
                // The character after another escape is part of it.
                if length == 1 {
                    let mut chars = rest.chars();
                    text.extend(chars.next());
                    rest = chars.as_str();
                }
            }
            text + rest
        }
    }
}

/// Returns the character outside ASCII that a text of `\u` escapes begins with, and the length of its escapes.
fn unescaped(text: &str) -> Option<(char, usize)> {
    const ESCAPE_BYTES: usize = 6;
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let first = unit(text)?;
    let second = text.get(ESCAPE_BYTES..).and_then(unit);
    let c = char::decode_utf16([Some(first), second].into_iter().flatten()).next()?.ok()?;
    (!c.is_ascii()).then(|| (c, ESCAPE_BYTES * c.len_utf16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_in_another_form() {
        let json = "{ \"b\" : [1, {}, [ ]],\n\"a\":\"x, \\\" : {\"}";
        for (layout, expected) in [
            (Layout::AsItIs, json),
            (Layout::Compact, r#"{"b":[1,{},[]],"a":"x, \" : {"}"#),
            (Layout::Spaced, r#"{"b": [1, {}, []], "a": "x, \" : {"}"#),
            (Layout::Indented(2), "{\n  \"b\": [\n    1,\n    {},\n    []\n  ],\n  \"a\": \"x, \\\" : {\"\n}"),
        ] {
            assert_eq!(rewritten(json, layout, Strings::AsTheyAre), expected);
        }
        for (form, literal, expected) in [
            (Strings::Escaped, "aé\u{1f600}\\n", "a\\u00e9\\ud83d\\ude00\\n"),
            (Strings::Unescaped, "a\\u00e9\\ud83d\\ude00\\n\\\\u00e9\\u0041", "aé\u{1f600}\\n\\\\u00e9\\u0041"),
            (Strings::Unescaped, "\\ud83d\\", "\\ud83d\\"),
            (Strings::SlashesEscaped, "a/b\\/c", "a\\/b\\/c"),
            (Strings::SlashesUnescaped, "a/b\\/c", "a/b/c"),
        ] {
            assert_eq!(string(literal, form), expected);
        }
    }

    #[test]
    fn a_url_has_its_usual_mistakes() {
        let found = urls("https://a.example/b?c");
        let found: Vec<_> = found.iter().map(|(_, url)| url.as_str()).collect();
        assert_eq!(found, ["https://a.example/b/?c", "https://a.example/b", "http://a.example/b?c"]);
    }
}
