//! One pattern: its syntax and its matching.

use serde_json::{Map, Value};

/// A place in the pattern and the rule broken there.
type PatternFault = (String, String);

/// The fields of a pattern's object; all must match.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    fields: Vec<(String, Test)>,
    /// `$or`: one of these must match too.
    either: Option<Vec<Fields>>,
}

#[derive(Debug, Clone)]
enum Test {
    Nested(Fields),
    /// One of these must match.
    Values(Vec<Matcher>),
}

#[derive(Debug, Clone)]
enum Matcher {
    Equals(Value),
    EqualsIgnoreCase(String),
    Prefix(String),
    Suffix(String),
    NoneOf(Vec<Value>),
    NotPrefix(String),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Fields {
    pub(super) fn parse(pattern: &Value, path: &str) -> Result<Fields, PatternFault> {
        let object = pattern.as_object().ok_or_else(|| fault(path, "must be an object"))?;
        if object.is_empty() {
            return Err(fault(path, "must not be empty"));
        }
        let mut parsed = Fields { fields: Vec::new(), either: None };
        for (name, value) in object {
            let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            match (name.as_str(), value) {
                ("$or", Value::Array(choices)) if choices.len() >= 2 => {
                    let choice = |(i, choice)| Fields::parse(choice, &format!("{path}/{i}"));
                    parsed.either = Some(choices.iter().enumerate().map(choice).collect::<Result<_, _>>()?);
                }
                ("$or", _) => return Err(fault(&path, "must be an array of at least two patterns")),
                (_, Value::Object(_)) => {
                    parsed.fields.push((name.clone(), Test::Nested(Fields::parse(value, &path)?)));
                }
                (_, Value::Array(values)) if !values.is_empty() => {
                    let matcher = |(i, value)| Matcher::parse(value, &format!("{path}/{i}"));
                    let values = values.iter().enumerate().map(matcher).collect::<Result<_, _>>()?;
                    parsed.fields.push((name.clone(), Test::Values(values)));
                }
                _ => return Err(fault(&path, "must be an object or a non-empty array")),
            }
        }
        Ok(parsed)
    }

    /// Returns whether `value` matches; `None` means that the event has no such field.
    fn matches(&self, value: Option<&Value>) -> bool {
        // A pattern on an array is a pattern on its elements.
        if let Some(Value::Array(elements)) = value {
            return elements.iter().any(|element| self.matches(Some(element)));
        }
        let test = |(name, test): &(String, Test)| test.matches(value.and_then(|value| value.get(name)));
        self.fields.iter().all(test)
            && self.either.iter().all(|either| either.iter().any(|fields| fields.matches(value)))
    }
}

impl Test {
    fn matches(&self, value: Option<&Value>) -> bool {
        match self {
            Test::Nested(fields) => fields.matches(value),
            Test::Values(matchers) => matchers.iter().any(|matcher| matcher.matches(value)),
        }
    }
}

impl Matcher {
    fn parse(value: &Value, path: &str) -> Result<Matcher, PatternFault> {
        match value {
            Value::Array(_) => Err(fault(path, "must not be an array")),
            Value::Object(operator) => Matcher::operator(operator, path),
            scalar => Ok(Matcher::Equals(scalar.clone())),
        }
    }

    fn operator(operator: &Map<String, Value>, path: &str) -> Result<Matcher, PatternFault> {
        let mut members = operator.iter();
        let (Some((name, operand)), None) = (members.next(), members.next()) else {
            return Err(fault(path, "must have exactly one operator"));
        };
        let path = format!("{path}/{name}");
        let text =
            |operand: &Value| operand.as_str().map(str::to_owned).ok_or_else(|| fault(&path, "must be a string"));
        match (name.as_str(), operand) {
            ("prefix", operand) => text(operand).map(Matcher::Prefix),
            ("suffix", operand) => text(operand).map(Matcher::Suffix),
            ("equals-ignore-case", operand) => text(operand).map(|text| Matcher::EqualsIgnoreCase(text.to_lowercase())),
            ("exists", Value::Bool(wanted)) => Ok(Matcher::Exists(*wanted)),
            ("exists", _) => Err(fault(&path, "must be true or false")),
            ("anything-but", Value::Object(inner)) => match (inner.len(), inner.get("prefix")) {
                (1, Some(prefix)) => text(prefix).map(Matcher::NotPrefix),
                _ => Err(fault(&path, "must be values or {\"prefix\": …}")),
            },
            ("anything-but", Value::Array(values)) => {
                let scalars = values.iter().all(|value| value.is_string() || value.is_number());
                let fine = scalars && !values.is_empty();
                fine.then(|| Matcher::NoneOf(values.clone()))
                    .ok_or_else(|| fault(&path, "must list strings or numbers"))
            }
            ("anything-but", scalar) => Ok(Matcher::NoneOf(vec![scalar.clone()])),
            ("numeric", Value::Array(terms)) => numeric(terms)
                .map(Matcher::Numeric)
                .ok_or_else(|| fault(&path, "must be like [\">\", 0] or [\">\", 0, \"<=\", 5]")),
            ("numeric", _) => Err(fault(&path, "must be an array")),
            _ => Err(fault(&path, "is not an operator")),
        }
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return matches!(self, Matcher::Exists(false)) };
        if let Value::Array(elements) = value {
            return match self {
                Matcher::Exists(wanted) => *wanted != elements.is_empty(),
                _ => elements.iter().any(|element| self.matches(Some(element))),
            };
        }
        let text = |test: &dyn Fn(&str) -> bool| value.as_str().is_some_and(test);
        match self {
            Matcher::Equals(wanted) => equal(wanted, value),
            Matcher::EqualsIgnoreCase(wanted) => text(&|text| text.to_lowercase() == *wanted),
            Matcher::Prefix(prefix) => text(&|text| text.starts_with(prefix.as_str())),
            Matcher::Suffix(suffix) => text(&|text| text.ends_with(suffix.as_str())),
            Matcher::NoneOf(unwanted) => !value.is_object() && !unwanted.iter().any(|unwanted| equal(unwanted, value)),
            Matcher::NotPrefix(prefix) => text(&|text| !text.starts_with(prefix.as_str())),
            Matcher::Numeric(terms) => value
                .as_f64()
                .is_some_and(|number| terms.iter().all(|(comparison, limit)| comparison.holds(number, *limit))),
            // `exists` applies to leaf values only; an object is not one.
            Matcher::Exists(wanted) => *wanted != value.is_object(),
        }
    }
}

impl Comparison {
    fn parse(operator: &str) -> Option<Comparison> {
        Some(match operator {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    fn holds(self, number: f64, limit: f64) -> bool {
        match self {
            Comparison::Equal => number == limit,
            Comparison::Less => number < limit,
            Comparison::LessOrEqual => number <= limit,
            Comparison::Greater => number > limit,
            Comparison::GreaterOrEqual => number >= limit,
        }
    }
}

/// Parses one comparison, or a lower and an upper bound.
fn numeric(terms: &[Value]) -> Option<Vec<(Comparison, f64)>> {
    if !matches!(terms.len(), 2 | 4) {
        return None;
    }
    let term = |term: &[Value]| Some((Comparison::parse(term.first()?.as_str()?)?, term.get(1)?.as_f64()?));
    terms.chunks(2).map(term).collect()
}

/// Numbers are equal by value: `300` and `3e2` are the same.
fn equal(wanted: &Value, value: &Value) -> bool {
    match (wanted.as_f64(), value.as_f64()) {
        (Some(wanted), Some(value)) => wanted == value,
        _ => wanted == value,
    }
}

fn fault(path: &str, reason: &str) -> PatternFault {
    (path.to_owned(), reason.to_owned())
}

/// A record with its content as text and, if possible, as JSON.
pub(super) struct Subject<'a> {
    record: &'a Value,
    /// The field that holds the content.
    content: &'static str,
    as_json: Option<Value>,
}

impl Subject<'_> {
    pub(super) fn of<'a>(record: &'a Value, content: &'static str, bytes: &[u8]) -> Subject<'a> {
        Subject { record, content, as_json: serde_json::from_slice(bytes).ok() }
    }

    pub(super) fn matches(&self, pattern: &Fields) -> bool {
        let fields = pattern.fields.iter().all(|(name, test)| match (name == self.content, test, &self.as_json) {
            (true, Test::Nested(fields), Some(json)) => fields.matches(Some(json)),
            // The formats differ: JSON pattern and plain text, or the reverse.
            (true, Test::Nested(_), None) | (true, Test::Values(_), Some(_)) => false,
            _ => test.matches(self.record.get(name)),
        });
        fields && pattern.either.iter().all(|either| either.iter().any(|pattern| self.matches(pattern)))
    }
}
