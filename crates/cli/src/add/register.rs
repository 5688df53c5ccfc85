//! Lines of the consumer's sources that name a handler: its module, and its registration.
//!
//! Rust is edited by its text: the expected shape is the one that a project starts with. Another shape is an error with
//! the lines to paste.

use crate::CommandError;

/// The first line of the function that registers the handlers.
const REGISTERED: &str = "fn registered() -> ConsumerBuilder {\n";

/// The start of the chain of handlers.
const BUILDER: &str = "Consumer::builder()";

/// The widths that `rustfmt` keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widths {
    /// The widest line.
    pub line: usize,
    /// The widest chain of calls that stays on one line.
    chain: usize,
}

impl Widths {
    /// Reads `max_width` and `use_small_heuristics` of a rustfmt.toml.
    pub(crate) fn of(config: &str) -> Self {
        let value = |name: &str| {
            let lines = config.lines().filter_map(|line| line.split_once('='));
            lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"')).next_back()
        };
        let line: usize = value("max_width").and_then(|width| width.parse().ok()).unwrap_or(100);
        let chain = match value("use_small_heuristics") {
            // The chain is indented by 4.
            Some("Max") => line.saturating_sub(4),
            Some("Off") => 0,
            // `chain_width` is 60 % of the line.
            _ => line.saturating_mul(3) / 5,
        };
        Self { line, chain }
    }
}

/// Edits a text with `\n` line ends; the result has the line ends of the text.
pub(crate) fn with_unix_lines(
    text: &str,
    edit: impl FnOnce(&str) -> Result<String, CommandError>,
) -> Result<String, CommandError> {
    let is_windows = text.contains("\r\n") && text.matches("\r\n").count() == text.matches('\n').count();
    match is_windows {
        true => Ok(edit(&text.replace("\r\n", "\n"))?.replace('\n', "\r\n")),
        false => edit(text),
    }
}

/// Returns the list of handlers with a new module, in rustfmt's order.
pub(crate) fn declare(file: &str, text: &str, module: &str) -> Result<String, CommandError> {
    if is_declared(text, module) {
        return Ok(text.to_owned());
    }
    let line = format!("pub(crate) mod {module};\n");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_module = |at: usize| {
        let has_attribute = at > 0 && lines[at - 1].trim_start().starts_with("#[");
        module_of(lines[at]).filter(|_| !has_attribute)
    };
    let Some(last) = (0..lines.len()).rfind(|at| is_module(*at).is_some()) else {
        if text.lines().any(|line| !(line.is_empty() || line.starts_with(['/', '#']) || module_of(line).is_some())) {
            return Err(format!("{file}: has more than modules, so add this line by hand:\n{line}").into());
        }
        let separator = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{end}{separator}{line}"));
    };
    let first = (0..last).rev().take_while(|at| is_module(*at).is_some()).last().unwrap_or(last);
    let place = (first..=last).find(|at| is_module(*at).is_some_and(|other| other > module)).unwrap_or(last + 1);
    let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    if let Some(before) = place.checked_sub(1).filter(|before| !lines[*before].ends_with('\n')) {
        lines[before].push('\n');
    }
    lines.insert(place, line);
    Ok(lines.concat())
}

/// Returns whether the list declares the module.
pub(crate) fn is_declared(text: &str, module: &str) -> bool {
    text.lines().any(|line| module_of(line) == Some(module))
}

/// Returns the list of handlers without a module.
pub(crate) fn undeclare(text: &str, module: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(at) = lines.iter().position(|line| module_of(line) == Some(module)) else { return text.to_owned() };
    let is_blank = |at: Option<usize>| at.and_then(|at| lines.get(at)).is_none_or(|line| line.trim().is_empty());
    // The blank line above, if the next line is blank or missing too.
    let first = if at > 0 && is_blank(Some(at - 1)) && is_blank(Some(at + 1)) { at - 1 } else { at };
    [&lines[..first], &lines[at + 1..]].concat().concat()
}

/// Returns the name in `mod name;`, with any visibility.
fn module_of(line: &str) -> Option<&str> {
    let (visibility, name) = line.trim_end().strip_suffix(';')?.rsplit_once("mod ")?;
    ["", "pub ", "pub(crate) ", "pub(crate) "].contains(&visibility).then_some(name)
}

/// The call that registers a handler.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `on` or `on_json`.
    pub method: &'static str,
    pub event_type: String,
    pub module: String,
}

impl Call {
    fn text(&self) -> String {
        format!(".{}({:?}, handlers::{}::handle)", self.method, self.event_type, self.module)
    }
}

/// Returns `main` with a registered handler.
pub(crate) fn register(file: &str, text: &str, call: &Call, widths: Widths) -> Result<String, CommandError> {
    let line = call.text();
    let refuse = |reason: &str| {
        Err(format!("{file}: {reason}. Write this where your handlers are registered, and run again:\n        {line}")
            .into())
    };
    if text.contains(&line) {
        return Ok(text.to_owned());
    }
    if text.contains(&format!("({:?},", call.event_type)) {
        return Err(format!("{file}: registers another handler for {}: remove it first", call.event_type).into());
    }
    if text.contains(&format!("handlers::{}::handle)", call.module)) {
        return Err(format!(
            "{file}: registers handlers::{}::handle for another type than {}: rename that module first",
            call.module, call.event_type
        )
        .into());
    }
    let Some((start, end)) = body(text) else {
        return refuse("has no `fn registered() -> ConsumerBuilder`");
    };
    let chain = text[start..end].trim();
    if !chain.starts_with(BUILDER) || chain.ends_with(';') {
        return refuse("`registered` is not one chain that starts with Consumer::builder()");
    }
    let chain = match chain.contains('\n') {
        true => format!("{chain}\n        {line}"),
        false => match calls(chain) {
            Some(mut calls) => {
                calls.push(&line);
                laid_out(&calls, widths)
            }
            None => return refuse("`registered` is not one chain of handlers"),
        },
    };
    Ok(format!("{}    {chain}{}", &text[..start], &text[end..]))
}

/// Returns `main` without a handler.
pub(crate) fn unregister(file: &str, text: &str, module: &str, widths: Widths) -> Result<String, CommandError> {
    let name = format!("handlers::{module}::handle)");
    let Some((start, end)) = body(text).filter(|(start, end)| text[*start..*end].contains(&name)) else {
        return match text.contains(&name) {
            true => {
                Err(format!("{file}: names handlers::{module}::handle outside of `registered`: remove that first")
                    .into())
            }
            false => Ok(text.to_owned()),
        };
    };
    let chain = text[start..end].trim();
    let chain = if let Some(calls) = calls(chain) {
        let others: Vec<&str> = calls.into_iter().filter(|call| !call.ends_with(&name)).collect();
        laid_out(&others, widths)
    } else {
        // With comments between the calls, only the line of the handler is removed.
        let lines = chain.lines().filter(|line| !line.trim_end().ends_with(&name));
        lines.collect::<Vec<_>>().join("\n")
    };
    if chain.contains(&name) {
        return Err(
            format!("{file}: handlers::{module}::handle shares a line with something else: remove it by hand").into()
        );
    }
    Ok(format!("{}    {chain}{}", &text[..start], &text[end..]))
}

/// Returns the bytes between the lines `fn registered() -> ConsumerBuilder {` and `}`.
fn body(text: &str) -> Option<(usize, usize)> {
    let start = text.find(REGISTERED)? + REGISTERED.len();
    let end = start + text[start..].find("\n}\n")?;
    (start < end).then_some((start, end))
}

/// Returns the calls of a chain; `None` if it has anything else, such as a comment.
fn calls(chain: &str) -> Option<Vec<&str>> {
    let mut rest = chain.strip_prefix(BUILDER)?.trim_start();
    let mut calls = Vec::new();
    while !rest.is_empty() {
        let end = rest.starts_with('.').then(|| closing(rest)).flatten()?;
        calls.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Some(calls)
}

/// Returns the byte after the parenthesis that closes the first one.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if in_text => is_escaped = true,
            '"' => in_text = !in_text,
            '(' if !in_text => depth += 1,
            ')' if !in_text => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn laid_out(calls: &[&str], widths: Widths) -> String {
    let on_one = format!("{BUILDER}{}", calls.concat());
    if calls.is_empty() || (on_one.len() <= widths.chain && !on_one.contains('\n')) {
        return on_one;
    }
    let lines: String = calls.iter().map(|call| format!("\n        {call}")).collect();
    format!("{BUILDER}{lines}")
}

#[cfg(test)]
mod tests {
    use super::{Call, Widths, declare, register, undeclare, unregister};

    fn call(event_type: &str) -> Call {
        Call { method: "on_json", event_type: event_type.to_owned(), module: event_type.replace('.', "_") }
    }

    #[test]
    fn a_handler_is_registered_as_rustfmt_lays_it_out() {
        let main = |chain: &str| {
            format!("use a;\n\nfn registered() -> ConsumerBuilder {{\n    {chain}\n}}\n\nfn other() {{\n}}\n")
        };
        let wide = "Consumer::builder().on_json(\"a.b\", handlers::a_b::handle)";
        let narrow = "Consumer::builder()\n        .on_json(\"a.b\", handlers::a_b::handle)";
        let two = format!("{narrow}\n        .on_json(\"c.dd\", handlers::c_dd::handle)");
        let commented = "Consumer::builder()\n        // all\n        .on_json(\"a.b\", handlers::a_b::handle)";
        let (max, default) = ("max_width = 100\nuse_small_heuristics = \"Max\"", "");
        let other = format!("{commented}\n        .on_json(\"c.dd\", handlers::c_dd::handle)");
        for (config, before, event_type, after) in [
            (max, "Consumer::builder()", "a.b", wide),
            (default, "Consumer::builder()", "a.b", wide),
            ("max_width = 80", "Consumer::builder()", "a.b", narrow),
            (max, wide, "c.dd", &two),
            ("max_width = 80", narrow, "c.dd", &two),
            (max, commented, "c.dd", &other),
        ] {
            let width = Widths::of(config);
            let added = register("main.rs", &main(before), &call(event_type), width).expect("the shape is known");
            assert_eq!(added, main(after), "{config}");
            assert_eq!(register("main.rs", &added, &call(event_type), width).ok().as_ref(), Some(&added), "twice");
            let removed = unregister("main.rs", &added, &event_type.replace('.', "_"), width);
            assert_eq!(removed.ok(), Some(main(before)), "{config}");
        }
    }

    #[test]
    fn another_shape_is_an_error_with_the_line_to_write() {
        for text in [
            "fn main() {}\n",
            "fn registered() -> ConsumerBuilder {\n    let builder = Consumer::builder();\n    builder\n}\n",
            "fn registered() -> ConsumerBuilder {\n    Consumer::builder().on(\"a\" /* ) */, a)b\n}\n",
            "fn registered() -> ConsumerBuilder {\n}\n",
        ] {
            let error = register("main.rs", text, &call("a.b"), Widths::of("")).expect_err("another shape").to_string();
            assert!(error.contains(".on_json(\"a.b\", handlers::a_b::handle)"), "{error}");
        }
        let taken = "fn registered() -> ConsumerBuilder {\n    Consumer::builder().on(\"a.b\", mine)\n}\n";
        let error = register("main.rs", taken, &call("a.b"), Widths::of("")).expect_err("taken").to_string();
        assert!(error.contains("another handler for a.b"), "{error}");
    }

    #[test]
    fn a_module_comes_and_goes_in_its_order() {
        let docs = "//! Handlers.\n\n// Shown.\n#[cfg(test)]\n#[path = \"x.rs\"]\npub(crate) mod shown;\n";
        for (before, module, after) in [
            ("//! Handlers.\n", "b", "//! Handlers.\n\npub(crate) mod b;\n"),
            ("", "b", "pub(crate) mod b;\n"),
            (docs, "b", &format!("{docs}\npub(crate) mod b;\n")),
            ("//! H.\n\npub mod a;\nmod c;\n", "b", "//! H.\n\npub mod a;\npub(crate) mod b;\nmod c;\n"),
            ("//! H.\n\nmod b;\n", "a", "//! H.\n\npub(crate) mod a;\nmod b;\n"),
            ("//! H.\n\nmod b;\n", "c", "//! H.\n\nmod b;\npub(crate) mod c;\n"),
        ] {
            let added = declare("handlers.rs", before, module).expect("modules");
            assert_eq!(added, after);
            assert_eq!(declare("handlers.rs", &added, module).ok().as_ref(), Some(&added), "twice");
            assert_eq!(undeclare(&added, module), before);
        }
        let error = declare("handlers.rs", "use a;\n", "b").expect_err("more than modules").to_string();
        assert!(error.contains("pub(crate) mod b;"), "{error}");
    }
}
