//! The files of the pages, which are part of the command, so that the console works offline.
//!
//! htmx is vendored from npm: `htmx.org` 4.0.1, `dist/htmx.min.js`, under the Zero-Clause BSD licence beside it; the
//! charts are `uplot` 1.6.32, `dist/uPlot.iife.min.js` and `dist/uPlot.min.css`, under the MIT licence beside them.

use axum::{
    extract::Path,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Uri, header};

use super::problem::not_found;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type and content.
const ASSETS: [(&str, &str, &str); 7] = [
    ("charts.js", JAVASCRIPT, include_str!("assets/charts.js")),
    ("console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("console.js", JAVASCRIPT, include_str!("assets/console.js")),
    ("htmx.js", JAVASCRIPT, include_str!("assets/htmx-4.0.1.min.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("uplot.css", "text/css; charset=utf-8", include_str!("assets/uplot-1.6.32.min.css")),
    ("uplot.js", JAVASCRIPT, include_str!("assets/uplot-1.6.32.min.js")),
];

pub(super) async fn asset(Path(name): Path<String>, uri: Uri) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some((_, content_type, content)) => file(content_type, content),
        None => not_found(uri).await,
    }
}

/// Returns the description of the API.
pub(super) async fn openapi() -> Response {
    file("application/yaml", include_str!("openapi.yaml"))
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], content).into_response()
}
