//! One message: what happened to it, what it carries, and why it was refused.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::{button, notice, page, segment, state, time};
use crate::{
    admin::{
        Console,
        json_lines::{Line, json_lines},
        message::{MessageView, Payload, RequestView},
    },
    function_lines::{FunctionLine, number},
    journal::time_text,
    terminal::without_runtime_span,
};

/// The most lines of a payload or an envelope that a page shows; the rest is in the download.
const LINES_MAX: usize = 2_000;
/// The most bytes of a payload that a page shows in hexadecimal digits.
const HEX_BYTES_MAX: usize = 4_096;
const HEX_LINE_BYTES: usize = 16;

/// A fault of the payload: pointer and text.
type Fault = (String, String);

pub(in crate::admin) fn message(console: &Console, view: &MessageView, lines: &[FunctionLine]) -> Response {
    let name = view.row.event_type.as_deref().or(view.row.route.as_deref()).unwrap_or("Message");
    let faults = faults(view.rejection.as_ref());
    let main = html! {
        p { a #back href="/messages" { "All messages" } }
        (notice())
        div #live data-live="messages" data-only=(view.row.id) data-version=(view.version) {
            h1 { (name) " " (state(view.row.state)) }
            dl.facts {
                dt { "Id" } dd { code { (view.row.id) } }
                @for (label, value) in [
                    ("Queue", &view.row.queue), ("Principal", &view.row.principal), ("Trace id", &view.trace_id),
                ] {
                    @if let Some(value) = value { dt { (label) } dd { code { (value) } } }
                }
                @if let Some(id) = &view.corrects {
                    dt { "Corrects" } dd { a href={ "/messages/" (segment(id)) } { code { (id) } } }
                }
                @if let Some(pointer) = &view.row.pointer { dt { "Item" } dd { code { (pointer) } " of a batch" } }
            }
            (actions(view))
            @if view.is_incomplete {
                p.note { "A part of this message was not kept: it is too large, or newer messages needed the memory." }
            }
            @if let Some(rejection) = &view.rejection { (refusal(view, rejection, &faults)) }
            section #timeline aria-labelledby="timeline-title" {
                h2 #timeline-title { "Timeline" }
                (timeline(view, lines))
            }
            @if let Some(payload) = &view.payload {
                section #payload aria-labelledby="payload-title" {
                    h2 #payload-title { "Payload" }
                    p {
                        (payload.bytes) " bytes"
                        @if let Some(media_type) = &payload.content_type { ", " (media_type) }
                        " · " a href={ "/messages/" (segment(&view.row.id)) "/payload" } download { "Download" }
                    }
                    (content(payload, &faults))
                }
            }
            @if !lines.is_empty() {
                section #logs aria-labelledby="logs-title" {
                    h2 #logs-title { "Log lines" }
                    (logs(lines))
                }
            }
            @if let Some(request) = &view.request { (headers(request)) }
            @if let Some(envelope) = &view.envelope {
                details #envelope {
                    summary { "Envelope" }
                    (json(envelope, &[]))
                }
            }
        }
    };
    page(console, "/messages", name, &main)
}

/// Shows what can be done with a message: its request sent again; as a dead letter, redriven or corrected.
fn actions(view: &MessageView) -> Markup {
    let id = segment(&view.row.id);
    let dead_letter = view.row.queue.as_deref().filter(|_| view.row.state == "dead-lettered").map(segment);
    html! {
        section #actions aria-label="Actions" {
            @if view.request.is_some() { (button(&format!("/messages/{id}/replay"), "Send the request again", None, None)) }
            @if let Some(queue) = &dead_letter {
                (button(&format!("/queues/{queue}/dead-letters/{id}/redrive"), "Redrive", None, None))
                @if let Some(envelope) = &view.envelope {
                    details #edit {
                        summary { "Correct and redrive" }
                        form hx-post={ "/queues/" (queue) "/dead-letters/" (id) "/redrive" } hx-target="#notice"
                            hx-swap="innerHTML" {
                            label for="edit-body" { "The envelope, with the payload in it" }
                            textarea #edit-body name="body" rows="16" spellcheck="false" { (envelope) }
                            button type="submit" { "Redrive the corrected message" }
                        }
                    }
                }
            }
        }
    }
}

fn refusal(view: &MessageView, rejection: &Value, faults: &[Fault]) -> Markup {
    let text = |name: &str| rejection[name].as_str().unwrap_or_default().to_owned();
    html! {
        section #rejection aria-labelledby="rejection-title" {
            h2 #rejection-title { "Refused" }
            p {
                strong { (view.row.status.unwrap_or_default()) " " (text("code")) }
                ": " (text("detail")) (text("message"))
            }
            @if !faults.is_empty() {
                ul.faults { @for (pointer, detail) in faults { li { code { (pointer) } " " (detail) } } }
            }
            @if !view.findings.is_empty() {
                dl.findings {
                    @for finding in &view.findings { dt { (finding.name) } dd { (finding.text) } }
                }
            }
        }
    }
}

/// Returns the faults of a refused request or item. Those of the items of a refused batch have their place in it.
fn faults(rejection: Option<&Value>) -> Vec<Fault> {
    let Some(rejection) = rejection else { return Vec::new() };
    let fault = |place: &str, error: &Value| {
        Some((format!("{place}{}", error["pointer"].as_str()?), error["detail"].as_str()?.to_owned()))
    };
    let mut faults: Vec<_> = list(&rejection["errors"]).iter().filter_map(|error| fault("", error)).collect();
    for (index, item) in list(&rejection["items"]).iter().enumerate() {
        let (place, errors) = (format!("/{index}"), list(&item["errors"]));
        if let (true, Some(code)) = (errors.is_empty(), item["code"].as_str()) {
            let detail = item["detail"].as_str().unwrap_or_default();
            faults.push((place, format!("{code}: {detail}")));
        } else {
            faults.extend(errors.iter().filter_map(|error| fault(&place, error)));
        }
    }
    faults
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Shows the steps, with the durations that the functions logged: the broker's in the line of the request, the
/// handler's in the line of each delivery.
fn timeline(view: &MessageView, lines: &[FunctionLine]) -> Markup {
    let stored_ms = lines.iter().find_map(|line| number(&line.text, "enqueue_ms"));
    let mut handled_ms = lines.iter().filter_map(|line| number(&line.text, "handler_ms"));
    html! {
        ol.timeline {
            @if let Some(request) = &view.request {
                li {
                    (time(&request.at)) " "
                    b { (request.method) " " (request.target) } " → " (request.status)
                    " in " (format!("{:.1}", request.took_ms)) " ms"
                    span.detail {
                        "request " code { (request.request_id) }
                        @if let Some(stored_ms) = stored_ms { " stored by the broker in " b { (stored_ms) " ms" } }
                    }
                }
            }
            @for step in &view.steps {
                @let handled_ms = (step["step"] == "delivered").then(|| handled_ms.next()).flatten();
                (self::step(step, handled_ms))
            }
        }
    }
}

fn step(step: &Value, handled_ms: Option<f64>) -> Markup {
    let text = |name: &str| step[name].as_str();
    html! {
        li {
            (time(text("at").unwrap_or_default())) " " (state(text("step").unwrap_or_default()))
            span.detail {
                @for name in ["from", "queue", "function", "code", "reason"] {
                    @if let Some(value) = text(name) { span { (name) " " b { (value) } } " " }
                }
                @if let Some(id) = text("by") { "by " a href={ "/messages/" (segment(id)) } { code { (id) } } }
                @if let Some(count) = step["receive_count"].as_u64() { span { "receive " b { (count) } } " " }
                @if let Some(handled_ms) = handled_ms { span { "handler " b { (handled_ms) " ms" } } }
                @if let Some(delay) = step["visible_in_s"].as_u64() { span { "in " b { (delay) " s" } } }
            }
        }
    }
}

fn logs(lines: &[FunctionLine]) -> Markup {
    html! {
        ol.logs {
            @for line in lines {
                @let (before, after) = without_runtime_span(&line.text);
                li { (time(&time_text(line.at))) " " b { (line.function) } " " code { (before) (after) } }
            }
        }
    }
}

fn headers(request: &RequestView) -> Markup {
    html! {
        details #headers {
            summary { "Headers" }
            table {
                caption.hidden { "Headers of the request, without credentials" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
                tbody {
                    @for (name, value) in &request.headers { tr { th scope="row" { (name) } td { code { (value) } } } }
                }
            }
        }
    }
}

fn content(payload: &Payload, faults: &[Fault]) -> Markup {
    match &payload.text {
        Some(text) => json(text, faults),
        None => html! { pre.content tabindex="0" aria-label="Bytes" { (hex(&payload.content)) } },
    }
}

/// Shows JSON with the faults beside their lines, and another text as it is.
fn json(text: &str, faults: &[Fault]) -> Markup {
    let Some(lines) = json_lines(text) else {
        return html! {
            @for (_, fault) in faults { p.fault { (fault) } }
            pre.content tabindex="0" aria-label="Text" { (text) }
        };
    };
    html! {
        div.content role="group" aria-label="JSON" tabindex="0" {
            @for (index, line) in lines.iter().enumerate().take(LINES_MAX) {
                @let here = faults_at(&lines, index, faults);
                div.line.wrong[!here.is_empty()] {
                    code { (" ".repeat(2 * line.depth)) (line.text) }
                    @for fault in here { span.fault { (fault) } }
                }
            }
        }
        @if lines.len() > LINES_MAX { p.note { "The download has the other " (lines.len() - LINES_MAX) " lines." } }
    }
}

/// Returns the faults of a line: those of its pointer, and on the first line those whose value is missing.
fn faults_at<'a>(lines: &[Line], index: usize, faults: &'a [Fault]) -> Vec<&'a str> {
    let pointer = lines[index].pointer.as_deref();
    let is_shown = |pointer: &str| lines.iter().take(LINES_MAX).any(|line| line.pointer.as_deref() == Some(pointer));
    let here = faults.iter().filter(|(at, _)| Some(at.as_str()) == pointer || (index == 0 && !is_shown(at)));
    here.map(|(_, detail)| detail.as_str()).collect()
}

/// Returns bytes as hexadecimal digits with their offset and their ASCII characters.
fn hex(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(HEX_BYTES_MAX)];
    let mut text = String::new();
    for (index, line) in shown.chunks(HEX_LINE_BYTES).enumerate() {
        let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let is_shown = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let characters: String = line.iter().map(|byte| if is_shown(byte) { char::from(*byte) } else { '.' }).collect();
        let width = 3 * HEX_LINE_BYTES;
        text.push_str(&format!("{:08x}  {digits:width$} {characters}\n", index * HEX_LINE_BYTES));
    }
    if shown.len() < bytes.len() {
        text.push_str(&format!("… {} more bytes in the download\n", bytes.len() - shown.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_their_offset_and_characters() {
        let lines = hex(&[b"\x00\xffab ".as_slice(), &[0x7f; 12]].concat());
        let expected = [
            "00000000  00 ff 61 62 20 7f 7f 7f 7f 7f 7f 7f 7f 7f 7f 7f  ..ab ...........",
            "00000010  7f                                               .",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
        assert!(hex(&[0; HEX_BYTES_MAX + 2]).ends_with("… 2 more bytes in the download\n"));
    }

    #[test]
    fn a_fault_is_at_its_line_or_at_the_first() {
        let lines = json_lines(r#"{"a":[1]}"#).unwrap();
        let faults = ["/a/0", "/b"].map(|pointer| (pointer.to_owned(), pointer.to_owned()));
        let at: Vec<_> = (0..lines.len()).map(|index| faults_at(&lines, index, &faults)).collect();
        assert_eq!(at, [vec!["/b"], vec![], vec!["/a/0"], vec![], vec![]]);
    }
}
