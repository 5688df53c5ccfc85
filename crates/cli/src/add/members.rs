//! Insertion and removal of members of YAML mappings, as whole lines.

use sluicegate_sam::TemplateDocument;
use sluicegate_yaml::{Dialect, Document, Member, Node};

use crate::CommandError;
use crate::edit::{TextEdits, line_end, line_start};

/// Reads a document to edit. A duplicate key is refused, because it is not clear which of the two to edit.
pub(crate) fn read(file: &str, text: &str, dialect: Dialect) -> Result<Document, CommandError> {
    let document = Document::read(file, text, dialect)?;
    match document.faults.iter().chain(&document.duplicates).next() {
        Some(fault) => Err(fault.to_string().into()),
        None => Ok(document),
    }
}

/// Reads a template to edit, with the same rule.
pub(crate) fn read_template(file: &str, text: &str) -> Result<TemplateDocument, CommandError> {
    let template = TemplateDocument::parse(file, text)?;
    match template.duplicates.first() {
        Some(fault) => Err(fault.to_string().into()),
        None => Ok(template),
    }
}

/// Returns the members of a mapping, without those of merge keys.
pub(crate) fn own(node: &Node) -> impl Iterator<Item = &Member> {
    let range = node.range();
    node.members().iter().filter(move |member| range.contains(&member.key_range.start))
}

/// Returns an error with the file and line of a node.
pub(crate) fn refuse(file: &str, node: &Node, reason: impl std::fmt::Display) -> CommandError {
    format!("{file}:{}: {reason}", node.line()).into()
}

/// The place of a new member.
pub(crate) struct Target<'a> {
    /// The keys of the mapping, from the outside in; missing ones are added.
    pub path: &'a [&'a str],
    /// Whether blank lines separate the members, if the mapping has fewer than two.
    pub is_apart: bool,
    /// The member goes after the last of these; `None` for the last of all.
    pub after: Option<&'a dyn Fn(&str) -> bool>,
}

/// Returns the text with a new last member of a mapping. `lines` are not indented and end with a line break each.
pub(crate) fn insert(
    file: &str,
    text: &str,
    dialect: Dialect,
    target: &Target<'_>,
    lines: &str,
) -> Result<String, CommandError> {
    let document = read(file, text, dialect)?;
    let (mut node, mut key, mut depth) = (&document.root, None, 0);
    while let Some(member) = target.path.get(depth).and_then(|name| node.member(name)) {
        (node, key, depth) = (&member.value, Some(member), depth + 1);
    }
    let (mut block, missing) = (lines.to_owned(), &target.path[depth..]);
    for name in missing.iter().rev() {
        block = format!("{name}:\n{}", indented(&block, 2));
    }
    let mut edits = TextEdits::default();
    let chosen = target.after.filter(|_| missing.is_empty());
    let members: Vec<&Member> = own(node).collect();
    let last = chosen.and_then(|after| members.iter().rev().find(|it| after(&it.key))).or(members.last());
    let Some(last) = last else {
        // `{}` or an empty value.
        let Some(key) = key else { return Err(format!("{file}: is empty").into()) };
        if !node.is_map() && *node.data() != sluicegate_yaml::Data::Null {
            return Err(refuse(file, node, format!("{} is not a mapping", key.key)));
        }
        if node.is_flow() {
            edits.replace(key.key_range.end..node.range().end, ":");
        }
        let indent = column(text, key.key_range.start) + 2;
        edits.insert_lines(text, line_end(text, key.range().end), &indented(&block, indent));
        return Ok(edits.apply(text));
    };
    if node.is_flow() {
        let name = key.map_or("the document", |key| key.key.as_str());
        return Err(refuse(file, node, format!("{name} is in braces: write one entry a line, indented")));
    }
    let indent = column(text, last.key_range.start);
    let is_apart = match members[..] {
        _ if !missing.is_empty() => true,
        [.., _, last] => is_after_blank(text, last.key_range.start),
        _ => target.is_apart,
    };
    let separator = if is_apart { "\n" } else { "" };
    edits.insert_lines(text, end(text, last, indent), &(separator.to_owned() + &indented(&block, indent)));
    Ok(edits.apply(text))
}

/// Returns the text without a member, and without the mappings around it that have no other. `keep` names a mapping
/// that stays, as `{}`.
pub(crate) fn remove(
    file: &str,
    text: &str,
    dialect: Dialect,
    path: &[&str],
    keep: &str,
) -> Result<String, CommandError> {
    let document = read(file, text, dialect)?;
    let mut way: Vec<&Member> = Vec::new();
    let mut node = &document.root;
    for name in path {
        let Some(member) = node.member(name) else { return Ok(text.to_owned()) };
        if node.is_flow() {
            return Err(refuse(file, node, format!("{name} is in braces: remove it by hand")));
        }
        way.push(member);
        node = &member.value;
    }
    while let [.., parent, _] = way[..] {
        if own(&parent.value).count() > 1 || parent.key == keep {
            break;
        }
        way.pop();
    }
    let Some(member) = way.pop() else { return Ok(text.to_owned()) };
    let mut edits = TextEdits::default();
    if let Some(parent) = way.last().filter(|parent| own(&parent.value).count() == 1) {
        edits.replace(parent.key_range.end..parent.key_range.end + 1, ": {}");
    }
    remove_lines(text, &mut edits, member);
    Ok(edits.apply(text))
}

/// Removes a member with the blank line above it.
fn remove_lines(text: &str, edits: &mut TextEdits, member: &Member) {
    let start = member.key_range.start;
    let end = end(text, member, column(text, start));
    let mut first = line_start(text, start);
    if is_after_blank(text, start) {
        first = line_start(text, first - 1);
    }
    // The end is the start of the next line, or of the text's end.
    let last = if text[..end].ends_with('\n') { end - 1 } else { end };
    edits.remove_lines(text, &(first..last.max(first)));
}

/// Returns the end of a member's lines, with the comments that are indented further than its key.
fn end(text: &str, member: &Member, indent: usize) -> usize {
    let mut end = line_end(text, member.range().end);
    while let Some(line) = text[end..].lines().next() {
        let is_inside = line.len() - line.trim_start_matches(' ').len() > indent;
        if !line.trim_start().starts_with('#') || !is_inside {
            break;
        }
        end = line_end(text, end);
    }
    end
}

/// Returns whether a blank line is above the line with this byte, or above the comments there.
fn is_after_blank(text: &str, at: usize) -> bool {
    let start = line_start(text, at);
    start > 0 && text[line_start(text, start - 1)..start].trim().is_empty()
}

/// Returns the column of a byte, from 0.
pub(crate) fn column(text: &str, at: usize) -> usize {
    at - line_start(text, at)
}

/// Returns the lines, each indented unless it is blank.
pub(crate) fn indented(lines: &str, columns: usize) -> String {
    let line = |line: &str| if line.trim().is_empty() { line.to_owned() } else { format!("{:columns$}{line}", "") };
    lines.split_inclusive('\n').map(line).collect()
}

/// Returns a text as a YAML scalar, quoted unless plain words suffice.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/_.$~ -".contains(letter))
        && !text.ends_with(' ')
        && !["true", "false", "null"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}
