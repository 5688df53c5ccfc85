//! Scalars by the core schema of YAML 1.2 (<https://yaml.org/spec/1.2.2/#103-core-schema>).

use serde_json::{Number, Value};

use crate::{Data, Dialect};

/// Reads a plain scalar, whose tag is absent.
///
/// # Errors
/// A number that JSON cannot write, in [`Dialect::Strict`].
pub(crate) fn plain(text: &str, dialect: Dialect) -> Result<Data, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Ok(Data::Null),
        "true" | "True" | "TRUE" => Ok(Data::Bool(true)),
        "false" | "False" | "FALSE" => Ok(Data::Bool(false)),
        _ if dialect == Dialect::CloudFormation => Ok(json_number(text).unwrap_or_else(|| Data::Text(text.to_owned()))),
        _ => number(text).unwrap_or_else(|| Ok(Data::Text(text.to_owned()))),
    }
}

/// Reads a plain scalar with a tag of YAML: `int` for `!!int`.
///
/// # Errors
/// The text is not of that kind, or the kind is unknown.
pub(crate) fn tagged(text: &str, kind: &str, dialect: Dialect) -> Result<Data, &'static str> {
    match (kind, plain(text, dialect)?) {
        ("str", _) => Ok(Data::Text(text.to_owned())),
        ("null", Data::Null) => Ok(Data::Null),
        ("bool", data @ Data::Bool(_)) | ("float", data @ Data::Number(_)) => Ok(data),
        ("int", Data::Number(number)) if !number.is_f64() => Ok(Data::Number(number)),
        _ => Err("the value does not fit its YAML tag"),
    }
}

/// Reads a number as JSON writes it. `007`, `1_000`, `0x10` and `.inf` remain text, as an account id must.
fn json_number(text: &str) -> Option<Data> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) => Some(Data::Number(number)),
        _ => None,
    }
}

fn number(text: &str) -> Option<Result<Data, &'static str>> {
    let radix = |digits: &str, radix| {
        let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_alphanumeric()))?;
        u64::from_str_radix(digits, radix).ok().map(Number::from)
    };
    let integer = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => radix(digits, 16),
        (_, Some(digits)) => radix(digits, 8),
        _ => text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok(),
    };
    if let Some(integer) = integer {
        return Some(Ok(Data::Number(integer)));
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    let float = match unsigned {
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => Some(f64::INFINITY),
        // Rust reads `inf` and `infinity` as numbers; YAML does not.
        _ if unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') => text.parse().ok(),
        _ => None,
    };
    float.map(|float| Number::from_f64(float).map(Data::Number).ok_or("JSON has no infinity and no NaN"))
}
