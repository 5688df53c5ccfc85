//! The files of new projects, the command line, and a folder that is written whole or not at all.

use std::{collections::BTreeMap, fs, path::Path};

use clap::Parser;
use sluicegate_contract::Contract;
use sluicegate_sam::{Settings, StackPlan};

use crate::CommandError;

use super::{
    Broker, NewProject, Revision, Source, completed, files::File, name, questions::Questions, quotable, region,
    webhooks::Webhooks, write,
};

fn project(broker: Broker, source: &Source, region: Option<&str>) -> BTreeMap<&'static str, String> {
    let region = region.map(str::to_owned);
    let webhooks = Webhooks::default();
    let project = NewProject { name: "my-api".to_owned(), source: source.clone(), broker, webhooks, region };
    let files = project.files().expect("the repository's files have what is edited");
    files.into_iter().map(|file| (file.path, file.text)).collect()
}

/// What a file of a new project does not have: placeholders, and paths of this repository.
const FOREIGN: &[&str] = &[
    "{{name}}",
    "{{local}}",
    "{{broker}}",
    "{{repository}}",
    "{{steps}}",
    "{{cluster}}",
    "{{region}}",
    "{{checkout}}",
    "{{cache}}",
    "{{edition}}",
    "{{rust-version}}",
    "{{dependencies}}",
    " docs/",
    "(docs/",
    "tests/it",
    "tests/peers",
    "tests/bench/cold-start",
    "license.workspace",
];

fn git(revision: Option<Revision>) -> Source {
    Source::Git { url: "https://example.com/s".to_owned(), revision }
}

#[test]
fn every_project_has_its_own_name_and_no_path_of_this_repository() {
    for (broker, source) in [
        (Broker::Sqs, git(None)),
        (Broker::Rabbitmq, git(Some(Revision::Rev("v1".to_owned())))),
        (Broker::Kafka, Source::Path("/checkout".to_owned())),
    ] {
        for region in [None, Some("eu-west-1")] {
            let files = project(broker, &source, region);
            for (path, text) in &files {
                assert!(!text.trim().is_empty(), "{path}");
                if *path == "Cargo.lock" {
                    continue;
                }
                for line in text.lines() {
                    let found: Vec<_> = FOREIGN.iter().filter(|part| line.contains(**part)).collect();
                    assert!(found.is_empty(), "{path}: {line}: {found:?}");
                }
            }
            let stacks: Vec<_> =
                files["samconfig.toml"].lines().filter(|line| line.starts_with("stack_name")).collect();
            assert_eq!(stacks.len(), 5);
            assert!(stacks.iter().all(|line| line.starts_with("stack_name = \"my-api-")), "{stacks:?}");
            assert_eq!(
                files["samconfig.toml"].matches("region = \"eu-west-1\"").count(),
                5 * usize::from(region.is_some())
            );
            assert!(files["functions/ingress/openapi.yaml"].contains("\n  title: my-api\n"));
            assert!(files["README.md"].starts_with("# my-api\n"));
        }
    }
}

#[test]
fn the_crates_come_from_where_the_command_line_says() {
    for (source, expected) in [
        (git(None), r#"sluicegate-cli = { git = "https://example.com/s", default-features = false }"#),
        (
            git(Some(Revision::Rev("v1".to_owned()))),
            r#"sluicegate-cli = { git = "https://example.com/s", rev = "v1", default-features = false }"#,
        ),
        (
            git(Some(Revision::Branch("main".to_owned()))),
            r#"sluicegate-cli = { git = "https://example.com/s", branch = "main", default-features = false }"#,
        ),
        (
            Source::Path("/checkout".to_owned()),
            r#"sluicegate-cli = { path = "/checkout/crates/cli", default-features = false }"#,
        ),
    ] {
        let manifest = &project(Broker::Sqs, &source, None)["Cargo.toml"];
        assert!(manifest.lines().any(|line| line == expected), "{manifest}");
        for part in ["\nserde = ", "\ntracing = ", "\n[workspace.lints.clippy]\n", "\n[profile.release]\n"] {
            assert_eq!(manifest.matches(part).count(), 1, "{part}");
        }
        assert!(!manifest.contains("simulation"), "{manifest}");
    }
}

#[test]
fn the_template_has_the_routes_of_the_contract_and_the_broker() {
    for (broker, value) in [(Broker::Sqs, "sqs"), (Broker::Rabbitmq, "rabbitmq"), (Broker::Kafka, "kafka")] {
        let files = project(broker, &git(None), None);
        let default = format!("    Default: {value}\n    AllowedValues: [sqs, rabbitmq, kafka]");
        assert!(files["template.yaml"].contains(&default), "{default}");
        let command = &files["tools/sluicegate/Cargo.toml"];
        for (other, name) in [(Broker::Rabbitmq, "rabbitmq"), (Broker::Kafka, "kafka")] {
            assert_eq!(files["README.md"].contains(&format!("cargo local --{name}")), broker == other);
            assert_eq!(command.contains(&format!(r#"["functions", "{name}"]"#)), broker == other, "{command}");
            assert_eq!(files["tests/run"].contains(&format!("lints {name} tests")), broker == other);
        }
        let given = files["tests/run"].split("--parameter ").skip(1).filter_map(|rest| Some(rest.split_once('=')?.0));
        let given: Vec<_> = given.collect();
        assert_eq!(given.len(), if broker == Broker::Kafka { 2 } else { 0 });
        assert!(given.iter().all(|name| files["template.yaml"].contains(&format!("\n  {name}:\n"))), "{given:?}");
        let folder = tempfile::tempdir().expect("a folder");
        write_all(&folder.path().join("my-api"), &files);
        let template = folder.path().join("my-api/template.yaml").display().to_string();
        let plan = StackPlan::read(&template, &files["template.yaml"], &Settings::default()).expect("a plan");
        let contract = Contract::parse("openapi.yaml", &files["functions/ingress/openapi.yaml"]).expect("a contract");
        let routes = plan.routes.iter().map(|route| route.key.as_str());
        assert!(sluicegate_contract::Drift::between(&contract, routes).is_none());
    }
}

fn write_all(folder: &Path, files: &BTreeMap<&'static str, String>) {
    let files: Vec<_> = files.iter().map(|(path, text)| File { path, text: text.clone() }).collect();
    write(folder, &files, |_| Ok(())).expect("written");
}

#[test]
fn a_folder_is_written_whole_or_left_as_it_was() {
    let parent = tempfile::tempdir().expect("a folder");
    let entries = || fs::read_dir(parent.path()).expect("a folder").count();
    let folder = parent.path().join("my-api");
    let file = |path| File { path, text: "#!/bin/sh\n".to_owned() };
    // A file where another needs a folder.
    let write = |folder: &Path, files: &[File]| write(folder, files, |_| Ok(()));
    let reason = write(&folder, &[file("a"), file("a/b")]).expect_err("a is a file").to_string();
    assert!(reason.contains("nothing was written"), "{reason}");
    assert_eq!(entries(), 0);
    let reason = super::write(&folder, &[file("a")], |_| Err("an edit".into())).expect_err("the edit fails");
    assert_eq!((reason.to_string().as_str(), entries()), ("an edit", 0));
    fs::create_dir(&folder).expect("made");
    write(&folder, &[file("a"), file("b/c")]).expect("an empty folder is written to");
    assert_eq!(entries(), 1);
    assert_eq!(fs::read_to_string(folder.join("b/c")).expect("read"), "#!/bin/sh\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(folder.join("a")).expect("a file").permissions().mode() & 0o777, 0o755);
    }
    let reason = write(&folder, &[file("d")]).expect_err("not empty").to_string();
    assert!(reason.contains("not empty") && !folder.join("d").exists(), "{reason}");
    let reason = write(&folder.join("a"), &[file("d")]).expect_err("a file").to_string();
    assert!(reason.contains("not a folder"), "{reason}");
}

#[test]
fn what_is_given_is_checked() {
    let long = "a".repeat(41);
    for (text, is_good) in [
        ("my-api", true),
        ("a", true),
        ("api2", true),
        (&long[1..], true),
        ("", false),
        ("My-Api", false),
        ("2api", false),
        ("my_api", false),
        ("my--api", false),
        ("my-", false),
        ("-my", false),
        ("../api", false),
        ("mé", false),
        (&long, false),
    ] {
        assert_eq!(name(text).is_ok(), is_good, "{text:?}");
    }
    for (text, is_good) in [
        ("eu-west-1", true),
        ("us-gov-west-1", true),
        ("ap-southeast-7", true),
        ("eu-west", false),
        ("eu-1", false),
        ("Eu-west-1", false),
        ("eu-west-\"1", false),
        ("", false),
    ] {
        assert_eq!(region(text).is_ok(), is_good, "{text:?}");
    }
    for (text, is_good) in
        [("https://example.com/s", true), ("", false), ("a\"b", false), ("a\nb", false), ("a\\b", false)]
    {
        assert_eq!(quotable(text).is_ok(), is_good, "{text:?}");
    }
    for (line, is_good) in [
        ("new my-api", true),
        ("new my-api --path . --broker rabbitmq --region eu-west-1", true),
        ("new my-api --git https://example.com/s --rev v1", true),
        ("new", true),
        ("new my-api --webhook github --webhook standard-webhooks --yes", true),
        ("new my-api --webhook none", true),
        ("new my-api --webhook paypall", false),
        ("new my_api", false),
        ("new my-api --broker kafka", true),
        ("new my-api --broker kinesis", false),
        ("new my-api --path . --git https://example.com/s", false),
        ("new my-api --branch main", true),
        ("new my-api --path . --rev v1", false),
        ("new my-api --path . --branch main", false),
        ("new my-api --rev v1 --branch main", false),
    ] {
        let arguments = ["sluicegate"].into_iter().chain(line.split(' '));
        assert_eq!(crate::Cli::try_parse_from(arguments).is_ok(), is_good, "{line}");
    }
}

/// The project of a command line, with what is typed at its terminal; and what was asked.
fn asked(line: &str, typed: Option<&str>) -> (Result<NewProject, CommandError>, String) {
    let cli = crate::Cli::try_parse_from(["sluicegate", "new"].into_iter().chain(line.split_whitespace()));
    let Ok(crate::Cli { command: crate::Command::New(arguments) }) = cli else { panic!("{line}") };
    let mut printed = Vec::new();
    let project = completed(&arguments, typed.map(|typed| Questions::new(typed.as_bytes(), &mut printed)));
    (project, String::from_utf8(printed).expect("UTF-8"))
}

#[test]
fn a_terminal_is_asked_what_the_flags_leave_open() {
    const ALL: [&str; 4] = ["Name of the project", "Broker", "Webhooks", "AWS region"];
    let given = "my-api --broker rabbitmq --webhook github --region eu-west-1";
    for (line, typed, questions, expected) in [
        ("my-api", None, &[][..], "my-api Sqs [] None"),
        (given, None, &[], "my-api Rabbitmq [Provider(\"github\")] eu-west-1"),
        (given, Some(""), &[], "my-api Rabbitmq [Provider(\"github\")] eu-west-1"),
        ("", Some("my-api\n\n\n\n"), &ALL, "my-api Sqs [] None"),
        ("", Some("my-api\nRabbitMQ\ngithub\neu-west-1\n"), &ALL, "my-api Rabbitmq [Provider(\"github\")] eu-west-1"),
        ("", Some("My Api\nmy-api\nkinesis\nsqs\nxyz\nnone\nhere\n\n"), &ALL, "my-api Sqs [] None"),
        ("my-api --webhook none --region eu-west-1", Some("\n"), &["Broker"], "my-api Sqs [] eu-west-1"),
        (
            "my-api --broker sqs",
            Some("github\n\n"),
            &["Webhooks", "AWS region"],
            "my-api Sqs [Provider(\"github\")] None",
        ),
    ] {
        let (project, printed) = asked(line, typed);
        let NewProject { name, broker, webhooks, region, .. } = project.expect(line);
        let found = format!("{name} {broker:?} {:?} {}", webhooks.0, region.as_deref().unwrap_or("None"));
        assert_eq!(found, expected, "{line} {typed:?}");
        let asked: Vec<_> = ALL.into_iter().filter(|question| printed.contains(question)).collect();
        assert_eq!(asked, questions, "{line} {typed:?}: {printed}");
    }
    for (line, typed, expected) in
        [("", None, "pass one"), ("", Some("my-api\n"), "input ended"), ("", Some(""), "input ended")]
    {
        let reason = asked(line, typed).0.expect_err(line).to_string();
        assert!(reason.contains(expected), "{line} {typed:?}: {reason}");
    }
}

#[test]
fn a_project_has_the_webhooks_that_were_chosen_and_no_others() {
    for (chosen, expected) in [
        ("none", &["POST /orders"][..]),
        ("github", &["POST /orders", "POST /webhooks/github"]),
        ("github,standard-webhooks", &["POST /orders", "POST /webhooks/github", "POST /webhooks/standard-webhooks"]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("my-api");
        let files = project(Broker::Sqs, &git(None), None);
        let files: Vec<_> = files.into_iter().map(|(path, text)| File { path, text }).collect();
        let webhooks = Webhooks::parse(chosen).expect("known");
        write(&root, &files, |folder| webhooks.write(folder)).expect("written");
        let contract = fs::read_to_string(root.join("functions/ingress/openapi.yaml")).expect("the contract");
        let parsed = Contract::parse("openapi.yaml", &contract).expect("a contract");
        let routes: Vec<_> = parsed.operations().iter().map(|each| format!("{} {}", each.method, each.path)).collect();
        assert_eq!(routes, expected);
        let template = fs::read_to_string(root.join("template.yaml")).expect("the template");
        for (name, path, lines) in
            [("github", "/webhooks/github", 1), ("standard-webhooks", "/webhooks/standard-webhooks", 1)]
        {
            let lines = if chosen.contains(name) { lines } else { 0 };
            assert_eq!(contract.matches(&format!("x-secret: {name}\n")).count(), lines, "{chosen}: {name}");
            assert_eq!(template.matches(&format!("Path: {path} ")).count(), lines, "{chosen}: {path}");
        }
        let has_queue = usize::from(!webhooks.0.is_empty());
        assert_eq!(template.matches("QUEUE_WEBHOOKS:").count(), has_queue, "{chosen}");
        assert_eq!(template.matches("  WebhooksQueue:\n").count(), has_queue, "{chosen}");
        let plan = StackPlan::read(&root.join("template.yaml").display().to_string(), &template, &Settings::default());
        let plan = plan.expect("a plan");
        let drift = sluicegate_contract::Drift::between(&parsed, plan.routes.iter().map(|route| route.key.as_str()));
        assert!(drift.is_none(), "{chosen}: {drift:?}");
    }
}
