//! Names on the command line: queues, event types, routes. An error says what a name may be.

use std::{fs, path::Path};

use crate::CommandError;

/// The longest queue name: the limit of the parameter `Name` of infra/queue.yaml.
const QUEUE_BYTES_MAX: usize = 50;

/// The longest name of a queue at SQS.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
const SQS_NAME_BYTES_MAX: usize = 80;

/// The longest event type, a limit of this command: the handler's file is named after the type.
const TYPE_BYTES_MAX: usize = 100;

/// The methods of a route. OpenAPI's `options` and `trace` are the gateway's and the client's.
const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];

/// Rust's keywords, which cannot be names of modules or fields.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Types that a handler's source uses, which cannot be names of the payload's types.
const TYPES: &[&str] = &["Arc", "Box", "Delivery", "Deserialize", "Option", "Outcome", "Self", "String", "Vec"];

/// A method and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteName {
    /// Upper case.
    pub method: String,
    /// As in the contract: `/orders/{order_id}`.
    pub path: String,
}

impl RouteName {
    /// Parses `POST /invoices`.
    pub(crate) fn parse(text: &str) -> Result<Self, CommandError> {
        let expected = "write it as 'POST /invoices', in quotes";
        let (method, path) = text.trim().split_once(' ').ok_or(expected)?;
        let (method, path) = (method.to_ascii_uppercase(), path.trim());
        if !METHODS.contains(&method.as_str()) {
            return Err(format!("`{method}` is not a method of a route; use one of {}", METHODS.join(", ")).into());
        }
        let is_literal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!&'()*+,;=:@".contains(&byte);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => !name.is_empty() && name.bytes().all(is_name),
            None => !segment.is_empty() && segment.bytes().all(is_literal),
        };
        let segments = path.strip_prefix('/').ok_or_else(|| format!("`{path}` does not start with /; {expected}"))?;
        match segments.split('/').find(|segment| !is_segment(segment)) {
            Some(segment) if path != "/" => Err(format!(
                "`{segment}` in {path} is not a segment of a path: write letters, digits and -._~%, or {{a_name}} for a parameter"
            ).into()),
            _ => Ok(Self { method, path: path.to_owned() }),
        }
    }

    /// Returns the names of the parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Returns the id of the operation: `postInvoicesByInvoiceId`.
    pub(crate) fn operation_id(&self) -> String {
        let words = self.path.split('/').map(|segment| match segment.strip_prefix('{') {
            Some(name) => format!("By{}", pascal(name)),
            None => pascal(segment),
        });
        self.method.to_ascii_lowercase() + &words.collect::<String>()
    }
}

impl std::fmt::Display for RouteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Parses the name of a queue.
pub(crate) fn queue(name: &str) -> Result<String, CommandError> {
    let is_plain = name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.ends_with('-')
        && !name.contains("--");
    if !is_plain {
        return Err("a queue name is lower-case letters, digits and single hyphens, and starts with a letter".into());
    }
    if name.len() > QUEUE_BYTES_MAX {
        return Err(
            format!("has {} characters, of {QUEUE_BYTES_MAX} allowed: choose a shorter name", name.len()).into()
        );
    }
    if name.ends_with("-dlq") {
        return Err("-dlq is the end of a dead-letter queue's name; give the queue another".into());
    }
    Ok(name.to_owned())
}

/// Parses an event type: `invoice.submitted`, or `github.*` for a prefix.
pub(crate) fn handled_type(name: &str) -> Result<String, CommandError> {
    plain_type(name.strip_suffix(".*").unwrap_or(name)).map(|_| name.to_owned())
}

/// Parses the event type of a route: plain, or with values of the request such as `{header.x-github-event}`.
pub(crate) fn route_type(name: &str) -> Result<String, CommandError> {
    match name.contains('{') {
        // The contract's reader checks the template.
        true if name.len() <= TYPE_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(name.to_owned()),
        _ => plain_type(name),
    }
}

fn plain_type(name: &str) -> Result<String, CommandError> {
    let is_word = |word: &str| {
        word.starts_with(|letter: char| letter.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    if name.len() > TYPE_BYTES_MAX || !name.split('.').all(is_word) {
        return Err(
            "an event type is words of lower-case letters, digits, - and _ with dots between, such as invoice.submitted".into(),
        );
    }
    Ok(name.to_owned())
}

/// Checks that the names of the queue at SQS are not too long in any stack that samconfig.toml names.
pub(crate) fn check_length(root: &Path, name: &str, fifo: bool) -> Result<(), CommandError> {
    let config = fs::read_to_string(root.join("samconfig.toml")).unwrap_or_default();
    let stacks = config.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "stack_name").then(|| value.trim().trim_matches(['"', '\'']))
    });
    for stack in stacks {
        let longest = format!("{stack}-{name}-dlq{}", if fifo { ".fifo" } else { "" });
        if longest.len() > SQS_NAME_BYTES_MAX {
            return Err(format!(
                "SQS takes names of {SQS_NAME_BYTES_MAX} characters, and {longest} has {}: shorten `{name}`, or the \
                 stack_name {stack} in samconfig.toml",
                longest.len()
            )
            .into());
        }
    }
    Ok(())
}

/// Converts words to the name of a type: `InvoiceSubmitted` for `invoice.submitted`.
pub(crate) fn pascal(text: &str) -> String {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .flat_map(|word| word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)))
        .collect()
}

/// Converts words to a valid name of a type that no other type of the handler has.
pub(crate) fn type_name(text: &str) -> String {
    let name = pascal(text);
    match name.starts_with(|first: char| first.is_ascii_alphabetic()) && !TYPES.contains(&name.as_str()) {
        true => name,
        false => format!("Payload{name}"),
    }
}

/// Converts words to the name of a module: `invoice_submitted` for `invoice.submitted` and `github` for `github.*`.
pub(crate) fn snake(text: &str) -> String {
    let name = text.strip_suffix(".*").unwrap_or(text).replace(['.', '-'], "_");
    if is_keyword(&name) { format!("{name}_") } else { name }
}

pub(crate) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}
