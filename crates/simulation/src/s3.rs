//! Amazon S3: one bucket, whose objects are written whole and read.
//!
//! A write is atomic, and the next read sees it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>).

use std::collections::HashMap;

use bytes::Bytes;

use crate::aws_service::Reply;

/// The bucket of payloads.
pub(crate) const BUCKET: &str = "payloads";

/// The keys of payloads: this, and a UUID.
const PREFIX: &str = "payloads/";
const UUID_CHARS: usize = 36;

/// The objects of [`BUCKET`], by key.
#[derive(Default)]
pub(crate) struct Bucket {
    objects: HashMap<String, Bytes>,
}

impl Bucket {
    /// Carries out a request for an object, such as `PUT` and `/payloads/payloads/UUID`.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &Bytes) -> Reply {
        let Some(key) = path.strip_prefix('/').and_then(|path| path.strip_prefix(BUCKET)?.strip_prefix('/')) else {
            return refused(404, "NoSuchBucket");
        };
        match (method, self.objects.get(key)) {
            ("PUT", _) => {
                self.objects.insert(key.to_owned(), body.clone());
                Reply { status: 200, error: None, body: Vec::new() }
            }
            ("GET", Some(object)) => Reply { status: 200, error: None, body: object.to_vec() },
            ("GET", None) => refused(404, "NoSuchKey"),
            _ => refused(405, "MethodNotAllowed"),
        }
    }

    /// Returns the object that a text names, such as the body of a message.
    pub(crate) fn named_in(&self, text: &str) -> Option<&str> {
        // In a path, the name of the bucket comes before the key.
        let keys = text.match_indices(PREFIX).filter_map(|(at, _)| text.get(at..at + PREFIX.len() + UUID_CHARS));
        let object = keys.filter_map(|key| self.objects.get(key)).next()?;
        std::str::from_utf8(object).ok()
    }
}

/// Returns the answer to a request that has no effect.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
pub(crate) fn refused(status: u16, code: &str) -> Reply {
    let body = format!("<Error><Code>{code}</Code><Message>simulated</Message></Error>");
    Reply { status, error: None, body: body.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_was_written_and_found_by_what_names_it() {
        let mut bucket = Bucket::default();
        let key = "payloads/00000000-0000-4000-8000-000000000001";
        let path = format!("/payloads/{key}");
        assert_eq!(bucket.call("GET", &path, &Bytes::new()).status, 404);
        assert_eq!(bucket.named_in(&path), None);
        assert_eq!(bucket.call("PUT", &path, &Bytes::from("event")).status, 200);
        assert_eq!(bucket.call("GET", &path, &Bytes::new()).body, b"event");
        let body = format!(r#"["class",{{"s3BucketName":"payloads","s3Key":"{key}"}}]"#);
        for text in [path.as_str(), &body, &format!("GET {path}"), &serde_json::to_string(&body).unwrap()] {
            assert_eq!(bucket.named_in(text), Some("event"), "{text}");
        }
        for (method, path, status) in
            [("DELETE", path.as_str(), 405), ("GET", "/other/a", 404), ("GET", "payloads/a", 404)]
        {
            assert_eq!(bucket.call(method, path, &Bytes::new()).status, status, "{method} {path}");
        }
        assert_eq!(bucket.named_in("payloads/0"), None);
    }
}
