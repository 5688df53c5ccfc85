//! [`S3Client`]: writes, reads and lists the objects of one bucket.
//!
//! Requests are signed with Signature Version 4 over the hash of the payload; S3 escapes a path once. The bucket is in
//! the host name, or in the path if an endpoint is set, because a local server has one name for all buckets.
//!
//! Retries, their budget and the correction of a wrong clock are those of [`AwsService`](crate::AwsService); an attempt
//! may take longer, because an object is larger than a document.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, DATE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use percent_encoding::utf8_percent_encode;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::chain;
use crate::endpoint::Endpoint;
use crate::environment::{AwsEnvironment, Service, dns_suffix};
use crate::progress::Progress;
use crate::service::{CallError, secret};
use crate::signer::{ESCAPED, ESCAPED_IN_QUERY, Scope, push_hex, timestamp};

/// Longest attempt to write or read an object, connection included: 2 MiB/s for the largest payload of an invocation,
/// far below the network of the smallest function.
pub const OBJECT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest answer to a write, and largest error that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Largest page of a listing: 1,000 keys of at most 1,024 bytes, each with its metadata and with escapes.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const LISTING_BYTES_MAX: usize = 8 * 1024 * 1024;

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE_HEADER: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// A client of one bucket.
pub struct S3Client {
    bucket: String,
    endpoint: Endpoint,
    scope: Scope,
}

/// An object that was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The object is larger than the caller accepts.
    #[error("the object has more than {bytes_max} bytes")]
    TooLarge {
        /// The largest size that the caller accepts.
        bytes_max: usize,
    },
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The keys in the order of their UTF-8 bytes, at most 1,000.
    pub keys: Vec<String>,
    /// Whether there are more; the next page starts after the last key.
    pub is_truncated: bool,
}

/// A request for an object, or for a listing of the bucket.
struct Target<'a> {
    method: &'a Method,
    /// Empty for the bucket.
    key: &'a str,
    /// As it is signed: sorted, and escaped.
    query: &'a str,
}

impl S3Client {
    /// Creates a client without calling S3. With an https endpoint it reads the root certificates, unless another
    /// client of the environment has.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, bucket: impl Into<String>) -> Self {
        let (bucket, region) = (bucket.into(), environment.region().to_owned());
        let url = match environment.endpoint(Service::S3) {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{region}.{}", dns_suffix(&region)),
        };
        let endpoint = Endpoint::new(url, environment, OBJECT_ATTEMPT_TIMEOUT);
        let scope = Scope::new(environment.credentials().clone(), region, Service::S3.name());
        Self { bucket, endpoint, scope }
    }

    /// Returns the name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Writes an object, not past `deadline`. S3 compares the bytes with the hash in the signature.
    ///
    /// # Errors
    /// That of the last attempt. The object may be stored.
    pub async fn put(&self, key: &str, body: Bytes, deadline: Instant) -> Result<(), CallError> {
        let target = Target { method: &Method::PUT, key, query: "" };
        self.call(&target, body, ANSWER_BYTES_MAX, deadline).await.map(drop)
    }

    /// Reads an object of at most `bytes_max` bytes, not past `deadline`.
    ///
    /// # Errors
    /// That of the last attempt, or the object is larger.
    pub async fn get(&self, key: &str, bytes_max: usize, deadline: Instant) -> Result<Bytes, S3Error> {
        let target = Target { method: &Method::GET, key, query: "" };
        let object = self.call(&target, Bytes::new(), bytes_max, deadline).await?;
        object.ok_or(S3Error::TooLarge { bytes_max })
    }

    /// Lists the keys with this prefix that come after `start_after`, one page of them, not past `deadline`.
    ///
    /// # Errors
    /// That of the last attempt, or the answer is larger than S3 sends.
    pub async fn list(&self, prefix: &str, start_after: &str, deadline: Instant) -> Result<Listing, S3Error> {
        let mut query = format!("list-type=2&prefix={}", utf8_percent_encode(prefix, ESCAPED_IN_QUERY));
        if !start_after.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(query, "&start-after={}", utf8_percent_encode(start_after, ESCAPED_IN_QUERY));
        }
        let target = Target { method: &Method::GET, key: "", query: &query };
        let page = self.call(&target, Bytes::new(), LISTING_BYTES_MAX, deadline).await?;
        let page = page.ok_or(S3Error::TooLarge { bytes_max: LISTING_BYTES_MAX })?;
        Ok(listing(&String::from_utf8_lossy(&page)))
    }

    /// Returns the body of a success; `None` if it has more than `bytes_max`.
    async fn call(
        &self,
        target: &Target<'_>,
        body: Bytes,
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Option<Bytes>, CallError> {
        let mut hash = String::with_capacity(64);
        push_hex(&mut hash, &Sha256::digest(&body));
        let progress = Progress::default();
        let attempt = || self.attempt(target, &body, &hash, bytes_max, &progress);
        self.endpoint.call(deadline, &progress, attempt).await
    }

    async fn attempt(
        &self,
        target: &Target<'_>,
        body: &Bytes,
        hash: &str,
        bytes_max: usize,
        progress: &Progress,
    ) -> Result<Option<Bytes>, CallError> {
        let sent = SystemTime::now();
        let request = self.request(target, body, hash, self.endpoint.clock.of_service(sent))?;
        let (answer, lease) = self.endpoint.send(request, progress).await?;
        let (head, body) = answer.into_parts();
        let is_success = head.status.is_success();
        let bytes_max = if is_success { bytes_max } else { ANSWER_BYTES_MAX };
        let body = match Limited::new(body, bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if is_success && error.is::<LengthLimitError>() => return Ok(None),
            Err(error) => return Err(CallError::Connection(chain(error.as_ref()))),
        };
        lease.release();
        if is_success { Ok(Some(body)) } else { Err(self.error(head.status.as_u16(), &head.headers, body, sent)) }
    }

    /// Returns a signed request.
    fn request(
        &self,
        target: &Target<'_>,
        body: &Bytes,
        hash: &str,
        now: SystemTime,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let Target { method, key, query } = *target;
        let path = format!("{}/{}", self.endpoint.path.trim_end_matches('/'), utf8_percent_encode(key, ESCAPED));
        let (date, host) = (timestamp(now), &self.endpoint.host);
        let (mut canonical, mut token_name) = (String::with_capacity(2_048), "");
        // Writing to a String cannot fail.
        let _ = write!(
            canonical,
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{hash}\nx-amz-date:{date}\n"
        );
        let token = self.scope.session_token();
        if let Some(token) = token {
            token_name = ";x-amz-security-token";
            canonical.extend(["x-amz-security-token:", token, "\n"]);
        }
        let names = ["host;x-amz-content-sha256;x-amz-date", token_name, ""];
        canonical.push('\n');
        canonical.extend(names);
        canonical.extend(["\n", hash]);
        let authorization = self.scope.authorization(&canonical, names, &date, now);

        let unfit = |error: http::header::InvalidHeaderValue| CallError::Request(chain(&error));
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
        *request.uri_mut() = uri.parse().map_err(|error: http::uri::InvalidUri| CallError::Request(chain(&error)))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::try_from(host).map_err(unfit)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluicegate/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_HASH, HeaderValue::try_from(hash).map_err(unfit)?);
        headers.insert(DATE_HEADER, HeaderValue::try_from(date).map_err(unfit)?);
        headers.insert(AUTHORIZATION, HeaderValue::try_from(authorization).map_err(unfit)?);
        headers.extend(secret(token).map(|token| (SECURITY_TOKEN, token)));
        Ok(request)
    }

    /// Reads the error of an answer, which is XML. Corrects the clock if that explains it.
    fn error(&self, status: u16, headers: &HeaderMap, body: Bytes, sent: SystemTime) -> CallError {
        let text = String::from_utf8_lossy(&body);
        let (code, message) = (element(&text, "Code"), element(&text, "Message"));
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let is_clock_skew = self.endpoint.clock.explains(code.as_deref(), date, sent);
        CallError::Answered { status, code, message, retry_after: None, body, is_clock_skew }
    }
}

/// Reads a page of a listing. Keys with characters that XML does not allow are returned as S3 writes them.
fn listing(xml: &str) -> Listing {
    let contents = xml.split("<Contents>").skip(1);
    let keys = contents.filter_map(|object| element(object, "Key"));
    let unescaped = |key: String| match key.contains('&') {
        true => key.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"),
        false => key,
    };
    let is_truncated = element(xml, "IsTruncated").as_deref() == Some("true");
    Listing { keys: keys.map(unescaped).collect(), is_truncated }
}

/// Returns the text of the first element of this name: `<Code>NoSuchKey</Code>`. Codes have nothing to unescape.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned())
}

impl std::fmt::Debug for S3Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Client")
            .field("bucket", &self.bucket)
            .field("host", &self.endpoint.host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4::SigningParams;

    use super::*;

    fn environment(endpoint: Option<&'static str>, token: Option<&'static str>) -> AwsEnvironment {
        let lookup = |name: &str| match name {
            "AWS_ENDPOINT_URL_S3" => endpoint.map(str::to_owned),
            "AWS_SESSION_TOKEN" => token.map(str::to_owned),
            _ => (!name.starts_with("AWS_ENDPOINT")).then(|| "eu-west-1".to_owned()),
        };
        AwsEnvironment::read(lookup).unwrap()
    }

    #[test]
    fn signatures_are_those_of_the_sdk_with_the_settings_of_s3() {
        for token in [None, Some("a+token/=")] {
            for key in ["payloads/01", "a b+c/ü~%20&=", "."] {
                for (method, body, query) in [
                    (Method::GET, &b""[..], ""),
                    (Method::GET, b"", "list-type=2&prefix=a%3D%2F&start-after=a%3D%2F%25"),
                    (Method::PUT, b"{}", ""),
                    (Method::PUT, &[b'x'; 70_000], ""),
                ] {
                    let environment = environment(Some("http://127.0.0.1:4566/"), token);
                    let credentials = environment.credentials();
                    let client = S3Client::new(&environment, "large-payloads");
                    let now = UNIX_EPOCH + Duration::from_secs(1_800_045_296);
                    let mut hash = String::new();
                    push_hex(&mut hash, &Sha256::digest(body));
                    let target = Target { method: &method, key, query };
                    let request = client.request(&target, &Bytes::copy_from_slice(body), &hash, now).unwrap();
                    let identity = credentials.clone().into();
                    let mut settings = SigningSettings::default();
                    settings.percent_encoding_mode = PercentEncodingMode::Single;
                    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
                    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
                    let params = SigningParams::builder().identity(&identity).region("eu-west-1").name("s3").time(now);
                    let params = params.settings(settings).build().unwrap().into();
                    let url = format!("http://127.0.0.1:4566{}", request.uri());
                    assert!(url.starts_with("http://127.0.0.1:4566/large-payloads/"), "{url}");
                    let headers = [("host", "127.0.0.1:4566")].into_iter();
                    let signed =
                        SignableRequest::new(method.as_str(), url, headers, SignableBody::Bytes(body)).unwrap();
                    let (instructions, _) = sign(signed, &params).unwrap().into_parts();
                    let (headers, _) = instructions.into_parts();
                    for header in headers {
                        let ours = request.headers().get(header.name()).and_then(|value| value.to_str().ok());
                        assert_eq!(ours, Some(header.value()), "{} of {method} {key}", header.name());
                    }
                }
            }
        }
    }

    #[test]
    fn the_bucket_is_in_the_host_unless_an_endpoint_is_set() {
        let request = |endpoint| {
            let client = S3Client::new(&environment(endpoint, None), "b");
            client
                .request(&Target { method: &Method::GET, key: "k 1", query: "" }, &Bytes::new(), "", UNIX_EPOCH)
                .unwrap()
        };
        let check = |endpoint, host: &str, path: &str| {
            let request = request(endpoint);
            let found = (request.headers()[HOST].to_str().unwrap(), request.uri().path());
            assert_eq!(found, (host, path), "{endpoint:?}");
        };
        check(None, "b.s3.eu-west-1.amazonaws.com", "/k%201");
        check(Some("http://127.0.0.1:4566"), "127.0.0.1:4566", "/b/k%201");
        check(Some("https://s3.test/base/"), "s3.test", "/base/b/k%201");
    }

    #[test]
    fn keys_are_read_from_a_listing() {
        let page = "<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated><Contents><Key>a/1&amp;lt;</Key><Size>1\
                    </Size></Contents><Contents><Key>a/2</Key></Contents></ListBucketResult>";
        let expected = Listing { keys: vec!["a/1&lt;".to_owned(), "a/2".to_owned()], is_truncated: true };
        assert_eq!(listing(page), expected);
        for empty in ["", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "<Contents><Key>a"] {
            assert_eq!(listing(empty), Listing::default(), "{empty}");
        }
    }

    #[test]
    fn errors_are_read_from_xml() {
        let client = S3Client::new(&environment(None, None), "b");
        let check = |body: &'static str, expected: &str| {
            let error = client.error(404, &HeaderMap::new(), Bytes::from_static(body.as_bytes()), UNIX_EPOCH);
            assert_eq!(error.to_string(), expected, "{body}");
        };
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>It is gone.</Message></Error>";
        check(xml, "NoSuchKey: It is gone.");
        check("<Error><Code>NoSuchKey", "the answer has the status 404 and no error code");
        check("", "the answer has the status 404 and no error code");
    }
}
