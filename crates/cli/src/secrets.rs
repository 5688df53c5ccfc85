//! `sluicegate secrets put|listen|list|remove`: the API keys and webhook secrets in the stack's Secrets Manager secret.
//!
//! A value is printed once, when it is generated, or when it was received and its provider asks for it. No other
//! output, error or argument contains a value. A change keeps all other entries. If another writer stores a newer
//! version first, the change is applied to that version.
//!
//! Exit codes: 0 done, 1 failure, 2 a wrong command line.

mod document;
mod generate;
mod list;
mod listen;
mod names;
mod put;
mod remove;
mod store;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::{
    CommandError,
    aws::{self, Aws},
    fail, input, paths,
};
use names::Names;
use store::Store;

/// The output of the stack with the secret's ARN.
const SECRET_OUTPUT: &str = "SecretArn";

/// Fill, list and rotate the API keys and webhook secrets of a deployed stack
///
/// One Secrets Manager secret has a list of live values under each name of the contract's x-secret. A new value is live
/// within 30 seconds of its first use, a removed one is refused within 5 minutes.
///
/// Required permissions: secretsmanager:GetSecretValue, PutSecretValue and UpdateSecretVersionStage, and with --stack
/// cloudformation:DescribeStacks.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Put(put::Arguments),
    Listen(listen::Arguments),
    List(list::Arguments),
    Remove(remove::Arguments),
}

/// Options for the place of the secret and its names.
#[derive(Args)]
#[command(next_help_heading = "Where")]
struct Where {
    #[command(flatten)]
    secret: SecretId,
    #[command(flatten)]
    aws: Aws,
    /// The OpenAPI document with the names [default: functions/ingress/openapi.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct SecretId {
    /// A deployed stack; its output SecretArn is the secret's ARN
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// The ARN or the name of the secret
    #[arg(long, value_name = "ID")]
    secret_id: Option<String>,
}

impl Where {
    /// Returns the names of the contract, or none without a contract.
    fn names(&self) -> Result<Names, CommandError> {
        let path = paths::or_default(self.contract.as_ref(), paths::CONTRACT);
        if self.contract.is_none() && !path.is_file() {
            return Ok(Names::default());
        }
        input::contract(&path).map(|contract| Names::of(&path.display().to_string(), &contract))
    }

    async fn open(&self) -> Result<Store, CommandError> {
        let config = self.aws.load().await?;
        let id = match (&self.secret.secret_id, &self.secret.stack) {
            (Some(id), _) => id.clone(),
            (None, Some(stack)) => {
                let outputs = sluicegate_doctor::stack_outputs(&config, stack).await;
                let mut outputs = outputs.map_err(|error| {
                    format!("stack {stack}: {error}\nhelp: check the stack's name, and {}", aws::ADVICE)
                })?;
                let none = || format!("stack {stack} has no output {SECRET_OUTPUT}: pass --secret-id");
                outputs.remove(SECRET_OUTPUT).ok_or_else(none)?
            }
            (None, None) => return Err("pass --stack or --secret-id".into()),
        };
        Ok(Store::new(&config, id))
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let done = runtime.block_on(async {
        match &arguments.verb {
            Verb::Put(arguments) => put::put(arguments).await,
            Verb::Listen(arguments) => listen::listen(arguments).await,
            Verb::List(arguments) => list::list(arguments).await,
            Verb::Remove(arguments) => remove::remove(arguments).await,
        }
    });
    done.map_or_else(fail, |()| ExitCode::SUCCESS)
}
