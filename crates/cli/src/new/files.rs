//! The files of a new project: those of the repository, embedded and edited, and those in `project/`.

use std::{fs, io, path::Path};

use super::{Broker, NewProject, Revision, Source, text::Text};
use crate::CommandError;

/// Embeds a file of the repository. `repository/` has a link to each, because `cargo package` takes what is below the
/// crate, and puts the files in the place of the links. It leaves out a folder with a `Cargo.toml`, so the link of a
/// manifest has another name.
macro_rules! repository {
    ($path:literal) => {
        repository!($path in $path)
    };
    ($path:literal in $link:literal) => {
        Text::of($path, include_str!(concat!("repository/", $link)))
    };
}

/// Embeds a file that only new projects have.
macro_rules! project {
    ($path:literal) => {
        Text::of($path, include_str!(concat!("project/", $path)))
    };
}

/// The crates that a project names, and where they are in a checkout.
const CRATES: &[(&str, &str)] = &[
    ("sluicegate-batch", "crates/batch"),
    ("sluicegate-cli", "crates/cli"),
    ("sluicegate-contract", "crates/contract"),
    ("sluicegate-ingress", "crates/ingress"),
];

/// The other dependencies of the functions.
const OTHERS: &[&str] = &["serde", "serde_json", "tokio", "tracing"];

/// The settings of the doctor in a project on Kafka: each deployment names its cluster, so the template names none.
const CLUSTER: &str = " --parameter KafkaBootstrapServers=b-1.example.com:9098 \\
    --parameter KafkaClusterArn=arn:aws:kafka:us-east-1:000000000000:cluster/example/0";

/// The pages of the documentation that the files name.
const PAGES: &[&str] = &["deploy.md", "develop.md"];

/// A file to write.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// The path below the project's folder.
    pub(super) path: &'static str,
    pub(super) text: String,
}

impl File {
    /// Writes the file and the folders above it.
    pub(super) fn write(&self, project: &Path) -> io::Result<()> {
        let path = project.join(self.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, &self.text)?;
        #[cfg(unix)]
        if self.text.starts_with("#!") {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

impl NewProject {
    /// Returns every file.
    pub(super) fn files(&self) -> Result<Vec<File>, CommandError> {
        let texts = [
            ("Cargo.toml", self.manifest()?),
            // The versions that this project is tested with. Cargo leaves out the packages that are not needed.
            ("Cargo.lock", repository!("Cargo.lock").into_text()),
            (".cargo/config.toml", project!("cargo-config.toml").into_text()),
            (".github/workflows/ci.yml", self.workflow()?),
            (".gitignore", project!("gitignore").into_text()),
            ("README.md", self.readme()?),
            ("clippy.toml", repository!("clippy.toml").into_text()),
            ("rust-toolchain.toml", repository!("rust-toolchain.toml").into_text()),
            ("rustfmt.toml", repository!("rustfmt.toml").into_text()),
            ("samconfig.toml", self.samconfig()?),
            ("template.yaml", self.template()?),
            (
                "functions/consumer/Cargo.toml",
                unlicensed(repository!("functions/consumer/Cargo.toml" in "functions/consumer/manifest.toml"))?,
            ),
            ("functions/consumer/src/handlers.rs", handlers()?),
            ("functions/consumer/src/main.rs", consumer()?),
            (
                "functions/ingress/Cargo.toml",
                unlicensed(repository!("functions/ingress/Cargo.toml" in "functions/ingress/manifest.toml"))?,
            ),
            ("functions/ingress/build.rs", repository!("functions/ingress/build.rs").into_text()),
            ("functions/ingress/openapi.yaml", self.contract()?),
            ("functions/ingress/src/main.rs", repository!("functions/ingress/src/main.rs").into_text()),
            (
                "functions/rabbitmq/Cargo.toml",
                unlicensed(repository!("functions/rabbitmq/Cargo.toml" in "functions/rabbitmq/manifest.toml"))?,
            ),
            ("functions/rabbitmq/build.rs", repository!("functions/rabbitmq/build.rs").into_text()),
            (
                "functions/kafka/Cargo.toml",
                unlicensed(repository!("functions/kafka/Cargo.toml" in "functions/kafka/manifest.toml"))?,
            ),
            ("functions/kafka/build.rs", repository!("functions/kafka/build.rs").into_text()),
            ("infra/broker.yaml", repository!("infra/broker.yaml").into_text()),
            ("infra/grafana.json", repository!("infra/grafana.json").into_text()),
            ("infra/jwt-authorizer.yaml", authorizer()?),
            ("infra/kafka.yaml", repository!("infra/kafka.yaml").into_text()),
            ("infra/monitoring.yaml", repository!("infra/monitoring.yaml").into_text()),
            ("infra/queue.yaml", repository!("infra/queue.yaml").into_text()),
            ("tests/events/place-order.json", repository!("tests/events/place-order.json").into_text()),
            ("tests/run", self.checks()?),
            ("tools/sluicegate/Cargo.toml", self.command()?),
            ("tools/sluicegate/src/main.rs", project!("command.rs").into_text()),
        ];
        Ok(texts.into_iter().map(|(path, text)| File { path, text: documented(&text) }).collect())
    }

    fn manifest(&self) -> Result<String, CommandError> {
        let source = repository!("Cargo.toml" in "manifest.toml");
        let mut dependencies = String::new();
        for (name, folder) in CRATES {
            dependencies += &format!("{name} = {{ {}, default-features = false }}\n", self.source.dependency(folder));
        }
        for name in OTHERS {
            dependencies += source.line(&format!("{name} = "))?;
            dependencies.push('\n');
        }
        let [edition, rust_version] = [source.line("edition = ")?, source.line("rust-version = ")?];
        let manifest = project!("workspace.toml")
            .replace("{{edition}}", edition)?
            .replace("{{rust-version}}", rust_version)?
            .replace("{{dependencies}}\n", &dependencies)?;
        let rest = source.starting_at("[workspace.lints.rust]")?.replace(" (tests/bench/cold-start)", "")?;
        let rest = rest.cut("# crates/simulation: ", "[profile.dev]\n")?;
        Ok(manifest.into_text() + &rest.into_text())
    }

    fn workflow(&self) -> Result<String, CommandError> {
        let source = repository!(".github/workflows/ci.yml");
        let workflow = project!("ci.yml")
            .replace("{{checkout}}", source.line("- uses: actions/checkout@")?)?
            .replace("{{cache}}", source.line("- uses: actions/cache@")?)?;
        Ok(workflow.into_text())
    }

    fn readme(&self) -> Result<String, CommandError> {
        let (local, broker) = match self.broker {
            Broker::Sqs => ("cargo local", "SQS"),
            Broker::Rabbitmq => ("cargo local --rabbitmq", "RabbitMQ"),
            Broker::Kafka => ("cargo local --kafka", "Kafka"),
        };
        let readme = project!("README.md")
            .replace("{{name}}", &self.name)?
            .replace("{{local}}", local)?
            .replace("{{broker}}", broker)?
            .replace("{{repository}}", env!("CARGO_PKG_REPOSITORY"))?;
        Ok(readme.into_text())
    }

    fn samconfig(&self) -> Result<String, CommandError> {
        let name = &self.name;
        let mut text = repository!("samconfig.toml")
            .replace("stack_name = \"sluicegate-", &format!("stack_name = \"{name}-"))?
            .replace("s3_prefix = \"sluicegate-", &format!("s3_prefix = \"{name}-"))?
            .replace("service=sluicegate\"", &format!("service={name}\""))?;
        if let Some(region) = &self.region {
            text = text.replace("resolve_s3 = true\n", &format!("region = \"{region}\"\nresolve_s3 = true\n"))?;
        }
        if self.broker != Broker::Sqs {
            // As in the environments `rabbitmq` and `kafka`.
            text = text.replace("\"ConsumerConcurrency=2\",", "\"ConsumerTimeout=60\",")?;
        }
        Ok(text.into_text())
    }

    fn template(&self) -> Result<String, CommandError> {
        // The queue of the example's webhooks goes with their routes. It has the parameters that all queues share.
        let source = repository!("template.yaml");
        let shared = source.between("        Name: webhooks\n", "\n  OrdersQueue:\n")?.to_owned();
        let orders = format!("      Parameters: &queue\n        Name: orders\n{shared}");
        let mut text = source
            .cut("  WebhooksQueue:\n", "  OrdersQueue:\n")?
            .replace("      Parameters:\n        <<: *queue\n        Name: orders\n", &orders)?
            .replace("          QUEUE_WEBHOOKS: !GetAtt WebhooksQueue.Outputs.Target\n", "")?
            .replace("  Sluicegate: signed", &format!("  {}: signed", self.name))?;
        if let Some(broker) = self.broker.feature() {
            text = text.replace("Default: sqs\n", &format!("Default: {broker}\n"))?;
        }
        Ok(text.into_text())
    }

    fn contract(&self) -> Result<String, CommandError> {
        let title = format!("title: {}", self.name);
        Ok(repository!("functions/ingress/openapi.yaml").replace("title: Sluicegate example API", &title)?.into_text())
    }

    /// Returns the manifest of the command, which has the client of a broker from the start.
    fn command(&self) -> Result<String, CommandError> {
        let manifest = project!("command.toml");
        let manifest = match self.broker.feature() {
            None => manifest,
            Some(broker) => manifest.replace("[\"functions\"]", &format!("[\"functions\", \"{broker}\"]"))?,
        };
        Ok(manifest.into_text())
    }

    fn checks(&self) -> Result<String, CommandError> {
        let steps = match self.broker {
            Broker::Sqs => "format lints tests contract template doctor sam",
            Broker::Rabbitmq => "format lints rabbitmq tests contract template doctor sam",
            Broker::Kafka => "format lints kafka tests contract template doctor sam",
        };
        let region = self.region.as_deref().unwrap_or("us-east-1");
        let cluster = if self.broker == Broker::Kafka { CLUSTER } else { "" };
        let run = project!("run").replace("{{steps}}", steps)?.replace("{{region}}", region)?;
        Ok(run.replace("{{cluster}}", cluster)?.into_text())
    }
}

impl Source {
    /// Returns what a dependency on the crate in `folder` says.
    fn dependency(&self, folder: &str) -> String {
        match self {
            Self::Path(root) => format!("path = \"{root}/{folder}\""),
            Self::Git { url, revision: None } => format!("git = \"{url}\""),
            Self::Git { url, revision: Some(Revision::Rev(rev)) } => format!("git = \"{url}\", rev = \"{rev}\""),
            Self::Git { url, revision: Some(Revision::Branch(branch)) } => {
                format!("git = \"{url}\", branch = \"{branch}\"")
            }
        }
    }
}

/// Returns a manifest of a function without the licence of this project.
fn unlicensed(manifest: Text) -> Result<String, CommandError> {
    Ok(manifest.replace("license.workspace = true\n", "")?.into_text())
}

/// Returns the module of handlers without the one that the documentation shows.
fn handlers() -> Result<String, CommandError> {
    let text = repository!("functions/consumer/src/handlers.rs");
    Ok(text.line("//!")?.to_owned() + "\n")
}

/// Returns the consumer's main without the tests that read files of this repository.
fn consumer() -> Result<String, CommandError> {
    let text = repository!("functions/consumer/src/main.rs")
        .replace("    use sluicegate_batch::testing;\n\n", "")?
        .replace("use super::{consumer, handlers, log, registered};", "use super::consumer;")?
        .cut("    /// The code that docs/develop.md", "    #[test]\n    fn an_address_to_forward_to_is_a_url")?;
    Ok(text.into_text())
}

fn authorizer() -> Result<String, CommandError> {
    let check = " tests/peers/sam/check.py merges it and validates the result.";
    Ok(repository!("infra/jwt-authorizer.yaml").replace(check, "")?.into_text())
}

/// Returns the text with the address of each page of the documentation, which a project has no copy of.
fn documented(text: &str) -> String {
    PAGES.iter().fold(text.to_owned(), |text, page| {
        let address = format!("{}/blob/main/docs/{page}", env!("CARGO_PKG_REPOSITORY"));
        text.replace(&format!("docs/{page}"), &address)
    })
}
