//! docs/consumer.md: the tests that it names are in the files that it links to.

use std::fs;

use super::page::Page;
use crate::support::root;

#[test]
fn the_tests_that_the_comparison_names_exist() {
    let page = Page::read("docs/consumer.md");
    let mut named = 0;
    for link in page.text.split('[').skip(1) {
        let Some((test, rest)) = link.split_once("](../") else { continue };
        let file = rest.split(')').next().unwrap_or_default();
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 20, "{named} tests are named");
}
