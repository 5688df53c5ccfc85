//! Parameters: the value of `Ref`, and which values CloudFormation refuses.

use serde_json::Value;

/// Returns whether the parameter is given the name of a value in Systems Manager.
pub fn is_stored(parameter: &Value) -> bool {
    parameter["Type"].as_str().is_some_and(|kind| kind.starts_with("AWS::SSM::"))
}

/// Returns the value of `Ref` for a parameter with this value: text, or a list of texts.
pub fn parameter_value(parameter: &Value, value: &Value) -> Value {
    match parameter["Type"].as_str() {
        Some(list) if list == "CommaDelimitedList" || list.starts_with("List<") => {
            written(value).split(',').map(|item| Value::from(item.trim())).collect()
        }
        _ => Value::from(written(value)),
    }
}

/// Returns a scalar as it is written, and a list as text with commas, as a nested stack receives it.
pub(crate) fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(written).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Returns why CloudFormation refuses a parameter's value, without the value if it is secret (`NoEcho`).
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html>
#[must_use]
pub fn refusal(parameter: &Value, value: &Value) -> Option<String> {
    let values: Vec<String> = match parameter_value(parameter, value) {
        Value::Array(items) => items.iter().map(written).collect(),
        single => vec![written(&single)],
    };
    let allowed = parameter["AllowedValues"].as_array();
    let allowed: Option<Vec<String>> = allowed.map(|allowed| allowed.iter().map(written).collect());
    let limit = |name: &str| written(&parameter[name]).parse::<f64>().ok();
    let is_number = matches!(parameter["Type"].as_str(), Some("Number" | "List<Number>"));
    let is_secret = written(&parameter["NoEcho"]).eq_ignore_ascii_case("true");
    let pattern = parameter["AllowedPattern"].as_str();
    // CloudFormation reads Java's expressions. A pattern that this reader does not support is not checked.
    let pattern = pattern.and_then(|pattern| Some((pattern, regex::Regex::new(&format!("^(?:{pattern})$")).ok()?)));
    values.iter().find_map(|value| {
        let shown = if is_secret { "a value" } else { value };
        if let Some(allowed) = allowed.as_ref().filter(|allowed| !allowed.contains(value)) {
            return Some(format!("is {shown}, and AllowedValues are {}", allowed.join(", ")));
        }
        if let Some((pattern, _)) = pattern.as_ref().filter(|(_, compiled)| !compiled.is_match(value)) {
            return Some(format!("is {shown}, which does not match AllowedPattern {pattern}"));
        }
        // A number is compared as one, a text by its length.
        let (measure, least, most) = match is_number {
            true => (value.trim().parse::<f64>().ok(), limit("MinValue"), limit("MaxValue")),
            false => (Some(value.chars().count() as f64), limit("MinLength"), limit("MaxLength")),
        };
        let unit = if is_number { "" } else { " characters" };
        match (measure, least, most) {
            (None, ..) => Some(format!("is {shown}, which is not a number")),
            (Some(measure), Some(least), _) if measure < least => {
                Some(format!("has {measure}{unit}, and at least {least}{unit} are needed"))
            }
            (Some(measure), _, Some(most)) if measure > most => {
                Some(format!("has {measure}{unit}, and at most {most}{unit} are allowed"))
            }
            _ => None,
        }
    })
}
