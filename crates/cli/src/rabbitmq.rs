//! Where the commands find RabbitMQ: an option, or the variables RABBITMQ_URL, RABBITMQ_USERNAME and RABBITMQ_PASSWORD.

use sluicegate_topology::{Address, AddressError};

/// The broker unless one is named.
const URL_DEFAULT: &str = "amqp://127.0.0.1:5672";

/// The broker at `url`, or else at RABBITMQ_URL, or else on this machine. Credentials come from the URL, or else from the
/// environment.
///
/// # Errors
/// The address cannot be used. Not left to the parser of the command line: it would show the URL, and the password in it.
pub(crate) fn address(url: Option<&str>) -> Result<Address, AddressError> {
    let url = url.map(str::to_owned).or_else(|| variable("RABBITMQ_URL"));
    let address = Address::parse(url.as_deref().unwrap_or(URL_DEFAULT))?;
    match (variable("RABBITMQ_USERNAME"), variable("RABBITMQ_PASSWORD")) {
        (Some(username), Some(password)) => address.or_credentials(&username, &password),
        _ => Ok(address),
    }
}

/// Returns whether the environment names a broker.
#[cfg(feature = "aws")]
pub(crate) fn is_in_environment() -> bool {
    variable("RABBITMQ_URL").is_some()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
