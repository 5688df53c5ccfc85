//! The payload of any media type reaches the queue byte for byte.

use serde_json::json;

use super::{accepting, through_every_service};

/// <https://github.com/stripe/stripe-node/issues/356>
/// <https://github.com/aws/chalice/issues/2>
#[tokio::test]
async fn a_payload_of_any_media_type_is_stored_byte_for_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let cases: [(&str, &[u8]); 9] = [
        ("application/json", b" {\"price\": 1.10,\t\"\\u00e9\": [1e2, 18446744073709551616]} \n"),
        ("application/json; charset=utf-8", "\"é\u{ffff}\"".as_bytes()),
        ("application/vnd.acme+json", b"[null]"),
        ("application/x-www-form-urlencoded", b"a=1&b=%C3%A9+%00&a=2&&="),
        ("text/plain; charset=iso-8859-1", b"caf\xe9\r\n\0"),
        ("application/xml", b"<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n<a b='&lt;'/>"),
        ("application/octet-stream", &every_byte),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\xff\r\n--x--"),
        ("image/png", b"\x89PNG\r\n\x1a\n\0"),
    ];
    let media_types = cases.map(|(media_type, _)| media_type.split(';').next().unwrap());
    let operation = accepting(&media_types[..], json!({}));
    for (media_type, body) in cases {
        through_every_service(&operation, &[("content-type", media_type)], body, |service, answer, stored| {
            assert_eq!(answer.status, 202, "{service} {media_type}: {}", answer.body);
            assert_eq!(stored[0].payload(), body, "{service} {media_type}");
            assert_eq!(stored[0].content_type(), Some(media_type), "{service}");
        })
        .await;
    }
}
