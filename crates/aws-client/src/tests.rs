//! Signatures beside those of the SDK's signer, and the correction of a wrong clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::signer::Signer;
use crate::{AwsEnvironment, AwsService, CallError, Progress, Service};

const SERVICE: Service = Service::Sqs;
const TARGET: &str = "AmazonSQS.SendMessage";

/// Returns the `authorization` of the SDK's signer.
fn expected(credentials: &Credentials, url: &str, host: &str, date: &str, body: &[u8], now: SystemTime) -> String {
    let identity = credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.uri_path_normalization_mode = aws_sigv4::http_request::UriPathNormalizationMode::Disabled;
    let params = SigningParams::builder().identity(&identity).region("eu-west-1").name("sqs").time(now);
    let params = params.settings(settings).build().unwrap().into();
    let headers = [("content-type", SERVICE.content_type()), ("host", host), ("x-amz-target", TARGET)];
    let request = SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let (headers, _) = instructions.into_parts();
    let header = |name: &str| headers.iter().find(|header| header.name() == name).unwrap().value().to_owned();
    assert_eq!(header("x-amz-date"), date);
    header("authorization")
}

#[test]
fn signatures_are_those_of_the_sdk() {
    let plain = Credentials::new("AKID", "secret", None, None, "test");
    let session = Credentials::new("AKID", "secret", Some("a+token/=".to_owned()), None, "test");
    let day = 24 * 60 * 60;
    for credentials in [&plain, &session] {
        for path in ["/", "/a/b", "/a b%20c/$+~"] {
            let url = format!("http://sqs.test:4566{}", path.replace(' ', "%20"));
            let path = path.replace(' ', "%20");
            let signer = Signer::new(
                credentials.clone(),
                "eu-west-1".to_owned(),
                SERVICE.name(),
                SERVICE.content_type(),
                "sqs.test:4566".to_owned(),
                &path,
            );
            // The key of a day is kept, and replaced on the next.
            for at_s in [0, 1, day - 1, day, 20_000 * day + 45_296] {
                for body in [&b""[..], b"{}", &[b'x'; 200]] {
                    let now = UNIX_EPOCH + Duration::from_secs(at_s);
                    let signed = signer.sign(TARGET, body, now);
                    let expected = expected(credentials, &url, "sqs.test:4566", &signed.date, body, now);
                    assert_eq!(signed.authorization, expected, "{path} at {at_s}");
                }
            }
        }
    }
}

const WITHIN: Duration = Duration::from_secs(20);

/// Answers each request with the next head and body, and returns the `x-amz-date` of each.
async fn server(answers: Vec<(&'static str, &'static str)>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let dates = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut dates = Vec::new();
        for (head, body) in answers {
            let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
            while !request.ends_with(b"{}") {
                let read = stream.read(&mut buffer).await.unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            let text = String::from_utf8(request).unwrap();
            dates.push(text.split("x-amz-date: ").nth(1).unwrap()[..16].to_owned());
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        dates
    });
    (endpoint, dates)
}

fn service(endpoint: &str) -> AwsService {
    let lookup = |name: &str| {
        let is_endpoint = name.starts_with("AWS_ENDPOINT");
        Some(if is_endpoint { endpoint } else { "eu-west-1" }.to_owned())
    };
    AwsService::new(&AwsEnvironment::read(lookup).unwrap(), SERVICE)
}

#[tokio::test]
async fn a_wrong_clock_costs_one_attempt_of_one_call() {
    let refused = r#"{"__type": "com.amazonaws.sqs#RequestTimeTooSkewed", "message": "too skewed"}"#;
    let (endpoint, dates) = server(vec![
        ("403 Forbidden\r\ndate: Sat, 01 Jan 2000 12:00:00 GMT", refused),
        ("200 OK", "{}"),
        ("200 OK", "{}"),
    ])
    .await;
    let service = service(&endpoint);
    for _ in 0..2 {
        service.call(TARGET, "{}", None, Instant::now() + WITHIN, &Progress::default()).await.unwrap();
    }
    let dates = dates.await.unwrap();
    assert!(!dates[0].starts_with("2000"), "{dates:?}");
    assert!(dates[1..].iter().all(|date| date.starts_with("20000101T12000")), "{dates:?}");
}

/// The server accepts one connection, so a second one would get no answer.
#[tokio::test]
async fn the_first_call_has_the_connection_that_was_opened_for_it() {
    let (endpoint, dates) = server(vec![("200 OK", "{}"), ("200 OK", "{}")]).await;
    let service = service(&endpoint);
    service.connect().await.unwrap();
    for _ in 0..2 {
        service.call(TARGET, "{}", None, Instant::now() + WITHIN, &Progress::default()).await.unwrap();
    }
    assert_eq!(dates.await.unwrap().len(), 2);
    let refused = service.connect().await.unwrap_err().to_string();
    assert!(refused.starts_with("cannot connect to 127.0.0.1:"), "{refused}");
}

#[tokio::test]
async fn a_right_clock_does_not_explain_a_refused_signature() {
    let (endpoint, dates) =
        server(vec![("403 Forbidden", r#"{"__type": "SignatureDoesNotMatch", "message": "as planned"}"#)]).await;
    let error =
        service(&endpoint).call(TARGET, "{}", None, Instant::now() + WITHIN, &Progress::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Answered { status: 403, is_clock_skew: false, .. }), "{error:?}");
    assert_eq!(error.to_string(), "SignatureDoesNotMatch: as planned");
    assert_eq!(dates.await.unwrap().len(), 1);
}

#[tokio::test]
async fn codes_are_read_as_the_sdk_reads_them() {
    for (head, body, expected) in [
        ("400 Bad Request", r#"{"__type": "com.amazonaws.sqs#A:http://b", "Message": "m"}"#, "A: m"),
        ("400 Bad Request", r#"{"__type": "A", "code": "B"}"#, "B"),
        ("400 Bad Request\r\nx-amzn-errortype: C:http://b", r#"{"__type": "A"}"#, "C"),
        ("400 Bad Request\r\nx-amzn-query-error: AWS.X;Sender", r#"{"__type": "A"}"#, "AWS.X"),
        ("413 Too Large", "<html>", "the answer has the status 413 and no error code"),
    ] {
        let (endpoint, _) = server(vec![(head, body)]).await;
        let progress = Progress::default();
        let error = service(&endpoint).call(TARGET, "{}", None, Instant::now() + WITHIN, &progress).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!progress.may_have_arrived(), "it is a refusal");
    }
}
