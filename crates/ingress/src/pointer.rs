//! JSON pointers (RFC 6901) of bounded length for answers, because the sender of a document chooses its names.

use sluicegate_contract::pointer::escape;

/// The longest pointer in an answer, in bytes. Real documents stay far below it.
pub(crate) const POINTER_BYTES_MAX: usize = 256;

/// A pointer of at most [`POINTER_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// The pointer to the value or, if cut, to one of its ancestors.
    pub(crate) text: String,
    /// Whether the value is below `text`.
    pub(crate) is_cut: bool,
}

impl Pointer {
    /// Returns the pointer of these names, from the outside in, up to the limit.
    pub(crate) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut text = String::new();
        for name in names {
            if text.len() + 1 + name.len() > POINTER_BYTES_MAX {
                return Self { text, is_cut: true };
            }
            let name = escape(name);
            if text.len() + 1 + name.len() > POINTER_BYTES_MAX {
                return Self { text, is_cut: true };
            }
            text.push('/');
            text.push_str(&name);
        }
        Self { text, is_cut: false }
    }
}

#[cfg(test)]
mod tests {
    use super::{POINTER_BYTES_MAX, Pointer};

    #[test]
    fn a_pointer_is_cut_between_two_names() {
        let fits = "x".repeat(POINTER_BYTES_MAX - 3);
        let check = |names: &[&str], text: &str, is_cut: bool| {
            let pointer = Pointer::of(names.iter().copied());
            assert_eq!(pointer, Pointer { text: text.to_owned(), is_cut }, "{names:?}");
        };
        check(&[], "", false);
        check(&["a/b", "~", ""], "/a~1b/~0/", false);
        check(&["a", &fits], &format!("/a/{fits}"), false);
        check(&["ab", &fits, "c"], "/ab", true);
        check(&[&"/".repeat(200)], "", true);
    }
}
