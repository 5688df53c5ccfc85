//! The login at Amazon MSK with the role of the function: a token of OAUTHBEARER (RFC 7628), which is a presigned URL
//! of `kafka-cluster:Connect`.
//!
//! The token is that of AWS's own signers, such as <https://github.com/aws/aws-msk-iam-sasl-signer-python>, except for
//! the name of the client at its end, which is not signed.

use std::time::SystemTime;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sluicegate_aws_client::{AwsEnvironment, PresignedGet};

/// The name of the mechanism in the handshake.
pub(super) const MECHANISM: &str = "OAUTHBEARER";

/// The time for which a token is valid, in seconds: that of AWS's signers. A session lasts no longer.
const TOKEN_LIFETIME_S: u32 = 900;

/// The answer of a client to an error of the server, which ends the exchange (RFC 7628, section 3.2.3).
pub(super) const END: &[u8] = b"\x01";

/// Returns the only message of a login with the role of `environment`.
pub(super) fn message(environment: &AwsEnvironment, now: SystemTime) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {}\x01\x01", token(environment, now)).into_bytes()
}

fn token(environment: &AwsEnvironment, now: SystemTime) -> String {
    let host = &format!("kafka.{}.amazonaws.com", environment.region());
    let request =
        PresignedGet { service: "kafka-cluster", host, action: "kafka-cluster:Connect", lifetime_s: TOKEN_LIFETIME_S };
    let url = request.url(environment, now);
    BASE64_URL_SAFE_NO_PAD.encode(format!("{url}&User-Agent=sluicegate%2F{}", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The signatures are those of aws-msk-iam-sasl-signer-python 1.0.2.
    #[test]
    fn a_token_is_that_of_the_signers_of_aws() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_946_400);
        for (session, expected) in [
            ("", "&X-Amz-Signature=2d630736ad94734e254d46a537074160eab03547455fdc584eeeb92e9f9a9df1"),
            (
                "a+token/=",
                "&X-Amz-Security-Token=a%2Btoken%2F%3D\
                 &X-Amz-Signature=355dc4d3a5b850ea8d319537ff56ba7a48010f7c682b85c5ff9e3013a1da0129",
            ),
        ] {
            let lookup = |name: &str| match name {
                "AWS_REGION" => Some("eu-west-1".to_owned()),
                "AWS_ACCESS_KEY_ID" => Some("AKID".to_owned()),
                "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
                "AWS_SESSION_TOKEN" => Some(session.to_owned()),
                _ => None,
            };
            let message = message(&AwsEnvironment::read(lookup).unwrap(), now);
            let token = message.strip_prefix(b"n,,\x01auth=Bearer ").unwrap().strip_suffix(b"\x01\x01").unwrap();
            let url = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
            let (signed, client) = url.split_once("&User-Agent=").unwrap();
            let head = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
                        &X-Amz-Algorithm=AWS4-HMAC-SHA256\
                        &X-Amz-Credential=AKID%2F20261129%2Feu-west-1%2Fkafka-cluster%2Faws4_request\
                        &X-Amz-Date=20261129T100000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host";
            assert_eq!(signed, format!("{head}{expected}"));
            assert!(client.starts_with("sluicegate%2F"), "{client}");
        }
    }
}
