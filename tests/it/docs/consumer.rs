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

/// Each row has links to the reports and one to a test, whose doc comment has them too.
#[test]
fn a_test_for_each_report_names_it() {
    let page = Page::read("docs/consumer.md");
    let (_, section) = page.text.split_once("\n## What users of others report\n").expect("the section");
    let rows = section.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.contains("](../"));
    let mut count = 0;
    for row in rows {
        let reports = row.split("](https://").skip(1).filter_map(|link| link.split(')').next());
        let (test, file) = row.rsplit_once("](../").expect("a link to a test");
        let test = test.rsplit('[').next().unwrap_or_default();
        let file = fs::read_to_string(root().join(file.split(')').next().unwrap_or_default())).expect("the file");
        let (before, _) = file.split_once(&format!("fn {test}(")).expect("the test");
        let comment = before.rsplit("\n\n").next().unwrap_or_default();
        for report in reports {
            assert!(comment.contains(&format!("/// <https://{report}>")), "{test} does not name {report}");
            count += 1;
        }
    }
    assert!(count > 10, "{count} reports are named");
}
