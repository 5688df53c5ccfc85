//! Nodes: the values of a document with their places.

use std::ops::Range;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

use crate::pointer;

/// One value of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub(crate) line: usize,
    pub(crate) range: Range<usize>,
    pub(crate) pointer: String,
    pub(crate) tag: Option<String>,
    pub(crate) is_flow: bool,
    pub(crate) data: Data,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Nothing, or a value that was refused with a fault.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document.
    Map(Vec<Member>),
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The key as written, without quotes: `200:` is "200".
    pub key: String,
    /// The bytes of the key, quotes included.
    pub key_range: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Member {
    /// Returns the bytes from the start of the key to the end of the value.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.key_range.start..self.value.range.end.max(self.key_range.end)
    }
}

impl Node {
    /// Returns the line, from 1: that of the key for the value of a mapping, else that of the value itself.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the bytes of the value with its tag or anchor, without comments around it. A collection in block style
    /// ends with its last value; a block scalar (`|`, `>`) starts with its text.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns the JSON pointer to the value.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Returns the pointer to a member, existing or not.
    #[must_use]
    pub fn child_pointer(&self, key: &str) -> String {
        pointer::child(&self.pointer, key)
    }

    /// Returns the tag without `!`: "Ref" for `!Ref Name`. Only [`Dialect::CloudFormation`](crate::Dialect) has tags.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns whether the value is a mapping or sequence in braces or brackets.
    #[must_use]
    pub fn is_flow(&self) -> bool {
        self.is_flow
    }

    /// Returns what the node holds, without its tag.
    #[must_use]
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Returns the text of a string without a tag.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match (&self.data, &self.tag) {
            (Data::Text(text), None) => Some(text),
            _ => None,
        }
    }

    /// Returns whether the node is a mapping.
    #[must_use]
    pub fn is_map(&self) -> bool {
        matches!(self.data, Data::Map(_))
    }

    /// Returns the members of a mapping; an empty slice for another value.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match &self.data {
            Data::Map(members) => members,
            _ => &[],
        }
    }

    /// Returns the keys and values of a mapping; nothing for another value.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, &Node)> {
        self.members().iter().map(|member| (member.key.as_str(), &member.value))
    }

    /// Returns the items of a sequence; an empty slice for another value.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the member `key` of a mapping.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.key == key)
    }

    /// Returns the value of the member `key` of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    /// Follows a JSON pointer from here.
    ///
    /// # Errors
    /// The last existing node on the path of the pointer.
    pub fn follow(&self, pointer: &str) -> Result<&Node, &Node> {
        let mut node = self;
        for key in pointer::keys(pointer) {
            let item = || node.items().get(key.parse::<usize>().ok()?);
            node = node.get(&key).or_else(item).ok_or(node)?;
        }
        Ok(node)
    }

    /// Returns the number of nodes, this one included.
    pub(crate) fn count(&self) -> usize {
        let items = self.items().iter().map(Self::count).sum::<usize>();
        1 + items + self.entries().map(|(_, value)| value.count()).sum::<usize>()
    }

    /// Returns the depth of the nesting below this node.
    pub(crate) fn depth(&self) -> usize {
        let items = self.items().iter().map(Self::depth);
        items.chain(self.entries().map(|(_, value)| value.depth())).max().map_or(0, |below| below + 1)
    }

    /// Returns the same value at another place of the document. Lines and bytes remain those where it is written.
    pub(crate) fn at(&self, pointer: String) -> Self {
        let data = match &self.data {
            Data::List(items) => {
                let items = items.iter().enumerate().map(|(index, item)| item.at(format!("{pointer}/{index}")));
                Data::List(items.collect())
            }
            Data::Map(members) => {
                let moved = |member: &Member| {
                    let value = member.value.at(pointer::child(&pointer, &member.key));
                    Member { key: member.key.clone(), key_range: member.key_range.clone(), value }
                };
                Data::Map(members.iter().map(moved).collect())
            }
            scalar => scalar.clone(),
        };
        Self { pointer, data, tag: self.tag.clone(), range: self.range.clone(), ..*self }
    }
}

/// As JSON, in the order of the document and without tags.
impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.data {
            Data::Null => serializer.serialize_unit(),
            Data::Bool(value) => serializer.serialize_bool(*value),
            Data::Number(value) => value.serialize(serializer),
            Data::Text(value) => serializer.serialize_str(value),
            Data::List(items) => serializer.collect_seq(items),
            Data::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|member| map.serialize_entry(&member.key, &member.value))?;
                map.end()
            }
        }
    }
}
