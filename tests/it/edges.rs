//! Architecture rules: allowed imports between packages, the files that may name third parties, facts stated in two
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sluicegate_contract::Drift;

use crate::support::root;

/// The packages that each package may depend on, by folder without `crates/`. `*` means any package but the functions.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("yaml", &[]),
    ("contract", &["yaml"]),
    ("envelope", &[]),
    ("webhook", &[]),
    ("queue", &["envelope"]),
    ("telemetry", &[]),
    ("topology", &["queue", "yaml"]),
    ("dlq", &["envelope", "queue", "topology"]),
    ("doctor", &["contract", "queue", "sam", "topology"]),
    ("batch", &["envelope", "idempotency", "queue", "telemetry"]),
    ("ingress", &["contract", "envelope", "idempotency", "queue", "telemetry", "webhook"]),
    ("functions/consumer", &["batch"]),
    ("functions/ingress", &["contract", "ingress"]),
    ("functions/rabbitmq", &["batch", "contract", "ingress"]),
    ("sqs-emulator", &[]),
    ("lambda-emulator", &["sqs-emulator", "topology"]),
    ("local", &["lambda-emulator", "queue", "sam", "sqs-emulator", "topology"]),
    ("sam", &["yaml"]),
    ("cli", &["contract", "dlq", "doctor", "local", "queue", "sam", "topology", "webhook", "yaml"]),
    ("tests", &["*"]),
];

/// Names of third parties in code, and the path prefixes of the files that may use them.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    (
        "aws_sdk_sqs",
        &[
            "crates/queue/src/sqs",
            "crates/batch/src/source/sqs",
            "crates/dlq/src/sqs",
            "crates/doctor/src/stack",
            "crates/sqs-emulator/tests",
        ],
    ),
    ("aws_sdk_cloudformation", &["crates/doctor/src/stack"]),
    ("aws_sdk_lambda", &["crates/doctor/src/stack"]),
    ("aws_sdk_secretsmanager", &["crates/doctor/src/stack", "crates/ingress/src/secrets", "crates/queue/src/rabbitmq"]),
    (
        "aws_config",
        &[
            "crates/cli/src/aws",
            "crates/dlq/src/sqs",
            "crates/doctor/src/stack",
            "crates/queue/src/aws",
            "crates/queue/src/sqs",
            "crates/batch/src/source/sqs",
            "crates/ingress/src/secrets",
        ],
    ),
    (
        "aws_smithy",
        &[
            "crates/cli/src/aws",
            "crates/queue/src/aws",
            "crates/queue/src/sqs",
            "crates/batch/src/source/sqs",
            "crates/sqs-emulator/tests",
            "crates/ingress/src/secrets",
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
            "crates/topology/src/",
        ],
    ),
];

#[test]
fn packages_import_only_what_the_map_allows() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in cargo_metadata()["packages"].as_array().expect("packages") {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
        let name = &folder(manifest.parent().expect("a folder"));
        let may =
            allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not on the map: add it to MAY_IMPORT"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let Some(imported) = dependency["path"].as_str().map(|path| folder(Path::new(path))) else { continue };
            let function = imported.starts_with("functions/");
            let fine = if may.contains(&"*") { !function } else { may.contains(&imported.as_str()) };
            if dependency["kind"] != "dev" && !fine {
                wrong.push(format!("{name} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn third_parties_are_named_only_in_their_adapters() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&["crates", "functions"]) {
        for (name, files) in NAMED_ONLY_IN {
            if files.iter().any(|start| path.starts_with(start)) {
                continue;
            }
            wrong.extend(lines_with(&text, name).map(|line| format!("{path}:{line} names {name}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_opens_with_its_documentation() {
    let silent: Vec<_> = sources(&["crates", "functions", "tests"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "these files do not open with //!: {silent:#?}");
}

#[test]
fn no_server_binds_more_than_loopback() {
    let everywhere = [concat!("0.0", ".0.0"), concat!("UNSPEC", "IFIED"), concat!("\"[", "::]")];
    // A CIDR range in a template, such as 0.0.0.0/0, is not an address to listen on.
    let range = concat!("0.0", ".0.0/");
    let mut wrong = Vec::new();
    for (path, text) in sources(&["crates", "functions", "tests"]) {
        let text = text.replace(range, "");
        for name in everywhere {
            wrong.extend(lines_with(&text, name).map(|line| format!("{path}:{line} names {name}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_contract_knows_exactly_the_presets_of_the_webhook_crate() {
    let presets = sluicegate_contract::SIGNATURE_PRESETS.iter().map(|preset| (preset.name, preset.headers));
    let schemes = sluicegate_webhook::Scheme::all().iter().map(|scheme| (scheme.name(), scheme.signature_headers()));
    assert_eq!(presets.collect::<BTreeSet<_>>(), schemes.collect::<BTreeSet<_>>());
}

#[test]
fn the_template_has_exactly_the_routes_of_the_contract() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let yaml = read("functions/ingress/openapi.yaml");
    let contract = sluicegate_contract::Contract::parse("openapi.yaml", &yaml).expect("the contract is sound");
    let settings = sluicegate_sam::Settings {
        queue_url_base: "http://127.0.0.1:4566".into(),
        ..sluicegate_sam::Settings::default()
    };
    let plan = sluicegate_sam::Plan::read("template.yaml", &read("template.yaml"), &settings);
    let plan = plan.expect("the template is sound");
    let routes: Vec<_> = plan.routes.iter().map(|route| route.key.as_str()).collect();
    assert_eq!(Drift::between(&contract, routes.iter().copied()), Drift::default());
    // Requests without a route reach ingress too, which answers 404 and 405 as problem documents.
    assert!(routes.contains(&"$default"), "{routes:?}");
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

/// Returns the Rust files below `folders` with their paths relative to the root.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((relative(&path), text));
            }
        }
    }
    assert!(found.len() > 10, "the sources are found");
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned()
}

/// Returns the numbers of the lines that have `name` in their code, comments excluded.
fn lines_with(text: &str, name: &str) -> impl Iterator<Item = usize> {
    let code = move |line: &str| line.split("//").next().is_some_and(|code| code.contains(name));
    text.lines().enumerate().filter(move |(_, line)| code(line)).map(|(index, _)| index + 1)
}
