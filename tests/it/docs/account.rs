//! A stand-in for an AWS account with a deployed stack: LocalStack with the resources that account.sh creates.
//!
//! LocalStack's open core supports neither HTTP APIs nor SAM, so account.yaml has plain resources with the names of the
//! template's. `<SecretArn>` in a command stands for the output or resource of that name, `sluicegate-prod` and
//! `sluicegate-dev` for the stack.

use std::fs;

use super::page::Page;
use super::shell::Shell;
use crate::support::rabbitmq::Vhost;
use crate::support::root;

const LOCALSTACK_URL: &str = "SLUICEGATE_LOCALSTACK_URL";

/// A stack with a unique name in LocalStack, and a virtual host instead of its broker.
pub(super) struct Account {
    stack: String,
    broker: Vhost,
}

impl Account {
    /// Creates the stack and sets the replacements of the shell.
    pub(super) async fn open(shell: &mut Shell) -> Self {
        let url = std::env::var(LOCALSTACK_URL);
        let url =
            url.unwrap_or_else(|_| panic!("{LOCALSTACK_URL} is not set: ./tests/run starts LocalStack and sets it"));
        shell.set("AWS_ENDPOINT_URL", &url);
        let (stack, broker) = (format!("docs-{:08x}", fastrand::u32(..)), Vhost::create().await);
        let rabbitmq_url = format!("amqp://127.0.0.1:{}", broker.port());
        let made = shell.run(&format!("tests/it/docs/account.sh {stack} {rabbitmq_url}")).await;
        assert_eq!(made.code, 0, "{}", made.error);
        // On Amazon MQ this would be the virtual host /.
        shell.replace("<RabbitmqUrl>/%2F", &format!("{rabbitmq_url}/{}", broker.name()));
        for (name, value) in made.out.lines().filter_map(|line| line.split_once('=')) {
            shell.replace(&format!("<{name}>"), value);
        }
        shell.replace("sluicegate-prod", &stack);
        shell.replace("sluicegate-dev", &stack);
        Self { stack, broker }
    }

    pub(super) async fn close(self, shell: &mut Shell) {
        let Self { stack, broker } = self;
        let deleted = shell.run(&format!("aws cloudformation delete-stack --stack-name {stack}")).await;
        assert_eq!(deleted.code, 0, "{}", deleted.error);
        broker.delete().await;
    }
}

/// Names in `<>` are outputs or resources of the template.
#[test]
fn placeholders_are_outputs_or_resources_of_the_template() {
    let template = fs::read_to_string(root().join("template.yaml")).expect("the template");
    for page in Page::all() {
        for block in page.blocks().iter().filter(|block| block.info == "sh aws") {
            let named = block.text.split('<').skip(1).filter_map(|rest| Some(rest.split_once('>')?.0));
            for name in
                named.filter(|name| name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric))
            {
                assert!(
                    template.contains(&format!("\n  {name}:\n")),
                    "{}: template.yaml has no resource or output {name}",
                    page.path
                );
            }
        }
    }
}
