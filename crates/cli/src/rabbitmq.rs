//! Broker address and credentials, from an option or from RABBITMQ_URL, RABBITMQ_USERNAME and RABBITMQ_PASSWORD.

use sluicegate_topology::{Address, AddressError};

/// The default broker.
const URL_DEFAULT: &str = "amqp://127.0.0.1:5672";

/// Returns the address of the broker: `url`, or else RABBITMQ_URL, or else this machine. Credentials come from the URL,
/// or else from the environment.
///
/// # Errors
/// The address is not valid. It is not parsed by clap, whose error would show the URL with its password.
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
