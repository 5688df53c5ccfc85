//! The features of `cargo local`: the functions use the dependencies compiled for the command.
//!
//! Cargo compiles a dependency once for each set of features. `cargo local` builds the command first, then the
//! functions with the command selected beside them. Here `cargo tree` lists the features of both builds.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{cargo, root};

/// The names and versions of packages, and the sets of features each is compiled with.
type Compiled = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_functions_use_the_dependencies_of_the_command() {
    let (command, with_rabbitmq) = (command(), with_rabbitmq());
    for (function, command, with_other_features) in [
        ("ingress", &command, &[][..]),
        ("consumer", &command, &[]),
        // Code of the broker feature. Third-party packages are those of the command with RabbitMQ.
        ("rabbitmq", &with_rabbitmq, &["sluicegate-batch", "sluicegate-ingress"]),
        ("kafka", &with("sluicegate-cli/kafka"), &["sluicegate-batch", "sluicegate-ingress"]),
    ] {
        let built = compiled(command);
        let selection = [&["--package".to_owned(), function.to_owned()][..], command].concat();
        let again = compiled_again(&built, &compiled(&selection));
        let names: Vec<_> = again.iter().filter_map(|package| package.split(' ').next()).collect();
        assert_eq!(names, with_other_features, "{function}: {again:#?}");
        // A build script compiles for the host what the function compiles for its target, which is the same compilation
        // if the features are the same. The host has the webhook crate without `verify`, and so without cryptography.
        let differ = |(package, sets): &(String, BTreeSet<String>)| {
            sets.len() > 1 && !package.starts_with("sluicegate-webhook ")
        };
        let twice: Vec<_> = compiled(&selection).into_iter().filter(differ).collect();
        assert!(twice.is_empty(), "{function}: for host and target with other features: {twice:#?}");
    }
}

#[test]
fn the_command_is_built_without_an_amqp_client() {
    let names = |selection: &[String]| compiled(selection).into_keys().collect::<Vec<_>>();
    let has_lapin = |selection: &[String]| names(selection).iter().any(|package| package.starts_with("lapin "));
    let (command, with_rabbitmq) = (command(), with_rabbitmq());
    assert!(!has_lapin(&command) && has_lapin(&with_rabbitmq));
    // The build with it compiles the client, and no other package of third parties again.
    let again = compiled_again(&compiled(&command), &compiled(&with_rabbitmq));
    let third_party: Vec<_> = again.iter().filter(|package| !package.starts_with("sluicegate-")).collect();
    assert!(third_party.is_empty(), "{third_party:#?}");
}

#[test]
fn the_command_is_built_without_dynamodb() {
    let command = compiled(&command());
    let with_dynamodb = compiled(&with("sluicegate-cli/dynamodb"));
    let has = |built: &Compiled| built.keys().any(|package| package.starts_with("libsqlite3-sys "));
    assert!(!has(&command) && has(&with_dynamodb));
    // The emulator has other kinds of ids.
    let again = compiled_again(&command, &with_dynamodb);
    let third_party = again.iter().filter(|package| !package.starts_with("sluicegate-"));
    let names: Vec<_> = third_party.filter_map(|package| package.split(' ').next()).collect();
    assert_eq!(names, ["uuid"], "{again:#?}");
}

/// Tests build the command that they run. `cargo sluicegate` would compile it once more, without the features that the
/// packages of the workspace add, so the docs' commands are run with this one.
#[test]
fn the_tests_use_the_dependencies_of_the_command_that_they_run() {
    // The default members, without and with what tests depend on.
    let command = compiled(&[]);
    let tests = compiled_with("normal,build,dev", &["--workspace".to_owned()]);
    let again = compiled_again(&tests, &command);
    assert!(again.is_empty(), "add the features to tests/Cargo.toml: {again:#?}");
    let alias = alias("sluicegate");
    assert_eq!(
        alias, "run --quiet --package sluicegate-cli --bin sluicegate --",
        "a package with its default features"
    );
}

#[test]
fn without_its_feature_the_command_would_be_compiled_with_other_features() {
    let bare = ["--package", "sluicegate-cli", "--no-default-features"].map(str::to_owned);
    let both = [&bare[..], &["--package".to_owned(), "ingress".to_owned()]].concat();
    let again = compiled_again(&compiled(&bare), &compiled(&both));
    assert!(again.iter().any(|package| package.starts_with("tracing ")), "{again:#?}");
}

/// Returns the packages of both builds that `then` compiles with features that `first` does not use.
fn compiled_again(first: &Compiled, then: &Compiled) -> Vec<String> {
    let both = then.iter().filter_map(|(package, sets)| Some((package, first.get(package)?, sets)));
    let again = both.filter(|(_, first, then)| !then.is_subset(first));
    again.map(|(package, first, then)| format!("{package}: {then:?}, not {first:?}")).collect()
}

/// Returns the arguments of the alias `cargo local` that select packages and features.
fn command() -> Vec<String> {
    let alias = alias("local");
    let arguments = alias.strip_prefix("run ").and_then(|rest| rest.split(" -- ").next()).expect("arguments");
    arguments.replace("--bin sluicegate ", "").split_whitespace().map(str::to_owned).collect()
}

/// Returns what an alias of cargo stands for.
fn alias(name: &str) -> String {
    let config = std::fs::read_to_string(root().join(".cargo/config.toml")).expect("the aliases");
    let line = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'));
    line.unwrap_or_else(|| panic!("the alias `{name}`")).to_owned()
}

/// Returns the same for the command that `cargo local --rabbitmq` builds.
fn with_rabbitmq() -> Vec<String> {
    with("sluicegate-cli/rabbitmq")
}

/// Returns the arguments that select the command with a feature.
fn with(feature: &str) -> Vec<String> {
    [command(), ["--features", feature].map(str::to_owned).to_vec()].concat()
}

/// Returns the target that the compiler runs on.
fn host() -> String {
    let mut rustc = std::process::Command::new("rustc");
    let output = rustc.current_dir(root()).args(["--print", "host-tuple"]).output().expect("rustc runs");
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// Returns the packages that a build of `selection` compiles.
fn compiled(selection: &[String]) -> Compiled {
    compiled_with("normal,build", selection)
}

/// Returns the same for these kinds of dependencies.
fn compiled_with(kinds: &str, selection: &[String]) -> Compiled {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--edges", kinds, "--prefix", "none", "--format", "{p} => {f}"]);
    // Without a target, `cargo tree` shows a package once if host and target have it with the same features, and the
    // packages below it once too.
    tree.args(["--target", &host()]);
    let output = tree.args(selection).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut compiled = Compiled::new();
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        let Some((package, features)) = line.trim_end_matches(" (*)").split_once(" => ") else { continue };
        compiled.entry(package.to_owned()).or_default().insert(features.to_owned());
    }
    compiled
}
