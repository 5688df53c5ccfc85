//! JSON pointers (RFC 6901): escaping and unescaping of tokens.

use std::borrow::Cow;

/// Returns a key as one token of a pointer: `a/b` becomes `a~1b`.
#[must_use]
pub fn escape(key: &str) -> Cow<'_, str> {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1").into() } else { key.into() }
}

/// Returns the key that a token stands for: `a~1b` becomes `a/b`.
#[must_use]
pub fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

/// Returns the pointer to the member `key` of the value at `pointer`.
#[must_use]
pub fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", escape(key))
}

/// Returns the keys of a pointer, from the outside in.
pub fn keys(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(unescape)
}

#[cfg(test)]
mod tests {
    use super::{child, escape, keys, unescape};

    #[test]
    fn a_key_survives_its_escape() {
        for (key, token) in [("", ""), ("a", "a"), ("a/b", "a~1b"), ("~", "~0"), ("~1", "~01"), ("/~/", "~1~0~1")] {
            assert_eq!(escape(key), token);
            assert_eq!(unescape(token), key);
            assert_eq!(child("/x", key), format!("/x/{token}"));
            assert_eq!(keys(&child("/x", key)).collect::<Vec<_>>(), ["x", key]);
        }
        assert_eq!(keys("").count(), 0);
    }
}
