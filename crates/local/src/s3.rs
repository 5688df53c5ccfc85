//! [`S3`]: the buckets of a template in memory, with the operations that payloads over the limit of SQS need.
//!
//! PutObject, GetObject, HeadObject, DeleteObject, HeadBucket, CreateBucket and ListObjectsV2 (by prefix and in pages,
//! without delimiter), with the bucket in the path. Signatures and checksums are not verified, and nothing
//! expires: a stack lives for a day at most. Everything else is answered with `NotImplemented`. With an
//! [`ArchiveFolder`], the objects of the archive are files too, which outlive the stack.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use sluicegate_sam::BucketPlan;

use crate::secrets::{CallError, put_remote};
use crate::stack::CreateError;

/// The largest object, in bytes. S3 itself accepts 5 GiB in one request.
const OBJECT_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// All objects together, in bytes. They are in the memory of the command.
const BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// The most objects that one listing has.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
const LISTED_MAX: usize = 1_000;

/// What names S3 in the credential scope of a signature, in a header or in a presigned URL.
const SCOPES: [&str; 2] = ["/s3/aws4_request", "%2Fs3%2Faws4_request"];

/// Buckets in memory. Clones share them.
#[derive(Clone, Default)]
pub struct S3 {
    buckets: Arc<Mutex<Buckets>>,
    archive: Option<ArchiveFolder>,
}

/// A folder in which the objects of the archive are files, by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveFolder {
    /// The folder, which is created.
    pub path: PathBuf,
    /// What the keys of these objects start with, in each bucket.
    pub prefix: &'static str,
}

impl ArchiveFolder {
    /// Writes the file of an object, whole or not at all. An object of another kind has none.
    fn write(&self, key: &str, body: &[u8]) -> io::Result<()> {
        let is_name = |part: &str| !["", ".", ".."].contains(&part) && !part.contains('\\');
        if !key.starts_with(self.prefix) || !key.split('/').all(is_name) {
            return Ok(());
        }
        let path = self.path.join(key);
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder)?;
        let part = path.with_extension("part");
        fs::write(&part, body)?;
        fs::rename(part, path)
    }
}

#[derive(Default)]
struct Buckets {
    by_name: BTreeMap<String, BTreeMap<String, Object>>,
    bytes: usize,
}

#[derive(Clone)]
struct Object {
    body: Bytes,
    content_type: HeaderValue,
    entity_tag: HeaderValue,
}

/// An error of S3: status, code and text.
struct Refusal(StatusCode, &'static str, String);

impl S3 {
    /// Returns a service without buckets.
    pub(crate) fn new(archive: Option<ArchiveFolder>) -> Self {
        Self { archive, ..Self::default() }
    }

    /// Creates the buckets of a template, here or at a remote endpoint, where one that exists is used.
    ///
    /// # Errors
    /// The first bucket that is refused, with its name.
    pub(crate) async fn create(
        &self,
        buckets: &[BucketPlan],
        endpoint_url: Option<&str>,
    ) -> Result<(), (String, CreateError)> {
        for bucket in buckets {
            match endpoint_url {
                None => self.create_bucket(&bucket.name),
                Some(url) => {
                    let named = |error: CallError| (bucket.name.clone(), error.into());
                    put_remote(&format!("{}/{}", url.trim_end_matches('/'), bucket.name), "s3").await.map_err(named)?;
                }
            }
        }
        Ok(())
    }

    fn create_bucket(&self, name: &str) {
        self.with(|buckets| {
            buckets.by_name.entry(name.to_owned()).or_default();
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Buckets) -> T) -> T {
        change(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the bytes of an object.
    pub(crate) fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.with(|buckets| Some(buckets.by_name.get(bucket)?.get(key)?.body.clone()))
    }

    /// Returns whether a request is for S3, by its signature.
    pub(crate) fn is_for<B>(request: &Request<B>) -> bool {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let query = request.uri().query();
        [authorization, query].into_iter().flatten().any(|text| SCOPES.iter().any(|scope| text.contains(scope)))
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let answer = match Limited::new(body, OBJECT_BYTES_MAX + OBJECT_BYTES_MAX / 64).collect().await {
            Ok(body) => self.call(&head, body.to_bytes()),
            Err(error) => {
                let text = format!("cannot read an object of at most {OBJECT_BYTES_MAX} bytes: {error}");
                Err(Refusal(StatusCode::BAD_REQUEST, "EntityTooLarge", text))
            }
        };
        let answer = answer.unwrap_or_else(|Refusal(status, code, text)| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;");
            xml(status, &format!("<Error><Code>{code}</Code><Message>{text}</Message></Error>"))
        });
        let length = answer.body().len();
        let mut answer = answer.map(|body| Full::new(if is_head { Bytes::new() } else { body }));
        if is_head && answer.status().is_success() {
            answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        answer
    }

    fn call(&self, head: &http::request::Parts, body: Bytes) -> Result<Response<Bytes>, Refusal> {
        let not_implemented = |what: &str| {
            let text = format!("{what} is not supported locally; this endpoint has the operations of large payloads");
            Refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented", text)
        };
        let path = percent_decode_str(head.uri.path()).decode_utf8();
        let path = path.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "InvalidURI", "The path is not UTF-8.".into()))?;
        let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
        let query = head.uri.query().unwrap_or_default();
        let is_listing = key.is_empty() && query.split('&').any(|field| field == "list-type=2");
        let is_known = |field: &str| field.is_empty() || field.starts_with("x-id=") || field.starts_with("X-Amz-");
        if !is_listing && !query.split('&').all(is_known) {
            return Err(not_implemented(query));
        }
        match (head.method.as_str(), key) {
            (_, _) if bucket.is_empty() => Err(not_implemented("a request without a bucket")),
            ("PUT", "") => {
                self.create_bucket(bucket);
                Ok(Response::new(Bytes::new()))
            }
            ("HEAD", "") => self.with(|buckets| buckets.objects(bucket).map(|_| Response::new(Bytes::new()))),
            ("GET", "") if is_listing => self.with(|buckets| buckets.list(bucket, query)),
            ("PUT", key) if !head.headers.contains_key("x-amz-copy-source") => {
                let body = if is_chunked(&head.headers) { unchunked(&body)? } else { body };
                let content_type = head.headers.get(header::CONTENT_TYPE).cloned();
                self.write_to_archive(key, &body)?;
                self.with(|buckets| buckets.put(bucket, key, body, content_type))
            }
            ("GET" | "HEAD", key) => self.with(|buckets| buckets.get(bucket, key)),
            ("DELETE", key) if !key.is_empty() => self.with(|buckets| buckets.delete(bucket, key)),
            (method, _) => Err(not_implemented(method)),
        }
    }
}

impl S3 {
    /// Writes the file of an object of the archive before the object is there, so that no answer precedes the file.
    fn write_to_archive(&self, key: &str, body: &[u8]) -> Result<(), Refusal> {
        let written = self.archive.as_ref().map_or(Ok(()), |archive| archive.write(key, body));
        written.map_err(|error| {
            let text = format!("The file of this object cannot be written below --archive-dir: {error}");
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", text)
        })
    }
}

impl Buckets {
    fn objects(&mut self, bucket: &str) -> Result<&mut BTreeMap<String, Object>, Refusal> {
        let missing = || Refusal(StatusCode::NOT_FOUND, "NoSuchBucket", format!("There is no bucket {bucket}."));
        self.by_name.get_mut(bucket).ok_or_else(missing)
    }

    fn put(
        &mut self,
        bucket: &str,
        key: &str,
        body: Bytes,
        content_type: Option<HeaderValue>,
    ) -> Result<Response<Bytes>, Refusal> {
        let total = self.bytes;
        let objects = self.objects(bucket)?;
        let before = objects.get(key).map_or(0, |object| object.body.len());
        let bytes = total - before + body.len();
        if bytes > BYTES_MAX {
            let text =
                format!("The buckets of this stack hold {BYTES_MAX} bytes at most. Delete objects, or restart it.");
            return Err(Refusal(StatusCode::INSUFFICIENT_STORAGE, "InsufficientCapacity", text));
        }
        let digest = Sha256::digest(&body);
        let mut tag = String::from("\"");
        // Writing to a String cannot fail.
        for byte in digest.iter().take(16) {
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        let entity_tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"0\""));
        let content_type = content_type.unwrap_or(HeaderValue::from_static("binary/octet-stream"));
        objects.insert(key.to_owned(), Object { body, content_type, entity_tag: entity_tag.clone() });
        self.bytes = bytes;
        let mut answer = Response::new(Bytes::new());
        answer.headers_mut().insert(header::ETAG, entity_tag);
        Ok(answer)
    }

    fn get(&mut self, bucket: &str, key: &str) -> Result<Response<Bytes>, Refusal> {
        let missing = || Refusal(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.".to_owned());
        let object = self.objects(bucket)?.get(key).ok_or_else(missing)?;
        let mut answer = Response::new(object.body.clone());
        answer.headers_mut().insert(header::CONTENT_TYPE, object.content_type.clone());
        answer.headers_mut().insert(header::ETAG, object.entity_tag.clone());
        Ok(answer)
    }

    fn delete(&mut self, bucket: &str, key: &str) -> Result<Response<Bytes>, Refusal> {
        let removed = self.objects(bucket)?.remove(key);
        self.bytes -= removed.map_or(0, |object| object.body.len());
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Ok(answer)
    }

    fn list(&mut self, bucket: &str, query: &str) -> Result<Response<Bytes>, Refusal> {
        let parameter = |name: &str| {
            let mut fields = query.split('&').filter_map(|field| field.split_once('='));
            let value = fields.find(|(field, _)| *field == name).map(|(_, value)| value).unwrap_or_default();
            percent_decode_str(value).decode_utf8_lossy().into_owned()
        };
        let prefix = parameter("prefix");
        // The token of the next page is the last key of this one.
        let after = parameter("start-after").max(parameter("continuation-token"));
        let is_url = parameter("encoding-type") == "url";
        let written = |key: &str| match is_url {
            true => utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
            false => key.replace('&', "&amp;").replace('<', "&lt;"),
        };
        let objects = self.objects(bucket)?.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let mut objects = objects.peekable();
        let (mut contents, mut last) = (String::new(), "");
        for (key, object) in objects.by_ref().take(LISTED_MAX) {
            let size = object.body.len();
            let _ = write!(contents, "<Contents><Key>{}</Key><Size>{size}</Size></Contents>", written(key));
            last = key;
        }
        let is_truncated = objects.peek().is_some();
        if is_truncated {
            let last = last.replace('&', "&amp;").replace('<', "&lt;");
            let _ = write!(contents, "<NextContinuationToken>{last}</NextContinuationToken>");
        }
        let text = format!(
            "<ListBucketResult><Name>{bucket}</Name><IsTruncated>{is_truncated}</IsTruncated>{contents}</ListBucketResult>"
        );
        Ok(xml(StatusCode::OK, &text))
    }
}

fn xml(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// Returns whether a body is in chunks with signatures or a checksum after them, as SDKs send streams.
fn is_chunked(headers: &HeaderMap) -> bool {
    let hash = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
    hash.is_some_and(|hash| hash.starts_with("STREAMING-"))
}

/// Returns the bytes of a body in chunks: `<hex length>[;…]\r\n<bytes>\r\n`, up to one of length 0.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
fn unchunked(body: &[u8]) -> Result<Bytes, Refusal> {
    let invalid = || Refusal(StatusCode::BAD_REQUEST, "IncompleteBody", "The chunks of the body are invalid.".into());
    let (mut rest, mut bytes) = (body, Vec::with_capacity(body.len()));
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").ok_or_else(invalid)?;
        let (line, after) = rest.split_at(end);
        let length = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let length = std::str::from_utf8(length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.ok_or_else(invalid)?;
        if length == 0 {
            return Ok(bytes.into());
        }
        let after = &after[2..];
        let (chunk, after) = after.split_at_checked(length).ok_or_else(invalid)?;
        bytes.extend_from_slice(chunk);
        rest = after.strip_prefix(b"\r\n").ok_or_else(invalid)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(s3: &S3, method: &str, target: &str, body: &'static str) -> (u16, String) {
        let (head, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
        match s3.call(&head, Bytes::from_static(body.as_bytes())) {
            Ok(answer) => (answer.status().as_u16(), String::from_utf8(answer.body().to_vec()).unwrap()),
            Err(Refusal(status, code, _)) => (status.as_u16(), code.to_owned()),
        }
    }

    #[test]
    fn objects_are_written_read_listed_and_deleted() {
        let s3 = S3::default();
        let check = |method: &str, target: &str, body: &'static str, expected: (u16, &str)| {
            let (status, text) = call(&s3, method, target, body);
            assert_eq!((status, text.as_str()), expected, "{method} {target}");
        };
        check("PUT", "/b/k", "x", (404, "NoSuchBucket"));
        check("HEAD", "/b", "", (404, "NoSuchBucket"));
        s3.create_bucket("b");
        s3.create_bucket("b");
        check("HEAD", "/b", "", (200, ""));
        check("PUT", "/b/a%20b/%C3%BC?x-id=PutObject", "one", (200, ""));
        check("PUT", "/b/a%20b/%C3%BC", "three", (200, ""));
        assert_eq!(s3.with(|buckets| buckets.bytes), 5, "a replaced object counts once");
        check("GET", "/b/a%20b/ü".replace('ü', "%C3%BC").as_str(), "", (200, "three"));
        let (_, listing) = call(&s3, "GET", "/b?list-type=2", "");
        assert!(listing.contains("<Key>a b/ü</Key><Size>5</Size>"), "{listing}");
        for (query, is_listed) in [
            ("prefix=a%20", true),
            ("prefix=b", false),
            ("start-after=a%20b", true),
            ("start-after=a%20b%2F%C3%BC", false),
            ("continuation-token=a%20b%2F%C3%BC", false),
        ] {
            let (_, listing) = call(&s3, "GET", &format!("/b?list-type=2&{query}"), "");
            assert_eq!(listing.contains("<Key>"), is_listed, "{query}: {listing}");
        }
        check("DELETE", "/b/a%20b/%C3%BC", "", (204, ""));
        check("DELETE", "/b/a%20b/%C3%BC", "", (204, ""));
        check("GET", "/b/a%20b/%C3%BC", "", (404, "NoSuchKey"));
        assert_eq!(s3.with(|buckets| buckets.bytes), 0);
        for (method, target) in [("GET", "/"), ("GET", "/b/k?acl"), ("DELETE", "/b"), ("POST", "/b/k?uploads")] {
            check(method, target, "", (501, "NotImplemented"));
        }
    }

    #[test]
    fn the_objects_of_the_archive_are_files_too() {
        let folder = tempfile::tempdir().unwrap();
        let archive = ArchiveFolder { path: folder.path().join("copy"), prefix: "archive/" };
        let s3 = S3::new(Some(archive.clone()));
        s3.create_bucket("b");
        let file = |key: &str| std::fs::read_to_string(archive.path.join(key)).ok();
        for (target, body, key, expected) in [
            (
                "/b/archive/date%3D1/event_type%3Da%252Fb/k.zst",
                "one",
                "archive/date=1/event_type=a%2Fb/k.zst",
                Some("one"),
            ),
            ("/b/archive/date=1/event_type=a%252Fb/k.zst", "two", "archive/date=1/event_type=a%2Fb/k.zst", Some("two")),
            ("/b/payloads/k", "x", "payloads/k", None),
            ("/b/archive/../../k", "x", "../k", None),
            ("/b/archive/", "x", "archive/", None),
        ] {
            assert_eq!(call(&s3, "PUT", target, body).0, 200, "{target}");
            assert_eq!(file(key).as_deref(), expected, "{target}");
        }
        // The folder cannot be made below a file.
        std::fs::write(archive.path.join("archive/file"), "").unwrap();
        assert_eq!(call(&s3, "PUT", "/b/archive/file/k", "x"), (500, "InternalError".to_owned()));
        assert_eq!(call(&s3, "GET", "/b/archive/file/k", "").0, 404);
    }

    #[test]
    fn a_listing_has_pages() {
        let s3 = S3::default();
        s3.create_bucket("b");
        for n in 0..=LISTED_MAX {
            call(&s3, "PUT", &format!("/b/k{n:04}"), "");
        }
        let (_, first) = call(&s3, "GET", "/b?list-type=2", "");
        assert!(first.contains("<IsTruncated>true</IsTruncated>"), "{first}");
        assert!(first.contains("<NextContinuationToken>k0999</NextContinuationToken>"), "{first}");
        let (_, rest) = call(&s3, "GET", "/b?list-type=2&start-after=k0999&encoding-type=url", "");
        assert!(rest.contains("<IsTruncated>false</IsTruncated><Contents><Key>k1000</Key>"), "{rest}");
    }

    #[test]
    fn objects_beyond_the_memory_are_refused() {
        let s3 = S3::default();
        s3.create_bucket("b");
        s3.with(|buckets| buckets.bytes = BYTES_MAX - 3);
        assert_eq!(call(&s3, "PUT", "/b/k", "four").1, "InsufficientCapacity");
        assert_eq!(call(&s3, "PUT", "/b/k", "two").0, 200);
    }

    #[test]
    fn chunks_become_a_body() {
        let check = |body: &str, expected: Option<&str>| {
            let read = unchunked(body.as_bytes()).ok();
            assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{body:?}");
        };
        check("0\r\n\r\n", Some(""));
        check("5;chunk-signature=a\r\nab\r\nc\r\n1\r\nd\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n", Some("ab\r\ncd"));
        for invalid in ["", "5", "x\r\n", "5\r\nabc\r\n", "1\r\nab\r\n0\r\n", "1\r\na\r\n", "ffffffffffffffffff\r\n"] {
            check(invalid, None);
        }
    }
}
