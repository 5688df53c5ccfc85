//! Architecture rules: allowed imports between packages, the files that may name third parties, and facts that are in
//! two files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{files, root};

/// The packages that each package may depend on, by folder without `crates/`. `*` means any package except the
/// functions.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("yaml", &[]),
    ("contract", &["webhook", "yaml"]),
    ("envelope", &[]),
    ("webhook", &[]),
    ("aws-client", &[]),
    ("archive", &["aws-client", "batch", "envelope"]),
    ("otlp", &["aws-client", "queue"]),
    ("idempotency", &["aws-client"]),
    ("queue", &["aws-client", "envelope"]),
    ("runtime", &[]),
    ("telemetry", &[]),
    ("topology", &["queue", "yaml"]),
    ("dlq", &["envelope", "queue", "topology"]),
    ("doctor", &["contract", "queue", "sam", "topology"]),
    ("batch", &["aws-client", "envelope", "idempotency", "otlp", "queue", "runtime", "telemetry"]),
    (
        "ingress",
        &["aws-client", "contract", "envelope", "idempotency", "otlp", "queue", "runtime", "telemetry", "webhook"],
    ),
    ("functions/archiver", &["archive"]),
    ("functions/consumer", &["batch"]),
    ("functions/ingress", &["contract", "ingress"]),
    ("functions/kafka", &["batch", "contract", "ingress"]),
    ("functions/rabbitmq", &["batch", "contract", "ingress"]),
    ("examples/inventory/functions/consumer", &["batch"]),
    ("examples/inventory/functions/ingress", &["contract", "ingress"]),
    ("sqs-emulator", &[]),
    ("lambda-emulator", &["queue", "sqs-emulator", "topology"]),
    ("local", &["dlq", "lambda-emulator", "queue", "sam", "sqs-emulator", "topology"]),
    ("sam", &["yaml"]),
    // Not shipped, and nothing imports it.
    ("simulation", &["*"]),
    // Depends on batch and ingress only for their features, so that their dependencies are compiled once.
    (
        "cli",
        &[
            "archive", "batch", "contract", "dlq", "doctor", "envelope", "ingress", "local", "queue", "sam",
            "topology", "webhook", "yaml",
        ],
    ),
    ("tests", &["*"]),
];

/// Names of third parties in code, and the path prefixes of the files that may use them.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    (
        "aws_sdk_sqs",
        &["crates/queue/src/sqs", "crates/dlq/src/sqs", "crates/doctor/src/stack", "crates/sqs-emulator/tests"],
    ),
    ("aws_sdk_cloudformation", &["crates/doctor/src/stack"]),
    ("aws_sdk_lambda", &["crates/doctor/src/stack"]),
    ("aws_sdk_secretsmanager", &["crates/cli/src/secrets/store", "crates/doctor/src/stack"]),
    (
        "aws_config",
        &[
            "crates/cli/src/aws",
            "crates/cli/src/secrets/store",
            "crates/dlq/src/sqs",
            "crates/doctor/src/stack",
            "crates/queue/src/aws",
            "crates/queue/src/sqs",
        ],
    ),
    (
        "aws_smithy",
        &[
            "crates/aws-client/src/",
            "crates/cli/src/aws",
            "crates/queue/src/aws",
            "crates/queue/src/sqs",
            "crates/simulation/src/sdk",
            "crates/sqs-emulator/tests",
        ],
    ),
    ("saphyr_parser", &["crates/yaml/src/"]),
    ("aws_lambda_events", &["crates/ingress/src/event"]),
    (
        "lapin",
        &[
            "crates/queue/src/rabbitmq",
            "crates/batch/src/source/rabbitmq",
            "crates/dlq/src/rabbitmq",
            "crates/lambda-emulator/src/rabbitmq",
            "crates/local/src/rabbitmq",
            "crates/simulation/src/rabbitmq",
            "crates/topology/src/",
        ],
    ),
];

#[test]
fn packages_import_only_what_the_map_allows() {
    let faults = forbidden_imports(&cargo_metadata());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_planted_import_is_found() {
    let root = root();
    let package = |folder: &str, imports: &str, kind: Value| {
        let path = |folder: &str| root.join(folder).to_str().expect("UTF-8").to_owned();
        json!({ "packages": [{
            "manifest_path": path(&format!("{folder}/Cargo.toml")),
            "dependencies": [{ "name": "any", "path": path(imports), "kind": kind }, { "name": "serde", "kind": null }],
        }] })
    };
    for (folder, imports, kind, found) in [
        ("crates/envelope", "crates/queue", Value::Null, &["envelope imports queue"][..]),
        ("crates/envelope", "crates/queue", "build".into(), &["envelope imports queue"]),
        ("crates/envelope", "crates/queue", "dev".into(), &[]),
        ("crates/queue", "crates/envelope", Value::Null, &[]),
        ("tests", "functions/ingress", Value::Null, &["tests imports functions/ingress"]),
        ("crates/new", "crates/envelope", Value::Null, &["new is not on the map: add it to MAY_IMPORT"]),
    ] {
        assert_eq!(forbidden_imports(&package(folder, imports, kind)), found, "{folder} {imports}");
    }
}

#[test]
fn third_parties_are_named_only_in_their_adapters() {
    let sources = files::rust(&["crates", "functions"]);
    let faults: Vec<_> = sources.iter().flat_map(|(path, text)| misplaced_names(path, text)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_planted_name_is_found() {
    let text = "// lapin is a crate\nuse lapin::Channel;\n";
    assert_eq!(misplaced_names("crates/envelope/src/lib.rs", text), ["crates/envelope/src/lib.rs:2 names lapin"]);
    assert!(misplaced_names("crates/queue/src/rabbitmq/broker.rs", text).is_empty());
}

#[test]
fn no_server_binds_more_than_loopback() {
    let everywhere = [concat!("0.0", ".0.0"), concat!("UNSPEC", "IFIED"), concat!("\"[", "::]")];
    // A CIDR range in a template, such as 0.0.0.0/0, is not an address to listen on.
    let range = concat!("0.0", ".0.0/");
    let mut wrong = Vec::new();
    for (path, text) in files::rust(&["crates", "functions", "tests"]) {
        let text = text.replace(range, "");
        for name in everywhere {
            wrong.extend(lines_with(&text, name).map(|line| format!("{path}:{line} names {name}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns the dependencies that the map does not have.
fn forbidden_imports(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let name = folder(manifest.parent().expect("a folder"));
        let Some(may) = allowed.get(name.as_str()) else {
            faults.push(format!("{name} is not on the map: add it to MAY_IMPORT"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let Some(imported) = dependency["path"].as_str().map(|path| folder(Path::new(path))) else { continue };
            let is_function = imported.starts_with("functions/");
            let is_allowed = if may.contains(&"*") { !is_function } else { may.contains(&imported.as_str()) };
            if dependency["kind"] != "dev" && !is_allowed {
                faults.push(format!("{name} imports {imported}"));
            }
        }
    }
    faults
}

/// Returns the lines that name a third party outside the files that may.
fn misplaced_names(path: &str, text: &str) -> Vec<String> {
    let outside = NAMED_ONLY_IN.iter().filter(|(_, files)| !files.iter().any(|start| path.starts_with(start)));
    outside
        .flat_map(|(name, _)| lines_with(text, name).map(move |line| format!("{path}:{line} names {name}")))
        .collect()
}

fn cargo_metadata() -> Value {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Returns the folder of a package in the form of `MAY_IMPORT`.
fn folder(package: &Path) -> String {
    let relative = package.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8");
    relative.strip_prefix("crates/").unwrap_or(relative).to_owned()
}

/// The numbers of the lines whose code (comments left out) has `name` in it.
fn lines_with(text: &str, name: &str) -> impl Iterator<Item = usize> {
    let code = move |line: &str| line.split("//").next().is_some_and(|code| code.contains(name));
    text.lines().enumerate().filter(move |(_, line)| code(line)).map(|(index, _)| index + 1)
}
