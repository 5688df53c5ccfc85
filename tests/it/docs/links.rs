//! Links of the pages: files and headings exist, and the README links to every page.

use std::collections::BTreeSet;

use super::page::Page;
use crate::support::root;

/// The limit of the README: a screen and a half.
const README_LINES_MAX: usize = 60;

#[test]
fn every_link_has_a_target() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        for link in page.links().iter().filter(|link| !link.starts_with("https://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let path = target(&page.path, file);
            if !root().join(&path).exists() {
                wrong.push(format!("{}: {link}: {path} does not exist", page.path));
            } else if anchor.is_some_and(|anchor| !Page::read(&path).anchors().contains(anchor)) {
                wrong.push(format!("{}: {link}: {path} has no such heading", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_is_short_and_links_to_every_page() {
    let readme = Page::read("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines");
    let linked: BTreeSet<String> = readme.links().iter().map(|link| target("README.md", link)).collect();
    for page in Page::all().iter().skip(1) {
        assert!(
            linked.iter().any(|link| link.split('#').next() == Some(&page.path)),
            "the README does not link to {}",
            page.path
        );
    }
}

/// Returns the path of a link from the project's root.
fn target(page: &str, file: &str) -> String {
    if file.is_empty() {
        return page.to_owned();
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
