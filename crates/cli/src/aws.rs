//! Options for AWS or a compatible endpoint: `--endpoint-url`, `--profile`, `--region`.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use clap::Args;
use http::Uri;

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
    pub(crate) async fn load(&self) -> SdkConfig {
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
        loader.load().await
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
