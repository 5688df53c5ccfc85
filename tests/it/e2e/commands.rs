//! Error messages of the `sluicegate` command.

use std::process::{Command, Output};

use crate::support::{command::BINARY, root};

fn sluicegate(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(&*BINARY);
    let Output { status, stdout, stderr } =
        command.current_dir(root()).args(arguments).output().expect("the command runs");
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn check(arguments: &[&str], succeeds: bool, says: &[&str]) {
    let (succeeded, printed) = sluicegate(arguments);
    assert_eq!(succeeded, succeeds, "{arguments:?} printed\n{printed}");
    for text in says {
        assert!(printed.contains(text), "{arguments:?} lacks {text:?}; it printed\n{printed}");
    }
}

#[test]
fn check_reports_every_fault_of_a_contract_with_its_place() {
    let routes = format!(" {} routes, no faults", crate::support::contract().operations().len());
    check(&["check"], true, &[routes.as_str()]);
    let yaml = std::fs::read_to_string(root().join("functions/ingress/openapi.yaml")).expect("the contract");
    let broken = yaml.replace("        queue: orders\n", "        quue: orders\n");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broken.yaml");
    std::fs::write(&path, broken).expect("written");
    let path = path.to_str().expect("UTF-8");
    check(
        &["check", path],
        false,
        &["/paths/~1orders/post/x-sluicegate/quue", "/paths/~1orders/post/x-sluicegate/queue"],
    );
}

#[test]
fn check_warns_of_unsuitable_template_values_and_succeeds() {
    let yaml = std::fs::read_to_string(root().join("functions/ingress/openapi.yaml")).expect("the contract");
    let open = yaml.replace("        subject: '{body#/order_id}'\n", "        subject: '{body#/note}'\n");
    assert_ne!(open, yaml);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("open.yaml");
    std::fs::write(&path, open).expect("written");
    let says = ["warning: ", "/paths/~1orders/post/x-sluicegate/subject", "control characters", "no faults"];
    check(&["check", path.to_str().expect("UTF-8")], true, &says);
}

/// The gateway and the queue would refuse what the contract says.
#[test]
fn check_reports_what_of_the_template_contradicts_the_contract() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("a file of the project");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    write("infra/queue.yaml", &read("infra/queue.yaml"));
    let (contract, template) = (read("functions/ingress/openapi.yaml"), read("template.yaml"));
    let cors = contract.replacen("paths:\n", "x-cors: { allowOrigins: ['https://shop.example'] }\npaths:\n", 1);
    let cors = write("cors.yaml", &cors);
    let delayed =
        contract.replacen("        queue: orders\n", "        queue: orders\n        delay: '{header.x-delay}'\n", 1);
    assert_ne!(delayed, contract);
    let delayed = write("delayed.yaml", &delayed);
    let plain = write("plain.yaml", &contract);
    let api = "    Type: AWS::Serverless::HttpApi\n    Properties:\n";
    let own = format!("{api}      CorsConfiguration: {{ AllowOrigins: ['*'] }}\n");
    assert!(template.contains(api));
    let (template, own) = (write("template.yaml", &template), write("own.yaml", &template.replacen(api, &own, 1)));
    let check = |contract: &str, template: &str, succeeds: bool, parts: &[&str]| {
        check(&["check", contract, "--template", template], succeeds, parts);
    };
    check(&cors, &template, true, &["has these routes"]);
    check(&plain, &own, true, &["has these routes"]);
    check(&cors, &own, false, &["own.yaml:", "HttpApi has CORS settings", "Remove CorsConfiguration"]);
    check(&delayed, &template, false, &["placeOrder takes a delay from the header x-delay", "standard queue"]);
    let certified = contract.replacen("        - apiKey: [orders.write]\n", "        - certificate: []\n", 1);
    let certified =
        certified.replacen("  securitySchemes:\n", "  securitySchemes:\n    certificate: { type: mutualTLS }\n", 1);
    let certified = write("certified.yaml", &certified);
    let missing = "HttpApi has no domain with MutualTlsAuthentication, and placeOrder accepts a client certificate";
    check(&certified, &template, true, &["warning: ", missing, "DisableExecuteApiEndpoint: true", "has these routes"]);
}

#[test]
fn sync_writes_what_check_finds_missing() {
    check(&["sync", "--check"], true, &["template.yaml: has the routes of the contract"]);
    check(&["check"], true, &["template.yaml: has these routes"]);
    let original = std::fs::read_to_string(root().join("template.yaml")).expect("the template");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("template.yaml");
    let old = original.replace("Path: /orders }", "Path: /purchases }");
    assert_ne!(old, original);
    std::fs::write(&path, &old).expect("written");
    let file = path.to_str().expect("UTF-8");
    check(&["check", "--template", file], false, &["+ POST /orders", "- POST /purchases", "sluicegate sync"]);
    check(&["sync", "--check", "--template", file], false, &["POST /purchases becomes POST /orders (PlaceOrder)"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), old, "--check writes nothing");
    check(&["sync", "--template", file], true, &["written"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), original);
}

#[test]
fn errors_of_send_without_a_stack_and_local_on_a_taken_port_have_the_fix() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    check(&["local", "--port", &port, "--admin-port", "0", "--aws-port", "0"], false, &[&port, "--port"]);
    drop(taken);
    let to = format!("http://127.0.0.1:{port}");
    let push = "tests/events/github/push.json";
    let github = ["send", push, "--route", "POST /webhooks/github", "--header", "x-github-event: push", "--to", &to];
    check(&github, false, &["cargo local"]);
    check(&["send", push, "--route", "POST /nowhere", "--to", &to], false, &["/nowhere"]);
}
