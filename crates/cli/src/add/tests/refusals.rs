//! Tests of refusals: each names the place and what to do, and no file changes.

use super::{Files, Project, files, with};

const CONTRACT: &str = "functions/ingress/openapi.yaml";
const HANDLERS: &str = "functions/consumer/src/handlers.rs";
const MAIN: &str = "functions/consumer/src/main.rs";
const TEMPLATE: &str = "template.yaml";

fn check(files: &Files, line: &str, expected: &str) {
    let project = Project::new(files);
    let error = project.run(line).expect_err(line);
    assert!(error.contains(expected), "{line}: no {expected:?} in\n{error}");
    assert_eq!(&project.files(), files, "{line}");
}

#[test]
fn wrong_names_are_refused() {
    let long = "q".repeat(51);
    for (line, expected) in [
        ("add route '/a' --type t --queue q", "write it as 'POST /invoices'"),
        ("add route 'TRACE /a' --type t --queue q", "is not a method"),
        ("add route 'POST a' --type t --queue q", "does not start with /"),
        ("add route 'POST /a//b' --type t --queue q", "is not a segment"),
        ("add route 'POST /a/' --type t --queue q", "is not a segment"),
        ("add route 'POST /{a}b' --type t --queue q", "is not a segment"),
        ("add route 'POST /{a-b}' --type t --queue q", "is not a segment"),
        ("add route 'POST /a b' --type t --queue q", "is not a segment"),
        ("add route 'POST /a' --type T --queue q", "an event type is words"),
        ("add route 'POST /a' --type a..b --queue q", "an event type is words"),
        ("add route 'POST /a' --type t --queue Q", "a queue name is"),
        ("add route 'POST /a' --type t --queue a_b", "a queue name is"),
        ("add route 'POST /a' --type t --queue a-dlq", "dead-letter"),
        ("add route 'POST /a' --type t --queue q --scope 'a b'", "a scope is"),
        ("add route 'POST /a' --type t --queue q --operation-id 1", "an operationId starts"),
        ("add route 'POST /a' --type t --queue q --auth github --scope a", "--scope goes with"),
        ("add route 'POST /a' --type t --queue q --auth jwt", "has no JWT authorizer: merge infra/jwt-authorizer.yaml"),
        ("add route 'POST /{a}/{a}' --type t --queue q", "nothing was written"),
        ("add route 'GET /openapi.json' --type t --queue q", "this path is reserved"),
        ("add route 'POST /a' --type t.{x} --queue q", "nothing was written"),
        ("add queue 1a", "a queue name is"),
        ("add queue a--b", "a queue name is"),
        (&format!("add queue {long}"), "has 51 characters, of 50 allowed"),
        (&format!("add queue {} --fifo", &long[..48]), "SQS takes names of 80 characters"),
        ("add handler a.B", "an event type is words"),
        ("add handler a*", "an event type is words"),
        ("add handler a --json --bytes", "cannot be used with"),
    ] {
        check(&files::project(), line, expected);
    }
}

#[test]
fn what_is_there_already_is_refused_with_its_line() {
    for (line, expected) in [
        (
            "add route 'POST /orders' --type order.new --queue orders",
            "openapi.yaml:10: POST /orders is here already, with queue orders and type order.placed",
        ),
        (
            "add route 'POST /orders' --type order.placed --queue orders --auth none",
            "openapi.yaml:10: POST /orders is here already, with security [{\"key\":[\"orders.write\"]}]",
        ),
        ("add route 'POST /b' --type b --queue orders --operation-id placeOrder", "openapi.yaml:10: POST /orders has"),
        ("add queue orders --fifo", "the queue orders is a standard queue, and a FIFO queue is a new one"),
        ("add queue jobs", "the queue jobs is a FIFO queue"),
        ("add route 'POST /b' --type b --queue orders --fifo", "the queue orders is a standard queue"),
        ("remove queue orders", "the queue orders is used by POST /orders (functions/ingress/openapi.yaml:10)"),
        ("remove route 'POST /orders'", "is the last route"),
        ("remove route 'POST /orders' --force", "is the last route"),
    ] {
        check(&files::project(), line, expected);
    }
    let item = "\n  /orders/{id}:\n    x-none: 1\n\ncomponents:\n";
    let files = with(files::project(), CONTRACT, "\ncomponents:\n", item);
    check(&files, "add route 'PUT /orders/{key}' --type a --queue orders", "is the same route as /orders/{id}");
    let other = "  BillsQueue: { Type: AWS::SNS::Topic }\n\n  # ---- the rest";
    let files = with(files::project(), TEMPLATE, "  # ---- the rest", other);
    check(&files, "add queue bills", "BillsQueue is another resource");
    let unused = with(files::project(), CONTRACT, "queue: orders", "queue: jobs");
    check(&unused, "remove queue orders", "OrdersQueue holds the parameters that other queues share: move &queue");
}

#[test]
fn an_unexpected_shape_is_refused_with_what_to_do() {
    let braces = |path: &str, from: &str, to: &str| with(files::project(), path, from, to);
    let no_template: Files = files::project().into_iter().filter(|(path, _)| path != TEMPLATE).collect();
    let no_queue: Files = files::project().into_iter().filter(|(path, _)| path != "infra/queue.yaml").collect();
    let (route, handler) = ("add route 'POST /a' --type a --queue q", "add handler a.b");
    for (files, line, expected) in [
        (no_template, route, "has no template.yaml"),
        (no_queue, route, "there is no infra/queue.yaml"),
        (
            braces(CONTRACT, "  schemas:\n", "  schemas: { Order: { type: object } }\n  x-old:\n"),
            route,
            "schemas is in braces",
        ),
        (braces(CONTRACT, "openapi: 3.1.1", "openapi: 3.0.0"), route, "correct them first"),
        (braces(CONTRACT, "paths:", "paths: ["), route, "not YAML"),
        (
            braces(
                TEMPLATE,
                "        Variables:\n          # where each queue is\n          QUEUE_ORDERS: !GetAtt OrdersQueue.Outputs.Target\n          SIZE: !Ref Size\n",
                "        Variables: { SIZE: !Ref Size }\n",
            ),
            route,
            "Variables is in braces: write one entry a line",
        ),
        (braces(TEMPLATE, "  IngressFunction:", "  Api:"), route, "this key is already there"),
        (braces(TEMPLATE, "      Events:", "      Event:"), route, "has no Events"),
        (
            braces(MAIN, "fn registered() -> ConsumerBuilder", "fn handlers() -> ConsumerBuilder"),
            handler,
            ".on_json(\"a.b\", handlers::a_b::handle)",
        ),
        (braces(HANDLERS, "//! The", "use a;\n//! The"), handler, "pub(crate) mod a_b;"),
        (braces(HANDLERS, "each.\n", "each.\nmod a_b;\n"), handler, "declares the module a_b"),
        (braces(MAIN, "builder()", "builder().on(\"a.b\", mine)"), handler, "another handler for a.b"),
        (
            braces(MAIN, "builder()", "builder().on(\"a-b\", handlers::a_b::handle)"),
            handler,
            "registers handlers::a_b::handle for another type",
        ),
    ] {
        check(&files, line, expected);
    }
}

/// All or nothing: a file that cannot be written leaves the others as they were.
#[test]
fn nothing_is_written_if_one_file_cannot_be() {
    let project = Project::new(&files::project());
    let in_the_way = project.0.path().join(".template.yaml.sluicegate-new");
    std::fs::create_dir(&in_the_way).expect("made");
    let error = project.run("add route 'POST /a' --type a --queue q").expect_err("cannot write");
    assert!(error.contains("cannot write"), "{error}");
    assert_eq!(project.files(), files::project());
    std::fs::remove_dir(&in_the_way).expect("removed");
    // A folder in the place of the new file is found before anything is written.
    let handler = project.0.path().join("functions/consumer/src/handlers/a_b.rs");
    std::fs::create_dir_all(&handler).expect("made");
    let error = project.run("add handler a.b").expect_err("cannot read");
    assert!(error.contains("cannot read functions/consumer/src/handlers/a_b.rs"), "{error}");
    assert_eq!(project.files(), files::project());
}
