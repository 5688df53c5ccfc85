//! Texts, and the tree or the faults that the reader returns for each.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use sluicegate_yaml::{DEPTH_MAX, Data, Dialect, Document, NODES_MAX, Node};

/// Returns the document as JSON, short tags as `!Tag value`; or its faults and duplicate keys, one a line.
fn read(text: &str, dialect: Dialect) -> String {
    let document = match Document::read("f", text, dialect) {
        Ok(document) => document,
        Err(faults) => return faults.to_string(),
    };
    let notes: Vec<String> = document.faults.iter().chain(&document.duplicates).map(ToString::to_string).collect();
    if notes.is_empty() || dialect == Dialect::CloudFormation && document.faults.is_empty() {
        return [shown(&document.root)].into_iter().chain(notes).collect::<Vec<_>>().join("\n");
    }
    notes.join("\n")
}

fn shown(node: &Node) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let value = match node.data() {
        Data::List(items) => format!("[{}]", list(items.iter().map(shown).collect())),
        Data::Map(members) => {
            let member = |(key, value): (&str, &Node)| format!("{key:?}: {}", shown(value));
            assert_eq!(members.len(), node.entries().count());
            format!("{{{}}}", list(node.entries().map(member).collect()))
        }
        _ => serde_json::to_string(node).unwrap(),
    };
    node.tag().map_or(value.clone(), |tag| format!("!{tag} {value}"))
}

const BOTH: [Dialect; 2] = [Dialect::Strict, Dialect::CloudFormation];

#[track_caller]
fn check(dialects: &[Dialect], text: &str, expected: &str) {
    for dialect in dialects {
        assert_eq!(read(text, *dialect), expected, "{dialect:?}: {text}");
    }
}

#[test]
fn plain_yaml_is_one_tree_in_every_dialect() {
    for (text, expected) in [
        ("a: 1\nb: [x, 'y', \"z\"]\n", r#"{"a": 1, "b": ["x", "y", "z"]}"#),
        ("{\"a\": [1.5, true, null], \"b\": {}}", r#"{"a": [1.5,true,null], "b": {}}"#),
        ("- ~\n-\n- null\n- False\n", "[null, null, null, false]"),
        ("200: ok\ntrue: yes\n? c\n: d\n", r#"{"200": "ok", "true": "yes", "c": "d"}"#),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y\n", r#"{"a": "x\ny\n", "b": "x y"}"#),
        ("a: '5'\nb: !!str 5\nc: ! 5\nd: !!int 5\n", r#"{"a": "5", "b": "5", "c": "5", "d": 5}"#),
        ("a: 1e3\nb: -0.5\nc: 18446744073709551615\n", r#"{"a": 1000.0, "b": -0.5, "c": 18446744073709551615}"#),
        (
            "a: inf\nb: 1_000\nc: 12:30\nd: 2026-01-01\n",
            r#"{"a": "inf", "b": "1_000", "c": "12:30", "d": "2026-01-01"}"#,
        ),
        ("# comment\n---\na: &anchor 1 # of no alias\n...\n", r#"{"a": 1}"#),
        ("a: 1\r\nb: 2\r\n", r#"{"a": 1, "b": 2}"#),
    ] {
        let expected = expected.replace("[1.5,true,null]", "[1.5, true, null]");
        check(&BOTH, text, &expected);
    }
}

#[test]
fn flow_collections_may_close_anywhere() {
    for (text, expected) in [
        ("a: [\n  1,\n]\nb: 2\n", r#"{"a": [1], "b": 2}"#),
        ("a:\n  b: [\n1,\n2\n]\n  c: { d:\n5\n}\n", r#"{"a": {"b": [1, 2], "c": {"d": 5}}}"#),
        ("a:\n  - {\n  x: [\n'é', \"}\",\n],\n}\n", r#"{"a": [{"x": ["é", "}"]}]}"#),
    ] {
        check(&BOTH, text, expected);
    }
    let lines = |count: usize| format!("a:\n  b: [\n{}]\n", "x,\n".repeat(count));
    assert_eq!(Document::read("f", &lines(150), Dialect::Strict).unwrap().root.count_texts(), 150);
    let faults = Document::read("f", &lines(300), Dialect::Strict).expect_err("a bounded number of passes").to_string();
    assert!(faults.contains("f:203: #: starts further left than the block around it"), "{faults}");
}

trait CountTexts {
    fn count_texts(&self) -> usize;
}

impl CountTexts for Node {
    fn count_texts(&self) -> usize {
        let below = self.items().iter().chain(self.members().iter().map(|member| &member.value));
        usize::from(self.text().is_some()) + below.map(Self::count_texts).sum::<usize>()
    }
}

#[test]
fn numbers_that_json_cannot_write_are_numbers_to_yaml_and_text_to_cloudformation() {
    let text = "[007, 0x10, 0o17, +5, .5]";
    check(&[Dialect::Strict], text, "[7, 16, 15, 5, 0.5]");
    check(&[Dialect::CloudFormation], text, r#"["007", "0x10", "0o17", "+5", ".5"]"#);
    check(&[Dialect::Strict], "a: [.inf]", "f:1: /a/0: JSON has no infinity and no NaN");
    check(&[Dialect::CloudFormation], "[.inf, -.nan]", r#"[".inf", "-.nan"]"#);
}

#[test]
fn a_duplicate_key_is_reported_with_both_lines() {
    let text = "a:\n  b: 1\n  c: 2\n  b: 3\n  'b': 4\n";
    let faults = "f:4: /a/b: this key is already there, on line 2\nf:5: /a/b: this key is already there, on line 4";
    check(&[Dialect::Strict], text, faults);
    check(&[Dialect::CloudFormation], text, &format!("{{\"a\": {{\"c\": 2, \"b\": 4}}}}\n{faults}"));
}

#[test]
fn short_tags_are_kept_for_cloudformation_only() {
    let text = "a: !Ref X\nb: !GetAtt [X, Arn]\nc: !If [C, !Sub '${X}', 5]\nd: !Transform { Name: x }\n";
    let expected =
        r#"{"a": !Ref "X", "b": !GetAtt ["X", "Arn"], "c": !If ["C", !Sub "${X}", 5], "d": !Transform {"Name": "x"}}"#;
    check(&[Dialect::CloudFormation], text, expected);
    check(
        &[Dialect::Strict],
        "a: !Ref X\nb: !x []\n",
        "f:1: /a: the tag !Ref is not supported\nf:2: /b: the tag !x is not supported",
    );
    check(&BOTH, "a: !!int x\n", "f:1: /a: the value does not fit its YAML tag");
    check(&BOTH, "a: !!set {}\n", "f:1: /a: the value does not fit its YAML tag");
    check(&BOTH, "a: !<tag:example.com,2026:x> y\n", "f:1: /a: the tag !tag:example.com,2026:x is not supported");
}

#[test]
fn aliases_and_merge_keys_are_expanded_for_cloudformation_only() {
    let check_cloudformation = |text: &str, expected: &str| check(&[Dialect::CloudFormation], text, expected);
    check_cloudformation("a: &x !Ref X\nb: *x\n", r#"{"a": !Ref "X", "b": !Ref "X"}"#);
    check_cloudformation("a: &x { b: [1] }\nc: [*x, *x]\n", r#"{"a": {"b": [1]}, "c": [{"b": [1]}, {"b": [1]}]}"#);
    check_cloudformation(
        "a: &x { b: 1, c: 2 }\nd: { <<: *x, c: 3 }\n",
        r#"{"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}}"#,
    );
    check_cloudformation("d: { <<: [{ a: 1 }, { a: 2, b: 3 }] }\n", r#"{"d": {"a": 1, "b": 3}}"#);
    check_cloudformation("d: { '<<': 1 }\n", r#"{"d": {"<<": 1}}"#);
    check_cloudformation("a: { <<: 1 }", "f:1: /a/<<: a merge key takes a mapping or a list of mappings");
    check_cloudformation("a: &a [*a]\n", "f:1: /a/0: this alias is inside its own anchor");
    check(&[Dialect::Strict], "a: &a 1\nb: *a\n", "f:2: /b: YAML aliases are not supported; write the value out");
    check(&[Dialect::Strict], "a: { <<: 1 }", "f:1: /a/<<: YAML merge keys are not supported");
    check(&BOTH, "a: *b\n", "f:1: #: not YAML: while parsing node, found unknown anchor");

    let laughs = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        let below = n - 1;
        text + &format!("a{n}: &a{n} [*a{below}, *a{below}, *a{below}]\n")
    });
    let faults = read(&laughs, Dialect::CloudFormation);
    assert!(faults.ends_with(&format!("more than {NODES_MAX} values, aliases expanded")), "{faults}");
    let deep = (1..200).fold("a0: &a0 [x]\n".to_owned(), |text, n| text + &format!("a{n}: &a{n} [*a{}]\n", n - 1));
    assert!(read(&deep, Dialect::CloudFormation).ends_with(&format!("nested deeper than {DEPTH_MAX} levels")));
}

#[test]
fn a_text_that_is_not_one_document_is_a_fault() {
    for (text, expected) in [
        ("", "f:1: #: the file is empty"),
        ("# nothing\n", "f:2: #: the file is empty"),
        ("a: 1\n---\nb: 2\n", "f:3: #: a second YAML document begins here"),
        ("a:\n  [x]: 1\n", "f:2: /a: a key must be text"),
    ] {
        check(&BOTH, text, expected);
    }
    for (text, start) in [("a: [", "f:"), ("a: b: c", "f:1: #: not YAML: "), ("a:\n\t- b", "f:2: #: not YAML: ")] {
        assert!(read(text, Dialect::Strict).starts_with(start), "{}", read(text, Dialect::Strict));
    }
    let nested = format!("nested deeper than {DEPTH_MAX} levels");
    assert!(read(&"- ".repeat(100_000), Dialect::Strict).ends_with(&nested));
    assert!(read(&"[".repeat(100_000), Dialect::Strict).starts_with("f:"));
}

#[test]
fn a_node_has_its_pointer_line_and_range() {
    /// Every value: its pointer, its line and its text.
    fn places(node: &Node, text: &str, found: &mut Vec<String>) {
        found.push(format!("{} {} {:?}", node.pointer(), node.line(), &text[node.range()]));
        for member in node.members() {
            assert!(text[member.key_range.clone()].trim_matches(['\'', '"']) == member.key, "{}", member.key);
            places(&member.value, text, found);
        }
        node.items().iter().for_each(|item| places(item, text, found));
    }
    let check = |text: &str, expected: &[&str]| {
        let root = Document::read("f", text, Dialect::CloudFormation).unwrap().root;
        let mut found = Vec::new();
        places(&root, text, &mut found);
        assert_eq!(found[1..], *expected, "{text}");
    };
    check("é: 'a' # b\n'ü/': \"c\\\"\"   # d\n", &[r#"/é 1 "'a'""#, r#"/ü~1 2 "\"c\\\"\"""#]);
    check(
        "a:\n  - x\n\n  - y # z\n\nb:\n\nc: |\n  t\n\n",
        &[r#"/a 1 "- x\n\n  - y""#, r#"/a/0 2 "x""#, r#"/a/1 4 "y""#, r#"/b 6 """#, r#"/c 8 "t""#],
    );
    check(
        "a: !If [x, { y: z } ] # t\n",
        &[r#"/a 1 "!If [x, { y: z } ]""#, r#"/a/0 1 "x""#, r#"/a/1 1 "{ y: z }""#, r#"/a/1/y 1 "z""#],
    );
    check(
        "a:\n  b: [\n'é', é\n]\nc: d\n",
        &[
            r#"/a 1 "b: [\n'é', é\n]""#,
            r#"/a/b 2 "[\n'é', é\n]""#,
            r#"/a/b/0 3 "'é'""#,
            r#"/a/b/1 3 "é""#,
            r#"/c 5 "d""#,
        ],
    );
    check("a: &x { b: c }\nd: *x\n", &[r#"/a 1 "&x { b: c }""#, r#"/a/b 1 "c""#, r#"/d 2 "*x""#, r#"/d/b 1 "c""#]);
}

#[test]
fn a_pointer_leads_to_a_node_or_to_the_last_existing_one() {
    let root = Document::read("f", "a/b: [x, { '~': 1 }]\n", Dialect::Strict).unwrap().root;
    let check = |pointer: &str, expected: Result<&str, &str>| {
        let found = root.follow(pointer);
        assert_eq!(found.map(Node::pointer).map_err(Node::pointer), expected, "{pointer}");
    };
    check("", Ok(""));
    check("/a~1b/1/~0", Ok("/a~1b/1/~0"));
    check("/a~1b/2", Err("/a~1b"));
    check("/a/b", Err(""));
}
