//! Tests of sync: routes are added, removed and moved; the rest of the template stays byte for byte, or nothing is
//! written.

use sluicegate_contract::Contract;

use super::{drift, sync};

/// The template of this project.
pub(super) const TEMPLATE: &str = include_str!("../../../../template.yaml");
/// See [`TEMPLATE`].
const CONTRACT: &str = include_str!("../../../../functions/ingress/openapi.yaml");

/// A template with everything that must stay as it is.
const ODD: &str = "\
# Größe: a comment that is not ASCII
Resources:
   Api: { Type: AWS::Serverless::HttpApi }   # in braces
   Other:
      Type: AWS::Serverless::Function
      Properties: { Events: { Tick: { Type: Schedule } } }
   Ingress:
      Type: AWS::Serverless::Function
      Properties:
         Events:   # the routes
            # of orders
            A:
               Type: HttpApi   # a trailing comment
               Properties:
                  # whose API
                  ApiId: !Ref Api
                  Auth: { Authorizer: Jwt, AuthorizationScopes: [a.write] }
                  Path: \"/a\"   # where
                  Method: post

            # of things
            B: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: '/b' } }   # b
            Queue: { Type: SQS, Properties: { Queue: !GetAtt Q.Arn } }
            OpenApi: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: GET, Path: /openapi.json } }
            Rest: { Type: HttpApi, Properties: { ApiId: !Ref Api } }
         Timeout: 10
";

/// Returns a contract with these operations: id, method, path.
fn contract(operations: &[(&str, &str, &str)]) -> Contract {
    let mut yaml = "openapi: 3.1.1\ninfo: { title: t, version: '1' }\npaths:\n".to_owned();
    for (id, method, path) in operations {
        let parameters: Vec<_> = path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(|name| format!("{{ name: {name}, in: path, required: true, schema: {{ type: string }} }}"))
            .collect();
        let parameters = parameters.join(", ");
        yaml += &format!(
            "  {path}:\n    {method}:\n      operationId: {id}\n      security: []\n      parameters: [{parameters}]\n      \
             responses: {{ '202': {{ description: d }} }}\n      x-sluicegate: {{ queue: q, type: t }}\n"
        );
    }
    Contract::parse("openapi.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}\n{yaml}"))
}

/// Returns a contract with one route and these members of `x-sluicegate` beside its queue and type.
pub(super) fn contract_with(members: &str) -> Contract {
    let yaml = format!(
        "openapi: 3.1.1\ninfo: {{ title: t, version: '1' }}\npaths:\n  /a:\n    post:\n      operationId: a\n      \
         security: []\n      x-sluicegate: {{ queue: q, type: t, {members} }}\n"
    );
    Contract::parse("openapi.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}\n{yaml}"))
}

/// Returns the lines, without their indentation, that a text has more than the one before, which must have no others.
pub(super) fn added_lines<'t>(before: &str, after: &'t str) -> Vec<&'t str> {
    let (mut before, mut added) = (before.lines().peekable(), Vec::new());
    for line in after.lines() {
        if before.next_if_eq(&line).is_none() {
            added.push(line.trim());
        }
    }
    assert_eq!(before.next(), None, "nothing is removed");
    added
}

/// Expects that, for each kind of line end, `sync` adds nothing for the contract `without`, and these changes and lines
/// for `with`; a second run adds nothing.
pub(super) fn check_added(
    sync: impl Fn(&str, &Contract, &mut Vec<String>) -> Option<String>,
    (without, with): (&Contract, &Contract),
    expected: &[&str],
    lines: &[&str],
) {
    for template in [TEMPLATE.to_owned(), TEMPLATE.replace('\n', "\r\n")] {
        let mut changes = Vec::new();
        assert_eq!(sync(&template, without, &mut changes), None);
        let synced = sync(&template, with, &mut changes).unwrap();
        assert_eq!(changes, expected);
        assert_eq!(sync(&synced, with, &mut changes), None, "a second run adds nothing");
        let added = added_lines(&template, &synced);
        for line in lines {
            assert!(added.contains(line), "{line}: {added:?}");
        }
    }
}

/// Returns the template after sync, which a second run must leave as it is.
fn synced(template: &str, contract: &Contract) -> String {
    let after = sync("t.yaml", template, contract).expect("is written").expect("something to write").text;
    assert!(sync("t.yaml", &after, contract).expect("is read").is_none(), "a second run changes nothing");
    assert!(drift("t.yaml", &after, contract).expect("is read").is_none());
    after
}

/// Returns the lines that only one of two texts has, between those they share at the start and at the end.
fn difference(before: &str, after: &str) -> String {
    let lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let start = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (before, after) = (&before[start..], &after[start..]);
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let gone = before[..before.len() - end].iter().map(|line| format!("-{line}"));
    let come = after[..after.len() - end].iter().map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

/// Checks the result of sync for [`ODD`], also with Windows line ends.
fn check(operations: &[(&str, &str, &str)], expected: &str) {
    let contract = contract(operations);
    let after = synced(ODD, &contract);
    assert_eq!(difference(ODD, &after), expected, "{operations:?}");
    let windows = synced(&ODD.replace('\n', "\r\n"), &contract);
    assert_eq!(windows, after.replace('\n', "\r\n"), "{operations:?} with CRLF");
}

#[test]
fn the_template_of_this_project_has_the_routes_of_its_contract() {
    let contract = Contract::parse("openapi.yaml", CONTRACT).expect("a contract");
    assert!(sync("t.yaml", TEMPLATE, &contract).expect("is read").is_none());
    assert!(drift("t.yaml", TEMPLATE, &contract).expect("is read").is_none());
}

#[test]
fn only_the_lines_of_a_route_change_with_it() {
    let (a, b) = (("a", "post", "/a"), ("b", "post", "/b"));
    assert!(sync("t.yaml", ODD, &contract(&[a, b])).expect("is read").is_none(), "post and POST are one");
    // An added route is inserted after the preceding ones.
    check(
        &[a, b, ("b-second", "put", "/b/{id}"), ("z", "post", "/z")],
        "+            BSecond:
+               Type: HttpApi
+               Properties: { ApiId: !Ref Api, Method: PUT, Path: '/b/{id}' }
+            Z:
+               Type: HttpApi
+               Properties: { ApiId: !Ref Api, Method: POST, Path: /z }
",
    );
    check(
        &[("first", "post", "/first"), a, b],
        "+            First:
+               Type: HttpApi
+               Properties: { ApiId: !Ref Api, Method: POST, Path: /first }
",
    );
    // The event of a removed route is removed; the comment above stays.
    check(&[a], "-            B: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: '/b' } }   # b\n");
    // A moved route keeps the other properties of its event.
    check(
        &[("a", "post", "/new"), b],
        "-                  Path: \"/a\"   # where\n+                  Path: \"/new\"   # where\n",
    );
    check(
        &[a, ("b", "put", "/b/{c}")],
        "-            B: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: '/b' } }   # b
+            B: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: PUT, Path: '/b/{c}' } }   # b
",
    );
    // The operation has another id.
    check(&[("placeOrder", "post", "/a"), b], "-            A:\n+            PlaceOrder:\n");
}

#[test]
fn lines_in_brackets_that_start_too_far_left_stay_as_they_are() {
    let scopes = "[a.write] }";
    let odd = ODD.replace(scopes, "[\na.write,\n] }");
    assert_ne!(odd, ODD);
    let after = synced(&odd, &contract(&[("a", "post", "/new"), ("b", "put", "/b")]));
    let expected = odd.replace("Path: \"/a\"", "Path: \"/new\"").replacen(
        "Method: POST, Path: '/b'",
        "Method: PUT, Path: '/b'",
        1,
    );
    assert_eq!(after, expected);
}

#[test]
fn operations_that_swap_routes_keep_their_events() {
    check(
        &[("b", "post", "/a"), ("a", "post", "/b")],
        "-                  Path: \"/a\"   # where
-                  Method: post
-
-            # of things
-            B: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: '/b' } }   # b
+                  Path: \"/b\"   # where
+                  Method: post
+
+            # of things
+            B: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: '/a' } }   # b
",
    );
}

#[test]
fn the_first_routes_of_a_template_are_written() {
    let bare = "Resources:
  HttpApi: { Type: AWS::Serverless::HttpApi }
  IngressFunction:
    Type: AWS::Serverless::Function
    Properties:
      Events:";
    let after = synced(bare, &contract(&[("a", "post", "/a")]));
    let events = "
        A:
          Type: HttpApi
          Properties: { ApiId: !Ref HttpApi, Method: POST, Path: /a }
        OpenApi:
          Type: HttpApi
          Properties: { ApiId: !Ref HttpApi, Method: GET, Path: /openapi.json }
        Otherwise:
          Type: HttpApi
          Properties: { ApiId: !Ref HttpApi }";
    // The last line has no line break before, and none after.
    assert_eq!(after, format!("{bare}{events}"));
}

#[test]
fn a_removed_catch_all_is_not_added_again() {
    let without = ODD.replace("            Rest: { Type: HttpApi, Properties: { ApiId: !Ref Api } }\n", "");
    assert_ne!(without, ODD);
    let contract = contract(&[("a", "post", "/a"), ("b", "post", "/b")]);
    assert!(sync("t.yaml", &without, &contract).expect("is read").is_none());
    assert!(drift("t.yaml", &without, &contract).expect("is read").is_none());
}

#[test]
fn limits_of_single_routes_follow_them() {
    let with_limits = |limits: &str| {
        let api = format!("   Api:\n      Type: AWS::Serverless::HttpApi\n      Properties:\n{limits}");
        let template = ODD.replace("   Api: { Type: AWS::Serverless::HttpApi }   # in braces\n", &api);
        assert_ne!(template, ODD);
        template
    };
    let check = |before: &str, operations: &[(&str, &str, &str)], expected: &str| {
        let template = with_limits(before);
        let after = synced(&template, &contract(operations));
        assert!(
            after.starts_with(&with_limits(expected)[..with_limits(expected).find("   Other:").expect("there")]),
            "{after}"
        );
    };
    let limits = "         RouteSettings:
            # of orders
            POST /a: { ThrottlingRateLimit: 1 }   # few
            'POST /b':
               ThrottlingRateLimit: 2
            $default: { ThrottlingRateLimit: 3 }
";
    check(limits, &[("a", "post", "/c"), ("b", "post", "/b")], &limits.replace("POST /a", "POST /c"));
    check(limits, &[("a", "post", "/a"), ("b", "post", "/b/{c}")], &limits.replace("/b", "/b/{c}"));
    let gone = limits.replace("            'POST /b':\n               ThrottlingRateLimit: 2\n", "");
    check(limits, &[("a", "post", "/a")], &gone);
    let stale =
        "         RouteSettings:\n            POST /gone: { ThrottlingRateLimit: 1 }\n         Description: d\n";
    check(stale, &[("a", "post", "/a")], "         Description: d\n");
}

#[test]
fn a_template_that_cannot_be_edited_by_lines_is_refused_with_the_line() {
    let check = |from: &str, to: &str, operations: &[(&str, &str, &str)], expected: &str| {
        let template = ODD.replacen(from, to, 1);
        assert_ne!(template, ODD, "{from} is in the template");
        let refusal = sync("t.yaml", &template, &contract(operations)).expect_err(expected).to_string();
        assert!(refusal.contains(expected), "{refusal:?}\nshould say\n{expected:?}");
    };
    let moved = [("a", "post", "/new"), ("b", "post", "/b")];
    check("            B: {", "            B : [}", &moved, "22: ");
    check("            # of orders\n            A:", "            A:\n         \tB:", &moved, "12: ");
    check(
        "   Api: {",
        "   Second: { Type: AWS::Serverless::HttpApi }\n   Api: {",
        &moved,
        "has 2 AWS::Serverless::HttpApi",
    );
    check("Events: { Tick: { Type: Schedule } }", "Events: { Tick: { Type: HttpApi } }", &moved, "Ingress, Other have");
    check(
        "            Queue: { Type: SQS",
        "            New: { Type: SQS",
        &[("new", "post", "/n")],
        "23: /Resources/Ingress/Properties/Events/New: New is an event of another",
    );
    check(
        "Path: \"/a\"   # where",
        "Path: !Ref P",
        &moved,
        "18: /Resources/Ingress/Properties/Events/A/Properties/Path: Path of A is not a plain text",
    );
    check(
        "Method: POST, Path: '/b'",
        "Path: '/b'",
        &[("b", "put", "/b")],
        "22: /Resources/Ingress/Properties/Events/B: B should be PUT /b: give it",
    );
    let lines: Vec<_> = ODD.lines().collect();
    let events = lines[10..25].join("\n");
    check(
        &events,
        "            { B: { Type: HttpApi } }",
        &moved,
        "10: /Resources/Ingress/Properties/Events: Events is in braces",
    );
    let two =
        "            ? A\n            : { Type: HttpApi, Properties: { ApiId: !Ref Api } }\n            # of things";
    check(
        "            # of things",
        two,
        &moved,
        "21: /Resources/Ingress/Properties/Events/A: this key is already there, on line 12",
    );
    let strange = ODD.replace("            B: {", "            ? B\n            : {");
    let refusal = sync("t.yaml", &strange, &contract(&moved)).expect_err("a key of its own kind").to_string();
    assert!(refusal.contains("22: /Resources/Ingress/Properties/Events/B: B shares a line"), "{refusal}");
    let one_name = contract(&[("a-b", "post", "/a"), ("aB", "post", "/b")]);
    let refusal = sync("t.yaml", ODD, &one_name).expect_err("one name").to_string();
    assert!(refusal.contains("would both be called AB"), "{refusal}");
}
