//! The cluster of a command and the login there, from an option and from the variables that the functions read.

use sluicegate_dlq::sqs;
use sluicegate_queue::kafka::{Cluster, ClusterConfig, ClusterConfigError};
use sluicegate_queue::sqs::AwsEnvironment;

use crate::{CommandError, aws::Aws};

/// The variable with the addresses.
const SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS";
/// The variables with which something of AWS is needed for the login.
const OF_AWS: [&str; 2] = ["KAFKA_SECRET_ARN", "KAFKA_CLIENT_CERTIFICATE_SECRET_ARN"];
/// The variable with the mechanism of a login, and its value for a role of AWS.
const MECHANISM: (&str, &str) = ("KAFKA_SASL_MECHANISM", "AWS_MSK_IAM");

/// Returns the cluster at `servers`, or else at those of the variable. What the login needs of AWS comes from the
/// sources of the AWS CLI, unlike that of a function.
///
/// # Errors
/// A variable is wrong, or AWS has no credentials for a login that needs them.
pub(crate) async fn cluster(servers: Option<&str>, aws: &Aws) -> Result<Cluster, CommandError> {
    let lookup = |name: &str| match (name, servers) {
        (SERVERS, Some(servers)) => Some(servers.to_owned()),
        _ => variable(name),
    };
    let needs_aws =
        OF_AWS.iter().any(|name| variable(name).is_some()) || variable(MECHANISM.0).as_deref() == Some(MECHANISM.1);
    let environment = if needs_aws {
        let environment = sqs::environment(&aws.load().await?).await;
        Some(environment.map_err(|error| error.to_string())?)
    } else {
        None
    };
    let of_aws = || environment.clone().map_or_else(|| AwsEnvironment::read(variable), Ok);
    let config = ClusterConfig::from_env_with(lookup, of_aws).map_err(|error| match error {
        ClusterConfigError::Servers if servers.is_some() => {
            "--kafka-url is not a list of HOST:PORT with commas between them".to_owned()
        }
        error => error.to_string(),
    })?;
    config.map(Cluster::new).ok_or_else(|| format!("{SERVERS} is not set: it names the cluster").into())
}

/// Returns whether the environment names a cluster.
pub(crate) fn is_in_environment() -> bool {
    variable(SERVERS).is_some()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
