//! Fields in the form of `application/x-www-form-urlencoded`: of a query string, or of a body.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Returns the decoded value of a field; `None` if it is absent, is there more than once, or is not UTF-8.
pub(crate) fn value<'t>(text: &'t str, name: &str) -> Option<Cow<'t, str>> {
    let mut values = values(text, name);
    values.next().filter(|_| values.next().is_none()).and_then(decoded)
}

/// Returns whether a field is there more than once, so that [`value`] has no value for it.
pub(crate) fn repeats(text: &str, name: &str) -> bool {
    values(text, name).nth(1).is_some()
}

fn values<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| decoded(key).is_some_and(|key| key == name)).map(|(_, value)| value)
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        return percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned().into());
    }
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::{repeats, value};

    #[test]
    fn a_field_is_decoded_and_a_repeated_one_has_no_value() {
        let text = "a=1&b=x+y%20z&c=%C3%A9&d&e=&f=1&f=2&%67=7&h=%ff&=8";
        for (name, expected) in [
            ("a", Some("1")),
            ("b", Some("x y z")),
            ("c", Some("é")),
            ("d", Some("")),
            ("e", Some("")),
            ("f", None),
            ("g", Some("7")),
            ("h", None),
            ("", Some("8")),
            ("z", None),
        ] {
            assert_eq!(value(text, name).as_deref(), expected, "{name}");
            assert_eq!(repeats(text, name), name == "f", "{name}");
        }
    }
}
