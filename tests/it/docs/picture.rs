//! The pictures of the pages, rendered from their sources.
//!
//! After a change of a docs/*.pikchr: `UPDATE=1 cargo test -p sluicegate-tests docs::picture`, then review the
//! docs/*.svg. The chart of docs/performance.md has no source: tests/bench/run writes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pikchr::{Pikchr, PikchrFlags};

use super::page::Page;
use crate::support::root;

/// Written from measurements.
const CHART: &str = "performance.svg";

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

/// Returns the files of docs whose names end with `.` and `extension`.
fn files(extension: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn every_picture_is_its_source_rendered() {
    let sources = files("pikchr");
    for source in &sources {
        let rendered = render(&fs::read_to_string(source).expect("the source"));
        let picture = source.with_extension("svg");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&picture, &rendered).expect("written");
        }
        let committed = fs::read_to_string(&picture).unwrap_or_default();
        let differs = format!("{}: UPDATE=1 cargo test -p sluicegate-tests docs::picture writes it", picture.display());
        assert_eq!(committed, rendered, "{differs}");
    }
    let mut rendered: BTreeSet<_> = sources.iter().map(|source| source.with_extension("svg")).collect();
    rendered.insert(root().join("docs").join(CHART));
    assert_eq!(files("svg"), rendered, "every picture has a source");
}

#[test]
fn every_picture_is_on_a_page_with_a_text_for_those_who_do_not_see_it() {
    let pages: String = Page::all().into_iter().map(|page| page.text).collect();
    for picture in files("svg") {
        let name = picture.file_name().expect("a name").display().to_string();
        let shown = pages.lines().find(|line| line.starts_with("![") && line.contains(&format!("{name})")));
        let text = shown.unwrap_or_else(|| panic!("no page shows {name}")).split("](").next().unwrap_or_default();
        assert!(text.len() > 60, "{name}: {text:?} describes too little");
    }
}
