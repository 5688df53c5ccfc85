//! Lines, compared with those of tracing-subscriber's own JSON format.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::fmt::format::JsonFields;

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Returns the lines as JSON.
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Logs by this format and by tracing-subscriber's. Returns both.
fn logged(work: impl Fn()) -> (Vec<Value>, Vec<Value>) {
    let (ours, theirs) = (Written::default(), Written::default());
    let lines = || tracing_subscriber::fmt().with_target(false).without_time();
    let writer = ours.clone();
    let subscriber = lines().fmt_fields(JsonFields::new()).event_format(JsonLine).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), &work);
    let writer = theirs.clone();
    tracing::subscriber::with_default(lines().json().with_writer(move || writer.clone()).finish(), &work);
    (ours.lines(), theirs.lines())
}

#[test]
fn lines_have_the_members_of_tracing_subscribers_format() {
    let failure = io::Error::other("no \"disk\"\nleft");
    let (ours, theirs) = logged(|| {
        tracing::info!("plain");
        tracing::warn!(
            text = "a \"b\" \\ \u{1}\u{1f}\n\r\t\u{7f} é 🦀 \u{2028}",
            empty = "",
            "escaped \"{}\"",
            "\u{0}"
        );
        tracing::error!(error = %failure, debug = ?failure, source = &failure as &dyn std::error::Error);
        tracing::info!(yes = true, no = false, none = None::<u8>, some = Some(7), minus = -7, big = u64::MAX);
        tracing::info!(huge = u128::MAX, float = 0.039, whole = 2.0, tiny = 1e-7, nan = f64::NAN, "odd.name" = 1);
        let outer = tracing::info_span!("outer \"one\"", request = "r\"1\"");
        outer.in_scope(|| {
            tracing::info!("in one span");
            let inner = tracing::info_span!("inner", id = tracing::field::Empty);
            inner.in_scope(|| tracing::info!("in two spans, the inner one without fields"));
            inner.record("id", 7);
            tracing::info!(parent: &inner, "below another span");
        });
    });
    assert_eq!(ours.len(), theirs.len());
    for (ours, mut theirs) in ours.into_iter().zip(theirs) {
        if theirs["spans"].as_array().is_some_and(|spans| spans.len() == 1) {
            theirs.as_object_mut().unwrap().remove("spans");
        }
        if theirs["fields"]["message"] == "below another span" {
            // There the spans are those that are entered, which the span of the event is not.
            theirs["spans"] = ours["spans"].clone();
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn eight_bytes_at_a_time_are_checked_as_each_of_them() {
    for around in [b'a', b' ', 0x7f, 0x80, 0xff] {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut word = [around; 8];
                word[at] = byte;
                assert_eq!(has_escaped(word), is_escaped(byte), "{word:?}");
            }
        }
    }
}
