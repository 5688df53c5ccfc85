//! Options for AWS or a compatible endpoint: `--endpoint-url`, `--profile`, `--region`.

pub(crate) use aws_config::SdkConfig;
use aws_config::{BehaviorVersion, Region};

use crate::CommandError;
use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use clap::Args;
use http::Uri;
use sluicegate_queue::chain;

/// What to check when AWS refuses, or is not reached.
pub(crate) const ADVICE: &str = "--region, --profile, --endpoint-url and the permissions of the credentials";

/// Options of every command that calls AWS.
#[derive(Args)]
pub(crate) struct Aws {
    /// Another endpoint than AWS: LocalStack, ministack, or http://127.0.0.1:4566 for the local stack
    #[arg(long, value_name = "URL", global = true)]
    endpoint_url: Option<String>,
    /// A profile of the AWS configuration files
    #[arg(long, value_name = "NAME", global = true)]
    profile: Option<String>,
    /// The Region [default: the environment's or the profile's]
    #[arg(long, value_name = "REGION", global = true)]
    region: Option<String>,
}

impl Aws {
    /// Loads the configuration of the SDK's clients. Region and credentials come from the same sources as those of the
    /// AWS CLI. For an endpoint on this machine they are optional.
    ///
    /// # Errors
    /// No Region or no credentials were found; the text says where they come from.
    pub(crate) async fn load(&self) -> Result<SdkConfig, CommandError> {
        let http_client =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client);
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if self.is_on_this_machine() && self.profile.is_none() && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            let placeholder = Credentials::new("test", "test", None, None, "an endpoint on this machine");
            loader = loader.credentials_provider(placeholder);
            if self.region.is_none() && std::env::var_os("AWS_REGION").is_none() {
                loader = loader.region(Region::from_static("us-east-1"));
            }
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err("no AWS Region: pass --region, set AWS_REGION, or run `aws configure`".into());
        }
        // Asked for here, because an SDK's error lists every source it tried.
        let found = match config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.map(|_| ()).map_err(|error| chain(&error)),
            None => Err("no source of credentials".into()),
        };
        found.map_err(|reason| {
            format!(
                "no AWS credentials: {reason}\nhelp: run `aws configure` or `aws sso login`, set AWS_PROFILE, or pass --profile; \
                 for the local stack pass --endpoint-url http://127.0.0.1:4566"
            )
        })?;
        Ok(config)
    }

    /// Returns whether any of the options is given.
    pub(crate) fn is_given(&self) -> bool {
        self.endpoint_url.is_some() || self.profile.is_some() || self.region.is_some()
    }

    fn is_on_this_machine(&self) -> bool {
        let host = self.endpoint_url.as_ref().and_then(|url| url.parse::<Uri>().ok()?.host().map(str::to_owned));
        host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str()))
    }
}
