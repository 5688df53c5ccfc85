//! `sluicegate new`: the project passes its own tests and runs with a route and a handler of its own. At a terminal,
//! the command asks what its flags leave open.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_sam::{Settings, StackPlan};

use crate::support::prometheus::Page;
use crate::support::service::Service;
use crate::support::stack::{Stack, steps};
use crate::support::{cargo, like_a_shell, project, project::Project, root};

/// The time limit for a message to be processed.
const WAY_TIME_MAX: Duration = Duration::from_secs(30);

/// The folder of the files that the command embeds, and that of the links to the repository's files below it.
const EMBEDDED: &str = "crates/cli/src/new";
const LINKS: &str = "crates/cli/src/new/repository";

/// Sets the folder and the environment of a command in a new project. It finds the dependencies that this workspace
/// compiled; what it builds itself is below the project, because the packages of both have the same names.
fn in_project<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    like_a_shell(command);
    // Clippy runs this cargo, which may be of another toolchain.
    command.env_remove("CARGO");
    command.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    command.env("CARGO_BUILD_BUILD_DIR", project::target()).env("CARGO_NET_OFFLINE", "true")
}

/// Runs a program in a new project and returns its output.
fn run(folder: &Path, program: &str, arguments: &str) -> String {
    let mut command = Command::new(program);
    in_project(command.args(arguments.split_whitespace()), folder);
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{program} {arguments}: {printed}{errors}");
    assert!(!errors.contains("warning"), "{program} {arguments}: {errors}");
    printed + &errors
}

const CONTRACT: &str = "my-api/functions/ingress/openapi.yaml";
const CONSUMER: &str = "my-api/functions/consumer/src/main.rs";
const CONSUMER_MANIFEST: &str = "my-api/functions/consumer/Cargo.toml";
/// The start of the consumer's dependency on the runtime.
const BATCH: &str = "sluicegate-batch = { workspace = true, features = [";
/// What the consumer handles once.
const RULE: &str = ".idempotency_for(\"hooks.*\", sluicegate_batch::IdempotencyRule::default())";
/// The line of a route's key.
const KEY: &str = "          key: '{header.idempotency-key}'\n";
/// A schema with arrays, nested objects, optional members, and one without a type. The schema of `add route` follows
/// under another name.
const INVOICE: &str = "    InvoiceSubmitted:
      type: object
      required: [id, items, type]
      properties:
        id: { type: string }
        type: { type: string, enum: [new] }
        items: { type: array, items: { $ref: '#/components/schemas/InvoiceItem' } }
        paid: { type: [boolean, 'null'] }
        totals: { type: object, additionalProperties: { type: number } }
        meta: { type: object }
    InvoiceItem: { type: object, required: [quantity], properties: { quantity: { type: integer, minimum: 1 } } }
    InvoiceBefore:
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_project_takes_a_route_and_a_handler_passes_its_tests_and_runs() {
    let project = Project::empty();
    let new = format!("cargo sluicegate new my-api --webhook github --path '{}'", root().display());
    let printed = project.succeed(&new);
    assert!(printed.contains("cd my-api") && printed.contains("cargo local"), "{printed}");
    assert!(printed.contains("add handler 'github.*'"), "{printed}");
    let (code, printed) = project.run(&new);
    assert!(code == 1 && printed.contains("my-api is not empty"), "{printed}");

    for line in [
        "check",
        "sync --check",
        "add route 'POST /invoices' --type invoice.submitted --queue invoices",
        // The routes keep their keys in a store, and so does the consumer: sync writes the table and the features.
        "sync",
        "sync --check",
        // A handler of each kind: of an event with a schema, of one without, and of bytes.
        "add handler invoice.submitted",
        "add handler invoice.other",
        "add handler 'hooks.*' --bytes",
    ] {
        if line == "sync" {
            edit(&project, CONTRACT, KEY, &format!("{KEY}          store: dynamodb\n"));
            edit(&project, CONSUMER_MANIFEST, BATCH, &format!("{BATCH}\"dynamodb\", "));
            let (code, printed) = project.run("cd my-api && cargo sluicegate sync --check");
            assert!(code == 1 && printed.contains("+ IdempotencyTable"), "{printed}");
            assert!(printed.contains("+ IDEMPOTENCY_TABLE of ConsumerFunction"), "{printed}");
        }
        if line.contains("handler invoice.submitted") {
            edit(&project, CONTRACT, "    InvoiceSubmitted:\n", INVOICE);
        }
        let printed = project.succeed(&format!("cd my-api && cargo sluicegate {line}"));
        assert!(!printed.contains("warning"), "{line}: {printed}");
    }
    let template = project.path().join("my-api/template.yaml").display().to_string();
    for broker in ["sqs", "rabbitmq", "kafka"] {
        let parameters = [("Broker".to_owned(), broker.to_owned())].into();
        let settings = Settings { parameters, ..Settings::default() };
        let plan = StackPlan::read(&template, &project.text("my-api/template.yaml"), &settings).expect("a plan");
        for (route, variable) in [("POST /invoices", "QUEUE_INVOICES"), ("POST /webhooks/github", "QUEUE_WEBHOOKS")] {
            assert!(plan.routes.iter().any(|each| each.key == route), "{broker}: {route}");
            assert!(plan.functions.iter().any(|it| it.environment.contains_key(variable)), "{broker}: {variable}");
        }
    }

    let folder = project.path().join("my-api");
    edit(&project, CONSUMER, "Consumer::builder()", &format!("Consumer::builder(){RULE}"));
    run(&folder, "cargo", "fmt");
    assert_eq!(members(&folder), ["consumer", "ingress", "kafka", "rabbitmq", "sluicegate"]);
    let tested = run(&folder, "tests/run", "");
    for part in [
        "\npassed: format lints tests contract template doctor sam\n",
        "handlers::invoice_submitted::tests::an_event_is_done ... ok",
        "handlers::invoice_other::tests::an_event_is_done ... ok",
        "handlers::hooks::tests::an_event_is_done ... ok",
        "a_captured_order_is_enqueued ... ok",
        "\n0 error(s), 0 warning(s), ",
    ] {
        assert!(tested.contains(part), "{part}: {tested}");
    }

    let mut local = cargo();
    in_project(&mut local, &folder);
    let stack = Stack::run(local.into(), &[], &[]).await;
    let send = async |id: &str| {
        let request = stack.http.post(format!("{}/invoices", stack.gateway)).header("content-type", "application/json");
        let request = request.header("x-api-key", "dev-key").header("idempotency-key", "\"i-1\"");
        let body = json!({ "id": id, "items": [], "type": "new" }).to_string();
        let answer = request.body(body).send().await.expect("answered");
        let (status, is_replay) = (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
        let body = answer.text().await.expect("text");
        (status, is_replay, serde_json::from_str::<Value>(&body).unwrap_or_else(|_| panic!("{body}")))
    };
    let (status, is_replay, body) = send("i-1").await;
    assert!(status == 202 && !is_replay, "{body}\n{}", stack.printed());
    let id = body["id"].as_str().expect("an id");
    assert_eq!(send("i-1").await, (202, true, body.clone()), "a repeat is answered from the store");
    let (status, _, refused) = send("i-2").await;
    assert_eq!((status, &refused["code"]), (422, &"idempotency_key_reused".into()), "{refused}");
    let timeline = stack.until_state(id, "done", WAY_TIME_MAX).await;
    // The repeat may come at any time.
    let way: Vec<_> = steps(&timeline).into_iter().filter(|step| *step != "repeated").collect();
    assert_eq!(way, ["accepted", "delivered", "done"]);
    // The line that the handler logs.
    let is_handled = |line: &str| line.contains("handled") && line.contains(id);
    stack
        .until("the handler's line is printed", WAY_TIME_MAX, async || {
            stack.printed().lines().any(is_handled).then_some(())
        })
        .await;
    handles_a_message_once(&stack).await;
    stack.stop().await;
}

/// Replaces a text in a file of the project.
fn edit(project: &Project, file: &str, from: &str, to: &str) {
    let before = project.text(file);
    let after = before.replace(from, to);
    assert_ne!(after, before, "{file} has {from}");
    fs::write(project.path().join(file), after).expect("written");
}

/// Sends a message with a rule, waits until it is done, sends it twice more, and waits for two duplicates.
async fn handles_a_message_once(stack: &Stack) {
    let queues = stack.http.get(format!("{}/queues", stack.admin)).send().await.expect("answered");
    let queues: Value = queues.json().await.expect("JSON");
    let names = queues["queues"].as_array().expect("queues").iter().filter(|queue| queue["dead_letters"] == false);
    let queue = names.filter_map(|queue| queue["name"].as_str()).find(|name| name.contains("invoices"));
    let queue = queue.expect("the queue of invoices");
    let event = json!({ "specversion": "1.0", "id": "h-1", "source": "/hooks", "type": "hooks.called", "data": "x" });
    let sqs = Service::at(&stack.aws);
    let url = sqs.find(queue).await;
    // The invoice is done too.
    for (copies, done, duplicates) in [(1, 2.0, 0.0), (2, 2.0, 2.0)] {
        for _ in 0..copies {
            sqs.send(&url, &event.to_string()).await;
        }
        stack
            .until(&format!("{done} messages are done and {duplicates} are duplicates"), WAY_TIME_MAX, async || {
                let page = stack.http.get(format!("{}/metrics", stack.admin)).send().await.expect("answered");
                let page = Page::read(&page.text().await.expect("text")).expect("a page");
                let count =
                    |outcome| page.sum("sluicegate_deliveries_total", &[("queue", queue), ("outcome", outcome)]);
                (count("done") == done && count("duplicate") == duplicates).then_some(())
            })
            .await;
    }
}

/// Returns the packages of the workspace in this folder.
fn members(folder: &Path) -> Vec<String> {
    let metadata = run(folder, "cargo", "metadata --quiet --format-version 1 --no-deps");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let mut names: Vec<_> = packages.map(|package| package["name"].as_str().expect("a name").to_owned()).collect();
    names.sort_unstable();
    names
}

/// `script` runs a command at a terminal, and types what it reads.
#[cfg(target_os = "linux")]
#[test]
fn at_a_terminal_it_asks_what_the_flags_leave_open() {
    const ALL: [&str; 4] =
        ["Name of the project: ", "Broker: sqs, rabbitmq or kafka [sqs]: ", "Webhooks, ", "AWS region ["];
    let project = Project::empty();
    for (name, arguments, typed, questions) in [
        ("asked", "", "asked\\nrabbitmq\\ngithub\\neu-west-1\\n", &ALL[..]),
        ("given", "given --broker rabbitmq --webhook github --region eu-west-1", "", &[]),
        ("some", "some --broker rabbitmq --region eu-west-1", "github\\n", &ALL[2..3]),
        ("silent", "silent --broker rabbitmq --webhook github --region eu-west-1 --yes", "", &[]),
    ] {
        let printed = project.succeed(&format!(
            "printf '{typed}' | script --quiet --return --command 'cargo sluicegate new {arguments}' /dev/null"
        ));
        let asked: Vec<_> = ALL.into_iter().filter(|question| printed.contains(question)).collect();
        assert_eq!(asked, questions, "{arguments}: {printed}");
        let has = |path: &str, part: &str| project.text(&format!("{name}/{path}")).contains(part);
        assert!(has("template.yaml", "Default: rabbitmq\n"), "{arguments}");
        assert!(has("samconfig.toml", "region = \"eu-west-1\"\n"), "{arguments}");
        assert!(has("functions/ingress/openapi.yaml", "x-secret: github\n"), "{arguments}");
        assert!(!has("functions/ingress/openapi.yaml", "x-secret: standard-webhooks\n"), "{arguments}");
    }
    // Standard input is not a terminal.
    let printed = project.succeed("echo asked-not | cargo sluicegate new defaults");
    assert!(ALL.iter().all(|question| !printed.contains(question)), "{printed}");
    assert!(!project.text("defaults/functions/ingress/openapi.yaml").contains("/webhooks/"));
    let (code, printed) = project.run("cargo sluicegate new </dev/null");
    assert!(code == 1 && printed.contains("pass one"), "{printed}");
}

#[test]
fn the_package_has_every_file_that_the_command_embeds() {
    let mut package = cargo();
    package.args(["package", "--package", "sluicegate-cli", "--list", "--allow-dirty", "--offline"]);
    let output = package.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("UTF-8");
    let listed: BTreeSet<_> = listed.lines().map(|line| format!("crates/cli/{line}")).collect();
    let embedded = files(EMBEDDED);
    assert!(embedded.len() > 30, "{embedded:?}");
    let left_out: Vec<_> = embedded.difference(&listed).collect();
    assert!(left_out.is_empty(), "cargo package leaves out {left_out:?}");
    for link in files(LINKS) {
        let path =
            link.strip_prefix(LINKS).expect("below").trim_start_matches('/').replace("manifest.toml", "Cargo.toml");
        let (target, file) = (fs::canonicalize(root().join(&link)), fs::canonicalize(root().join(&path)));
        assert_eq!(target.expect(&link), file.expect(&path), "{link}");
    }
}

/// Returns the paths of the files in a folder of the repository.
fn files(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.map(|entry| format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy()));
    paths.flat_map(|path| if root().join(&path).is_dir() { files(&path) } else { [path].into() }).collect()
}
