//! `sluicegate add` and `remove` on a copy of the project: the number of lines that a new API changes, and that it
//! works.

use std::process::Command;

use sluicegate_contract::Contract;
use sluicegate_sam::{Settings, StackPlan};

use crate::support::{project::Project, root};

/// Largest number of lines that a new route on a new queue changes in files of the user other than contract and
/// handlers.
const LINES_MAX: usize = 15;

/// A route with a queue and a handler whose names do not occur in a user's project.
const ROUTE: &str = "cargo sluicegate add route 'POST /add-test/{customer}' --type add-test.submitted --queue add-test \
                     --scope add-test.write";
const HANDLER: &str = "cargo sluicegate add handler add-test.submitted";
const UNDO: [&str; 2] =
    ["cargo sluicegate remove handler add-test.submitted", "cargo sluicegate remove route 'POST /add-test/{customer}'"];

/// Returns the number of added and removed lines by file, and prints the diff.
fn diff_stat(project: &Project) -> Vec<(String, usize)> {
    let mut stat = Vec::new();
    for name in ["functions", "infra", "samconfig.toml", "template.yaml"] {
        // Git names both sides; a file that only one has is /dev/null on the other.
        let output = {
            let mut diff = Command::new("git");
            diff.args(["diff", "--no-index", "--numstat", "--no-renames"]).current_dir(root());
            diff.arg(name).arg(project.path().join(name)).output().expect("git")
        };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let mut parts = line.split('\t');
            let count = |part: Option<&str>| part.and_then(|count| count.parse::<usize>().ok()).expect("a count");
            let (more, less) = (count(parts.next()), count(parts.next()));
            let file = parts.next().expect("a name").replace(['{', '}'], "");
            let file = file.rsplit(" => ").next().unwrap_or(&file);
            let folder = project.path().to_str().expect("UTF-8").trim_start_matches('/');
            let file = file.split_once(folder).map_or(file, |(_, file)| file.trim_start_matches('/'));
            println!("{file}: +{more} -{less}");
            stat.push((file.to_owned(), more + less));
        }
    }
    stat
}

#[test]
fn a_route_and_a_handler_change_few_lines_and_fit_together() {
    for flags in ["", "--fifo", "--auth github", "--auth standard-webhooks", "--auth none"] {
        let project = Project::copy();
        let route = match flags {
            "" | "--fifo" => format!("{ROUTE} {flags}"),
            _ => format!("{} {flags}", ROUTE.replace("--scope add-test.write", "")),
        };
        project.succeed(&route);
        project.succeed(HANDLER);
        println!("{route}");
        let stat = diff_stat(&project);
        let beside = |file: &str| !file.ends_with("openapi.yaml") && !file.contains("functions/consumer/");
        let lines: usize = stat.iter().filter(|(file, _)| beside(file)).map(|(_, lines)| lines).sum();
        assert!(lines > 0 && lines <= LINES_MAX, "{flags}: {lines} lines, of {LINES_MAX}: {stat:?}");

        let checked = project.succeed("cargo sluicegate check");
        assert!(!checked.contains("warning"), "{flags}: {checked}");
        project.succeed("cargo sluicegate sync --check");
        let bound = |broker: &str| {
            let parameters = [("Broker".to_owned(), broker.to_owned())].into();
            let settings = Settings { parameters, ..Settings::default() };
            let file = project.path().join("template.yaml").display().to_string();
            let plan = StackPlan::read(&file, &project.text("template.yaml"), &settings).expect("a plan");
            assert!(plan.routes.iter().any(|route| route.key == "POST /add-test/{customer}"), "{broker}: {flags}");
            let ingress = plan.functions.iter().find(|it| it.environment.contains_key("QUEUE_ADD_TEST"));
            assert!(ingress.is_some(), "{broker}: {flags}");
        };
        bound("sqs");
        bound("rabbitmq");
        let topology = sluicegate_local::read_topology(&project.path().join("template.yaml")).expect("a topology");
        assert!(format!("{topology:?}").contains("\"add-test\""), "{flags}");
        let contract = Contract::parse("openapi.yaml", &project.text("functions/ingress/openapi.yaml"));
        assert!(contract.expect("a contract").queues().contains("add-test"), "{flags}");

        // Repeating the command changes nothing, and its counterpart undoes it.
        for line in [route.as_str(), HANDLER] {
            assert!(project.succeed(line).contains("nothing to change"), "{line}");
        }
        UNDO.iter().for_each(|line| drop(project.succeed(line)));
        assert_eq!(diff_stat(&project), [], "{flags}: every file has its original text");
    }
}
