//! A place in the document: a node that knows its own pointer. And the two ends of a pointer: escaping and following it.

use percent_encoding::percent_decode_str;

use super::yaml::{Data, Node};

/// A node and the JSON pointer to it.
#[derive(Debug, Clone)]
pub(super) struct At<'d> {
    pub(super) node: &'d Node,
    pub(super) pointer: String,
}

impl<'d> At<'d> {
    pub(super) fn root(node: &'d Node) -> Self {
        Self { node, pointer: String::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<At<'d>> {
        Some(At { node: self.node.get(key)?, pointer: self.child_pointer(key) })
    }

    pub(super) fn child_pointer(&self, key: &str) -> String {
        format!("{}/{}", self.pointer, escape(key))
    }

    /// The members of an object; none if it is something else.
    pub(super) fn members(&self) -> Vec<(&'d str, At<'d>)> {
        match &self.node.data {
            Data::Object(members) => members
                .iter()
                .map(|(key, node)| (key.as_str(), At { node, pointer: self.child_pointer(key) }))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The items of a list; none if it is something else.
    pub(super) fn items(&self) -> Vec<At<'d>> {
        match &self.node.data {
            Data::List(items) => (0..)
                .zip(items)
                .map(|(index, node): (usize, _)| At { node, pointer: format!("{}/{index}", self.pointer) })
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        match &self.node.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.node.data, Data::Object(_))
    }

    /// Follows a JSON pointer from here, as far as it leads.
    pub(super) fn follow(&self, pointer: &str) -> Result<At<'d>, At<'d>> {
        let mut at = self.clone();
        for token in pointer.split('/').skip(1) {
            let key = token.replace("~1", "/").replace("~0", "~");
            let index = || at.items().into_iter().nth(key.parse().ok()?);
            match at.get(&key).or_else(index) {
                Some(next) => at = next,
                None => return Err(at),
            }
        }
        Ok(at)
    }
}

/// The pointer in a local reference (`#/components/…`); `None` if it is remote, or not a pointer.
pub(super) fn local_pointer(reference: &str) -> Option<String> {
    let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    pointer.starts_with('/').then(|| pointer.into_owned())
}

/// One key as a token of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
