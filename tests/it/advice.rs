//! The error of each command says what to do next.

use crate::support::project::Project;

/// A shell prefix: without the AWS and RabbitMQ settings of this machine.
const WITHOUT_SETTINGS: &str = "env -u AWS_ACCESS_KEY_ID -u AWS_PROFILE -u AWS_REGION -u AWS_DEFAULT_REGION \
    -u AWS_ENDPOINT_URL -u RABBITMQ_URL -u RABBITMQ_USERNAME -u RABBITMQ_PASSWORD AWS_CONFIG_FILE=/dev/null \
    AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true";
/// An address where nothing listens: only root may use the port.
const CLOSED: &str = "127.0.0.1:1";

#[test]
fn every_error_says_what_to_do() {
    let (empty, project) = (Project::empty(), Project::copy());
    let check = |folder: &Project, line: &str, code: i32, advice: &str| {
        let line = line.replace("CLOSED", CLOSED);
        let (ended, printed) = folder.run(&format!("{WITHOUT_SETTINGS} cargo sluicegate {line}"));
        assert!(ended == code && printed.contains(advice), "{line} ended with {ended} and printed\n{printed}");
        assert!(!printed.contains("DispatchFailure"), "{line} prints the inside of the SDK\n{printed}");
    };
    let in_a_project = "run this in the folder of a project";
    check(&empty, "check", 1, in_a_project);
    check(&empty, "check nope.yaml", 1, "check the path");
    check(&empty, "sync --check", 1, in_a_project);
    check(&empty, "doctor", 2, in_a_project);
    check(&empty, "local", 1, in_a_project);
    check(&empty, "topology plan", 1, in_a_project);
    check(&empty, "add queue reports", 1, "run this in a project, or name one with --project");
    check(&empty, "doctor --stack x", 2, "pass --region");
    check(&empty, "doctor --stack x --region us-east-1", 2, "help: run `aws configure`");
    check(&empty, "doctor --stack x --endpoint-url http://CLOSED", 2, "help: check the stack's name");
    check(&empty, "secrets list --stack x --region us-east-1", 1, "help: run `aws configure`");
    check(&empty, "secrets list --secret-id x --endpoint-url http://CLOSED", 1, "help: check --stack or --secret-id");
    check(&empty, "dlq list", 1, "pass --region");
    check(&empty, "dlq list --endpoint-url http://CLOSED", 1, "help: check the queue's name");
    check(&empty, "dlq list --rabbitmq-url amqp://CLOSED", 1, "help: check the queue's name, --rabbitmq-url");
    check(&project, "topology plan --url amqp://CLOSED", 1, "check the address, and that the broker runs");
    check(&project, "topology plan --url amqp://a.invalid", 1, "set RABBITMQ_USERNAME");
    check(&project, "secrets put nope --stack x", 1, "use one of ");
    check(&project, "add handler order.placed --project nope", 1, "name one with --project");
    let send = |rest: &str| format!("send samconfig.toml --route {rest}");
    check(&project, &send("POST/orders"), 1, "--route is a method and a path: 'POST /orders'");
    check(&project, &send("'POST /nope'"), 1, "the contract has POST /");
    let route = "'POST /webhooks/github' --header 'x-github-event: ping'";
    check(&project, &send(&format!("{route} --to http://CLOSED")), 1, "start `cargo local`, or name the API");
    check(&project, &send(&format!("{route} --to nowhere")), 1, "--to is a URL, such as http://127.0.0.1:3000");
}
