//! The `Content-Type` field (RFC 9110, section 8.3.1): optional white space is spaces and tabs, and a quoted parameter
//! may hold a semicolon.

use std::borrow::Cow;

/// Spaces and tabs (OWS).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Returns type and subtype as sent.
pub(crate) fn essence(field: &str) -> &str {
    trim(field.split(';').next().unwrap_or_default())
}

/// Returns the value of the parameter `charset` without quotes.
pub(crate) fn charset(field: &str) -> Option<&str> {
    parts(field).skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        trim(name).eq_ignore_ascii_case("charset").then(|| trim(value).trim_matches('"'))
    })
}

/// Returns the normalized field: type and subtype in lower case, each parameter after `; `.
pub(crate) fn normalized(field: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/+-.".contains(&byte);
    if field.bytes().all(is_plain) {
        return Cow::Borrowed(field);
    }
    let mut text = essence(field).to_ascii_lowercase();
    for parameter in parts(field).skip(1).filter(|parameter| !parameter.is_empty()) {
        text.push_str("; ");
        text.push_str(parameter);
    }
    Cow::Owned(text)
}

/// Returns the parts between semicolons outside quotes.
fn parts(field: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    field
        .split(move |c| {
            let ends = c == ';' && !quoted;
            quoted ^= c == '"' && !escaped;
            escaped = quoted && c == '\\' && !escaped;
            ends
        })
        .map(trim)
}

#[cfg(test)]
mod tests {
    use super::{charset, essence, normalized};

    #[test]
    fn white_space_and_case_do_not_matter() {
        let check = |field: &str, kind: &str, with: Option<&str>, stored: &str| {
            assert_eq!((essence(field), charset(field), normalized(field).as_ref()), (kind, with, stored), "{field}");
        };
        check("application/json", "application/json", None, "application/json");
        let utf8 = "application/json; charset=utf-8";
        check("application/json;\tcharset=utf-8", "application/json", Some("utf-8"), utf8);
        check("application/json ;  charset=utf-8\t; ", "application/json", Some("utf-8"), utf8);
        check("\tApplication/JSON", "Application/JSON", None, "application/json");
        check(
            "a/b;x=\";charset=y\\\";\" ;Charset=\"UTF-8\"",
            "a/b",
            Some("UTF-8"),
            "a/b; x=\";charset=y\\\";\"; Charset=\"UTF-8\"",
        );
        check("a/b;charset", "a/b", None, "a/b; charset");
        check("", "", None, "");
        check(";;", "", None, "");
    }
}
