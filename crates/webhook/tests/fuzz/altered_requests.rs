//! Altered requests: one that is accepted has the signed bytes of the original.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;
use sluicegate_webhook::{Algorithm, Assurance, Scheme};

use super::run::Target;
use super::valid::{self, Parts, Valid};

/// A change of a text.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Double(Index, Index),
}

impl Edit {
    fn apply(&self, text: &mut Vec<u8>) {
        let length = text.len();
        let at = |index: &Index| if length == 0 { 0 } else { index.index(length) };
        match self {
            Self::Insert(index, bytes) => drop(text.splice(at(index)..at(index), bytes.clone())),
            _ if text.is_empty() => {}
            Self::Flip(index, bit) => text[at(index)] ^= 1 << (bit % 8),
            Self::Set(index, byte) => text[at(index)] = *byte,
            Self::Remove(index) => drop(text.remove(at(index))),
            Self::Double(from, to) => {
                let (from, to) = (at(from), at(to));
                let part = text[from.min(to)..=from.max(to)].to_vec();
                text.splice(to..to, part);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let tokens = [",", ";", "=", " ", "\t", "\"", ":", "v1,", "t=", "&", "%41", "\\u00e9", "{", "(", ";alg=\"a\""];
    let parts = (0..10_u8, any::<Index>(), any::<Index>(), any::<u8>(), proptest::sample::select(tokens.to_vec()));
    parts.prop_map(|(kind, at, other, byte, token)| match kind {
        0..=2 => Edit::Flip(at, byte),
        3..=4 => Edit::Set(at, byte),
        5 => Edit::Insert(at, vec![byte]),
        6 => Edit::Insert(at, token.as_bytes().to_vec()),
        7..=8 => Edit::Remove(at),
        _ => Edit::Double(at, other),
    })
}

/// A change of a request.
#[derive(Clone, Debug)]
enum Alteration {
    Body(Vec<Edit>),
    Header(Index, Vec<Edit>),
    Url(Vec<Edit>),
    Method(Vec<Edit>),
    DropHeader(Index),
    RepeatHeader(Index, Vec<Edit>),
    SwapHeaders(Index, Index),
}

impl Alteration {
    fn apply(&self, parts: &mut Parts) {
        let edit = |text: &mut Vec<u8>, edits: &[Edit]| edits.iter().for_each(|edit| edit.apply(text));
        let edit_text = |text: &mut String, edits: &[Edit]| {
            let mut bytes = std::mem::take(text).into_bytes();
            edit(&mut bytes, edits);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        };
        match self {
            Self::Body(edits) => edit(&mut parts.body, edits),
            Self::Url(edits) => edit_text(&mut parts.url, edits),
            Self::Method(edits) => edit_text(&mut parts.method, edits),
            _ if parts.headers.is_empty() => {}
            Self::Header(at, edits) => edit(&mut at.get_mut(&mut parts.headers).1, edits),
            Self::DropHeader(at) => drop(parts.headers.remove(at.index(parts.headers.len()))),
            Self::RepeatHeader(at, edits) => {
                let (name, mut value) = at.get(&parts.headers).clone();
                edit(&mut value, edits);
                parts.headers.push((name, value));
            }
            Self::SwapHeaders(a, b) => {
                let (a, b) = (a.index(parts.headers.len()), b.index(parts.headers.len()));
                let value = parts.headers[a].1.clone();
                parts.headers[a].1 = std::mem::replace(&mut parts.headers[b].1, value);
            }
        }
    }
}

fn alteration() -> impl Strategy<Value = Alteration> {
    let parts = (0..12_u8, any::<Index>(), any::<Index>(), proptest::collection::vec(edit(), 1..3));
    parts.prop_map(|(kind, at, other, mut edits)| match kind {
        0..=2 => Alteration::Body(edits),
        3..=6 => Alteration::Header(at, edits),
        7 => Alteration::Url(edits),
        8 => Alteration::Method(edits),
        9 => Alteration::DropHeader(at),
        10 => Alteration::RepeatHeader(at, edits.split_off(1)),
        _ => Alteration::SwapHeaders(at, other),
    })
}

/// Returns what must be as in the original: one of the signed texts, or the token that is sent.
fn protected(scheme: &Scheme, parts: &Parts) -> Option<Vec<Vec<u8>>> {
    let headers = parts.headers()?;
    if scheme.algorithm == Algorithm::Token
        && let Some(pointer) = &scheme.signature.body
    {
        let document: Value = serde_json::from_slice(&parts.body).ok()?;
        let items = match &scheme.each {
            Some(list) => document.pointer(list)?.as_array()?.clone(),
            None => vec![document],
        };
        let tokens = items.iter().map(|item| Some(item.pointer(pointer)?.as_str()?.as_bytes().to_vec()));
        return tokens.collect();
    }
    if scheme.algorithm == Algorithm::Token {
        let values = scheme.signature.header.iter().filter_map(|name| headers.get(name));
        return Some(values.map(|value| value.as_bytes().to_vec()).collect());
    }
    scheme.signed_texts(&parts.request(&headers)).ok()
}

/// Returns whether two bodies can have one signed text: a form is read before it is signed, and characters are escaped.
fn reads_body(scheme: &Scheme) -> bool {
    let written = serde_json::to_string(&scheme.signed).unwrap();
    written.contains("{form}") || written.contains("{body.escaped}")
}

fn check(original: &Valid, alterations: &[Alteration]) -> TestCaseResult {
    let Valid { name, scheme, secrets, now_unix_s, .. } = original;
    let mut parts = original.parts.clone();
    alterations.iter().for_each(|alteration| alteration.apply(&mut parts));
    let Some(headers) = parts.headers() else { return Ok(()) };
    let request = parts.request(&headers);
    // Neither may panic, whatever the result.
    let texts = scheme.signed_texts(&request);
    let handshakes = scheme.handshakes.iter().filter(|handshake| handshake.is(&request));
    handshakes.for_each(|handshake| drop(handshake.answer(&request, secrets)));
    if scheme.verify(&request, secrets, *now_unix_s).is_err() {
        return Ok(());
    }
    // A token binds the body alone.
    if scheme.signature.claim.is_none() {
        prop_assert!(texts.is_ok(), "{name}: {texts:?}");
        let (before, after) = (protected(scheme, &original.parts).unwrap(), protected(scheme, &parts).unwrap());
        prop_assert!(after.iter().any(|text| before.contains(text)), "{name}: accepted another signed text");
    }
    if scheme.assurance == Assurance::Signed && !reads_body(scheme) {
        prop_assert!(parts.body == original.parts.body, "{name}: accepted another body");
    }
    Ok(())
}

pub(crate) fn altered_requests() -> Target {
    let valid = valid::requests();
    assert!(valid.len() > 100, "{}", valid.len());
    // What is accepted unaltered makes every check above meaningful.
    for request in &valid {
        let headers = request.parts.headers().unwrap();
        let verified = request.scheme.verify(&request.parts.request(&headers), &request.secrets, request.now_unix_s);
        assert!(verified.is_ok(), "{}: {verified:?}", request.name);
    }
    let strategy = (any::<Index>(), proptest::collection::vec(alteration(), 1..3));
    Target::new(strategy, move |(at, alterations)| check(at.get(&valid), &alterations))
}
