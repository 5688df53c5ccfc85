//! The picture of the README, rendered from its source.
//!
//! After a change of docs/path.pikchr: `UPDATE=1 cargo test -p sluicegate-tests docs::picture`, then review
//! docs/path.svg.

use std::fs;

use pikchr::{Pikchr, PikchrFlags};

use crate::support::root;

/// The font. Pikchr sets neither font nor size, and an SVG in a page inherits none.
fn render(source: &str) -> String {
    let picture = Pikchr::render(source, None, PikchrFlags::default()).unwrap_or_else(|error| panic!("{error}"));
    let opening = format!(
        r#"<svg width="{}" height="{}" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" "#,
        picture.width(),
        picture.height()
    );
    format!("{}\n", picture.replacen("<svg ", &opening, 1).trim_end())
}

#[test]
fn the_picture_is_rendered_from_its_source() {
    let (source, committed) = (root().join("docs/path.pikchr"), root().join("docs/path.svg"));
    let rendered = render(&fs::read_to_string(source).expect("the source"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&committed, &rendered).expect("written");
    }
    let committed = fs::read_to_string(committed).expect("the picture");
    assert_eq!(committed, rendered, "UPDATE=1 cargo test -p sluicegate-tests docs::picture updates it");
}
