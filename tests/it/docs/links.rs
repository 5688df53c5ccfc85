//! What a page refers to is there: files, headings, and the pages themselves, each reached from the README.

use std::collections::BTreeSet;

use super::page::Page;
use crate::support::root;

/// The README is read before anything else; this is two screens.
const README_LINES_MAX: usize = 80;

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in Page::all() {
        for link in page.links().iter().filter(|link| !link.starts_with("https://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let path = target(&page.path, file);
            if !root().join(&path).exists() {
                wrong.push(format!("{}: {link}: there is no {path}", page.path));
            } else if anchor.is_some_and(|anchor| !Page::read(&path).anchors().contains(anchor)) {
                wrong.push(format!("{}: {link}: {path} has no such heading", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = Page::read("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines");
    let linked: BTreeSet<String> = readme.links().iter().map(|link| target("README.md", link)).collect();
    for page in Page::all().iter().skip(1) {
        assert!(linked.iter().any(|link| link.split('#').next() == Some(&page.path)), "nothing leads to {}", page.path);
    }
}

/// A link's path from the project's root.
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
