//! The files of new projects, the command line, and a folder that is written whole or not at all.

use std::{collections::BTreeMap, fs, path::Path};

use clap::Parser;
use sluicegate_contract::Contract;
use sluicegate_sam::{Settings, StackPlan};

use super::{Broker, NewProject, Revision, Source, files::File, name, quotable, region, write};

fn project(broker: Broker, source: &Source, region: Option<&str>) -> BTreeMap<&'static str, String> {
    let region = region.map(str::to_owned);
    let project = NewProject { name: "my-api".to_owned(), source: source.clone(), broker, region };
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
    "tests/cold-start",
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
        (Broker::Sqs, Source::Path("/checkout".to_owned())),
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
            assert_eq!(stacks.len(), 4);
            assert!(stacks.iter().all(|line| line.starts_with("stack_name = \"my-api-")), "{stacks:?}");
            assert_eq!(
                files["samconfig.toml"].matches("region = \"eu-west-1\"").count(),
                4 * usize::from(region.is_some())
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
    }
}

#[test]
fn the_template_has_the_routes_of_the_contract_and_the_broker() {
    for (broker, value) in [(Broker::Sqs, "sqs"), (Broker::Rabbitmq, "rabbitmq")] {
        let files = project(broker, &git(None), None);
        assert!(files["template.yaml"].contains(&format!("    Default: {value}\n    AllowedValues: [sqs, rabbitmq]")));
        assert_eq!(files["README.md"].contains("cargo local --rabbitmq"), broker == Broker::Rabbitmq);
        assert_eq!(files["tests/run"].contains("lints rabbitmq tests"), broker == Broker::Rabbitmq);
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
    write(folder, &files).expect("written");
}

#[test]
fn a_folder_is_written_whole_or_left_as_it_was() {
    let parent = tempfile::tempdir().expect("a folder");
    let entries = || fs::read_dir(parent.path()).expect("a folder").count();
    let folder = parent.path().join("my-api");
    let file = |path| File { path, text: "#!/bin/sh\n".to_owned() };
    // A file where another needs a folder.
    let reason = write(&folder, &[file("a"), file("a/b")]).expect_err("a is a file");
    assert!(reason.contains("nothing was written"), "{reason}");
    assert_eq!(entries(), 0);
    fs::create_dir(&folder).expect("made");
    write(&folder, &[file("a"), file("b/c")]).expect("an empty folder is written to");
    assert_eq!(entries(), 1);
    assert_eq!(fs::read_to_string(folder.join("b/c")).expect("read"), "#!/bin/sh\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(folder.join("a")).expect("a file").permissions().mode() & 0o777, 0o755);
    }
    let reason = write(&folder, &[file("d")]).expect_err("not empty");
    assert!(reason.contains("not empty") && !folder.join("d").exists(), "{reason}");
    let reason = write(&folder.join("a"), &[file("d")]).expect_err("a file");
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
        ("new", false),
        ("new my_api", false),
        ("new my-api --broker kafka", false),
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
