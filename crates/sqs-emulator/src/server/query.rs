//! The AWS Query protocol: forms with `Action=…` in, XML out. It was the only protocol of SQS until 2023, and is still
//! the only one of STS.
//!
//! A form becomes the JSON input of the same action and a JSON output becomes XML, so both protocols share the engine.
//! Names are those of the API's version 2012-11-05, with flattened lists (`AttributeName.1`) and maps
//! (`Attribute.1.Name`, `Attribute.1.Value`).
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests.html>

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorKind};

/// Largest number of fields of one form. A full batch with ten attributes per message has about 400.
const FIELDS_MAX: usize = 5_000;
/// Largest number of segments of a field's name:
/// `SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringListValue.1` has seven.
const SEGMENTS_MAX: usize = 8;

const SQS_NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Actions without a result.
const WITHOUT_RESULT: [&str; 9] = [
    "AddPermission",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "DeleteQueue",
    "PurgeQueue",
    "RemovePermission",
    "SetQueueAttributes",
    "TagQueue",
    "UntagQueue",
];

/// A request of the Query protocol.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    /// `Action`.
    pub(super) action: String,
    /// The action's input as in AWS JSON.
    pub(super) input: Value,
}

/// Returns whether this form is a request of the Query protocol.
pub(super) fn is_query(form: &[u8]) -> bool {
    const FIELD: &[u8] = b"&Action=";
    form.starts_with(&FIELD[1..]) || form.windows(FIELD.len()).any(|window| window == FIELD)
}

/// Reads a request from the URL's query and the body; a field of the body takes precedence.
///
/// # Errors
/// `MalformedQueryString` for a form that cannot be read, `InvalidParameterValue` for a malformed number,
/// `MissingParameter` without an action.
pub(super) fn read(url_query: &str, body: &[u8]) -> Result<Query, ApiError> {
    let body = std::str::from_utf8(body).map_err(|_| malformed("the form is not UTF-8"))?;
    let mut tree = Map::new();
    let fields =
        [url_query, body].into_iter().flat_map(|form| form.split('&')).filter(|field| !field.trim().is_empty());
    for (index, field) in fields.enumerate() {
        if index >= FIELDS_MAX {
            return Err(malformed(&format!("more than {FIELDS_MAX} fields")));
        }
        let (name, value) = field.trim().split_once('=').unwrap_or((field, ""));
        put(&mut tree, &decode(name)?, decode(value)?)?;
    }
    let action = tree.remove("Action").and_then(|action| action.as_str().map(str::to_owned));
    let action = action.ok_or_else(|| ApiError::missing("Action"))?;
    Ok(Query { action, input: Value::Object(input_of(tree)?) })
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| malformed("a value is not UTF-8"))
}

/// Inserts a value at the path of its name: `A.1.B` is the member `B` of the member `1` of `A`.
fn put(tree: &mut Map<String, Value>, name: &str, value: String) -> Result<(), ApiError> {
    let mut segments: Vec<&str> = name.split('.').take(SEGMENTS_MAX + 1).collect();
    let last = segments.pop().unwrap_or_default();
    if segments.len() >= SEGMENTS_MAX {
        return Err(malformed(&format!("a name with more than {SEGMENTS_MAX} segments")));
    }
    let mut place = tree;
    for segment in segments {
        let member = place.entry(segment).or_insert_with(|| Map::new().into());
        if !member.is_object() {
            *member = Map::new().into();
        }
        let Some(members) = member.as_object_mut() else { return Err(malformed("a name that also has a value")) };
        place = members;
    }
    place.insert(last.to_owned(), value.into());
    Ok(())
}

/// Returns a structure's members with the names and types of AWS JSON.
fn input_of(members: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let mut input = Map::new();
    for (name, value) in members {
        let (name, value) = match name.as_str() {
            "Attribute" => ("Attributes", map(value, "Name", Ok)?),
            "Tag" | "Tags" => ("Tags", map(value, "Key", Ok)?),
            "MessageAttribute" => ("MessageAttributes", map(value, "Name", structure)?),
            "MessageSystemAttribute" => ("MessageSystemAttributes", map(value, "Name", structure)?),
            "AttributeName" | "AttributeNames" => ("AttributeNames", list(value, Ok)?),
            "MessageAttributeName" | "MessageAttributeNames" => ("MessageAttributeNames", list(value, Ok)?),
            "MessageSystemAttributeName" | "MessageSystemAttributeNames" => {
                ("MessageSystemAttributeNames", list(value, Ok)?)
            }
            "TagKey" | "TagKeys" => ("TagKeys", list(value, Ok)?),
            "StringListValue" => ("StringListValues", list(value, Ok)?),
            "BinaryListValue" => ("BinaryListValues", list(value, Ok)?),
            // boto3 sends an empty list under the member's name.
            "Entries"
            | "SendMessageBatchRequestEntry"
            | "DeleteMessageBatchRequestEntry"
            | "ChangeMessageVisibilityBatchRequestEntry" => ("Entries", list(value, structure)?),
            "DelaySeconds"
            | "MaxNumberOfMessages"
            | "MaxNumberOfMessagesPerSecond"
            | "MaxResults"
            | "VisibilityTimeout"
            | "WaitTimeSeconds" => (name.as_str(), number(&name, &value)?),
            _ => (name.as_str(), value),
        };
        input.insert(name.to_owned(), value);
    }
    Ok(input)
}

fn structure(value: Value) -> Result<Value, ApiError> {
    match value {
        Value::Object(members) => input_of(members).map(Value::Object),
        other => Ok(other),
    }
}

/// Returns the members `1`, `2`, … in the order of their numbers; a value without a number is a list of one, or empty.
fn list(value: Value, item: impl Fn(Value) -> Result<Value, ApiError>) -> Result<Value, ApiError> {
    let members = match value {
        Value::Object(members) => members,
        Value::String(text) if text.is_empty() => return Ok(Value::Array(Vec::new())),
        single => return Ok(Value::Array(vec![item(single)?])),
    };
    let mut numbered = Vec::with_capacity(members.len());
    for (number, value) in members {
        let number: u32 = number.parse().map_err(|_| malformed(&format!("{number:?} is not a number")))?;
        numbered.push((number, item(value)?));
    }
    numbered.sort_by_key(|(number, _)| *number);
    Ok(numbered.into_iter().map(|(_, value)| value).collect())
}

/// Returns the map of a list of entries with a key and a value.
fn map(value: Value, key: &str, item: impl Fn(Value) -> Result<Value, ApiError>) -> Result<Value, ApiError> {
    let Value::Array(entries) = list(value, Ok)? else { return Ok(Value::Null) };
    let mut members = Map::new();
    for mut entry in entries {
        let Some(name) = entry[key].as_str().map(str::to_owned) else { return Err(ApiError::missing(key)) };
        let value = entry.get_mut("Value").map_or_else(|| "".into(), Value::take);
        members.insert(name, item(value)?);
    }
    Ok(members.into())
}

fn number(name: &str, value: &Value) -> Result<Value, ApiError> {
    let text = value.as_str().unwrap_or_default();
    let number: i64 = text.parse().map_err(|_| {
        ApiError::invalid_parameter(format!(
            "Value {text} for parameter {name} is invalid. Reason: Must be an integer."
        ))
    })?;
    Ok(number.into())
}

fn malformed(what: &str) -> ApiError {
    ApiError::new(ErrorKind::MalformedQueryString, format!("The query string contains a syntax error: {what}."))
}

/// Returns the answer to an action.
pub(super) fn answer(action: &str, output: &Value, request_id: &str) -> String {
    let namespace = if action == "GetCallerIdentity" { STS_NAMESPACE } else { SQS_NAMESPACE };
    let mut xml = format!("<?xml version=\"1.0\"?><{action}Response xmlns=\"{namespace}\">");
    if !WITHOUT_RESULT.contains(&action) {
        let members = output.as_object().into_iter().flatten();
        within(&mut xml, &format!("{action}Result"), |xml| {
            members.for_each(|(name, value)| member(xml, action, name, value))
        });
    }
    within(&mut xml, "ResponseMetadata", |xml| text(xml, "RequestId", request_id));
    xml.push_str(&format!("</{action}Response>"));
    xml
}

/// Returns the answer to a refused request.
pub(super) fn refusal(error: &ApiError, request_id: &str) -> String {
    // Two errors differ in code or text from AWS JSON.
    let code = if error.is(ErrorKind::UnknownOperation) { "InvalidAction" } else { error.legacy_code() };
    let message = if error.is(ErrorKind::QueueDoesNotExist) {
        "The specified queue does not exist for this wsdl version."
    } else {
        error.message()
    };
    let mut xml = format!("<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{SQS_NAMESPACE}\">");
    within(&mut xml, "Error", |xml| {
        text(xml, "Type", if error.sender_fault() { "Sender" } else { "Receiver" });
        text(xml, "Code", code);
        text(xml, "Message", message);
        xml.push_str("<Detail/>");
    });
    text(&mut xml, "RequestId", request_id);
    xml.push_str("</ErrorResponse>");
    xml
}

/// Writes a member of an output; lists and maps are one element for each entry.
fn member(xml: &mut String, action: &str, name: &str, value: &Value) {
    let entry_of_batch = format!("{action}ResultEntry");
    match (name, value) {
        ("Attributes", Value::Object(entries)) => entries.iter().for_each(|each| entry(xml, "Attribute", "Name", each)),
        ("MessageAttributes", Value::Object(entries)) => {
            entries.iter().for_each(|each| entry(xml, "MessageAttribute", "Name", each));
        }
        ("Tags", Value::Object(entries)) => entries.iter().for_each(|each| entry(xml, "Tag", "Key", each)),
        (_, Value::Array(items)) => {
            let element = match name {
                "QueueUrls" | "queueUrls" => "QueueUrl",
                "Messages" => "Message",
                "Failed" => "BatchResultErrorEntry",
                // `Successful` of the batches and `Results` of ListMessageMoveTasks.
                _ => &entry_of_batch,
            };
            items.iter().for_each(|item| element_of(xml, element, item));
        }
        _ => element_of(xml, name, value),
    }
}

fn entry(xml: &mut String, element: &str, key: &str, (name, value): (&String, &Value)) {
    within(xml, element, |xml| {
        text(xml, key, name);
        element_of(xml, "Value", value);
    });
}

fn element_of(xml: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            within(xml, name, |xml| members.iter().for_each(|(name, value)| member(xml, "", name, value)));
        }
        Value::String(value) => text(xml, name, value),
        other => text(xml, name, &other.to_string()),
    }
}

fn within(xml: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    for part in ["<", name, ">"] {
        xml.push_str(part);
    }
    let start = xml.len();
    content(xml);
    if xml.len() == start {
        xml.truncate(start - 1);
        return xml.push_str("/>");
    }
    for part in ["</", name, ">"] {
        xml.push_str(part);
    }
}

/// Writes an element with text. Characters that XML excludes, such as control characters, become U+FFFD.
fn text(xml: &mut String, name: &str, value: &str) {
    within(xml, name, |xml| {
        for c in value.chars() {
            match c {
                '&' => xml.push_str("&amp;"),
                '<' => xml.push_str("&lt;"),
                '>' => xml.push_str("&gt;"),
                '"' => xml.push_str("&quot;"),
                // A parser would convert it to a line feed.
                '\r' => xml.push_str("&#xD;"),
                '\t' | '\n' | '\u{20}'..='\u{FFFD}' | '\u{10000}'.. => xml.push(c),
                _ => xml.push(char::REPLACEMENT_CHARACTER),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_become_the_input_of_aws_json() {
        for (form, input) in [
            ("Version=2012-11-05&QueueName=a+b%2Bc", json!({ "QueueName": "a b+c", "Version": "2012-11-05" })),
            ("MessageBody=%F0%9F%98%80%0D%0A%26", json!({ "MessageBody": "😀\r\n&" })),
            ("DelaySeconds=5&MaxNumberOfMessages=-1", json!({ "DelaySeconds": 5, "MaxNumberOfMessages": -1 })),
            (
                "Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=5&Attribute.2.Name=Policy&Attribute.2.Value=",
                json!({ "Attributes": { "VisibilityTimeout": "5", "Policy": "" } }),
            ),
            ("AttributeName.10=c&AttributeName.9=b&AttributeName.1=a", json!({ "AttributeNames": ["a", "b", "c"] })),
            ("AttributeNames=&Entries=&Attribute=", json!({ "AttributeNames": [], "Attributes": {}, "Entries": [] })),
            ("AttributeName=All", json!({ "AttributeNames": ["All"] })),
            ("MessageSystemAttributeName.1=All", json!({ "MessageSystemAttributeNames": ["All"] })),
            ("Tag.1.Key=a&Tag.1.Value=b&TagKey.1=c", json!({ "Tags": { "a": "b" }, "TagKeys": ["c"] })),
            ("Tags.1.Key=a&Tags.1.Value=b", json!({ "Tags": { "a": "b" } })),
            (
                "MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v",
                json!({ "MessageAttributes": { "n": { "DataType": "String", "StringValue": "v" } } }),
            ),
            (
                "SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.1.Id=a\
                 &SendMessageBatchRequestEntry.1.DelaySeconds=1\
                 &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
                 &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringListValue.1=s",
                json!({ "Entries": [
                    { "Id": "a", "DelaySeconds": 1, "MessageAttributes": { "n": { "StringListValues": ["s"] } } },
                    { "Id": "b" },
                ] }),
            ),
            ("A=1&A.B=2", json!({ "A": { "B": "2" } })),
            ("A.B=2&A=1", json!({ "A": "1" })),
            ("&&", json!({})),
        ] {
            let query = read("Action=Do", form.as_bytes()).unwrap_or_else(|error| panic!("{form}: {error}"));
            assert_eq!((query.action.as_str(), &query.input), ("Do", &input), "{form}");
        }
    }

    #[test]
    fn forms_that_cannot_be_read_are_refused() {
        let fields = "a=1&".repeat(FIELDS_MAX + 1);
        let deep = format!("a{}=1", ".b".repeat(SEGMENTS_MAX));
        for (form, code) in [
            ("QueueName=a", "MissingParameter"),
            ("Action.1=a", "MissingParameter"),
            ("Action=a&MessageBody=%FF", "MalformedQueryString"),
            ("Action=a&AttributeName.x=1", "MalformedQueryString"),
            ("Action=a&AttributeName.99999999999=1", "MalformedQueryString"),
            ("Action=a&Attribute.1.Value=1", "MissingParameter"),
            ("Action=a&Attribute=1", "MissingParameter"),
            ("Action=a&Attribute.1=1", "MissingParameter"),
            ("Action=a&DelaySeconds=soon", "InvalidParameterValue"),
            ("Action=a&DelaySeconds=", "InvalidParameterValue"),
            ("Action=a&DelaySeconds.1=1", "InvalidParameterValue"),
            (&fields, "MalformedQueryString"),
            (&deep, "MalformedQueryString"),
        ] {
            let code_of = |error: ApiError| error.legacy_code().to_owned();
            assert_eq!(read("", form.as_bytes()).map_err(code_of), Err(code.to_owned()), "{:.60}", form);
        }
        assert!(read("", b"Action=\xFF").is_err());
    }

    #[test]
    fn outputs_become_xml() {
        let envelope = |action: &str, result: &str| {
            format!(
                "<?xml version=\"1.0\"?><{action}Response xmlns=\"{SQS_NAMESPACE}\">{result}<ResponseMetadata>\
                 <RequestId>id</RequestId></ResponseMetadata></{action}Response>"
            )
        };
        for (action, output, result) in [
            ("DeleteQueue", json!({}), ""),
            ("ReceiveMessage", json!({}), "<ReceiveMessageResult/>"),
            (
                "ListQueues",
                json!({ "QueueUrls": ["a", "b"] }),
                "<ListQueuesResult><QueueUrl>a</QueueUrl><QueueUrl>b</QueueUrl></ListQueuesResult>",
            ),
            (
                "ReceiveMessage",
                json!({ "Messages": [{
                    "Attributes": { "SenderId": "s" },
                    "Body": "<&>\"\r\n😀\u{1}",
                    "MessageAttributes": { "n": { "DataType": "Binary", "BinaryValue": "AA==" } },
                }] }),
                "<ReceiveMessageResult><Message><Attribute><Name>SenderId</Name><Value>s</Value></Attribute>\
                 <Body>&lt;&amp;&gt;&quot;&#xD;\n😀\u{FFFD}</Body><MessageAttribute><Name>n</Name><Value>\
                 <BinaryValue>AA==</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute></Message>\
                 </ReceiveMessageResult>",
            ),
            (
                "SendMessageBatch",
                json!({ "Successful": [{ "Id": "a" }], "Failed": [{ "Id": "b", "SenderFault": true }] }),
                "<SendMessageBatchResult><BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault>\
                 </BatchResultErrorEntry><SendMessageBatchResultEntry><Id>a</Id></SendMessageBatchResultEntry>\
                 </SendMessageBatchResult>",
            ),
            (
                "ListMessageMoveTasks",
                json!({ "Results": [{ "StartedTimestamp": 1 }] }),
                "<ListMessageMoveTasksResult><ListMessageMoveTasksResultEntry><StartedTimestamp>1</StartedTimestamp>\
                 </ListMessageMoveTasksResultEntry></ListMessageMoveTasksResult>",
            ),
            (
                "ListQueueTags",
                json!({ "Tags": { "a": "b" } }),
                "<ListQueueTagsResult><Tag><Key>a</Key><Value>b</Value></Tag></ListQueueTagsResult>",
            ),
        ] {
            assert_eq!(answer(action, &output, "id"), envelope(action, result));
        }
    }
}
