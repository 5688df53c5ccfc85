//! Queues: names, attributes, tags, lists, purge, delete.

use super::*;

#[tokio::test(start_paused = true)]
async fn creating_a_queue_again_returns_it_unless_attributes_differ() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "5" })).await;
    assert_eq!(url, "http://127.0.0.1:4566/000000000000/q");
    let create = |name: &str, attributes: Value| json!({ "QueueName": name, "Attributes": attributes });
    let bad_name = "InvalidParameterValueException";
    for (name, attributes, error) in [
        ("q", json!({}), ""),
        ("q", json!({ "VisibilityTimeout": "5" }), ""),
        ("q", json!({ "VisibilityTimeout": "6" }), "QueueNameExists"),
        ("q", json!({ "VisibilityTimeout": "x" }), "InvalidAttributeValue"),
        ("new", json!({ "FifoQueue": "false" }), "InvalidAttributeName"),
        ("new", json!({ "ContentBasedDeduplication": "false" }), "InvalidAttributeName"),
        ("new", json!({ "DeduplicationScope": "queue" }), "InvalidAttributeName"),
        ("new", json!({ "FifoThroughputLimit": "perQueue" }), "InvalidAttributeName"),
        ("new", json!({ "MessageRetentionPeriod": "59" }), "InvalidAttributeValue"),
        ("new", json!({ "MessageRetentionPeriod": "60" }), ""),
        ("f.fifo", json!({ "FifoQueue": "true" }), ""),
        ("f.fifo", json!({ "FifoQueue": "true", "ContentBasedDeduplication": "true" }), "QueueNameExists"),
        ("g.fifo", json!({}), bad_name),
        ("g", json!({ "FifoQueue": "true" }), bad_name),
        ("", json!({}), bad_name),
        ("a b", json!({}), bad_name),
        (&"n".repeat(81), json!({}), bad_name),
        (&"n".repeat(80), json!({}), ""),
    ] {
        t.check("CreateQueue", create(name, attributes), error).await;
    }
    t.check("CreateQueue", json!({}), "MissingRequiredParameterException").await;
}

#[tokio::test(start_paused = true)]
async fn attributes_are_checked_all_or_none_and_reported() {
    let t = Fixture::new();
    t.queue("dlq", json!({})).await;
    t.queue("dlq.fifo", json!({})).await;
    let (url, fifo) = (t.queue("q", json!({})).await, t.queue("q.fifo", json!({})).await);
    let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    let redrive = |target: &str, count: Value| {
        json!({ "deadLetterTargetArn": arn(target), "maxReceiveCount": count }).to_string()
    };
    let (name, value, parameter) = ("InvalidAttributeName", "InvalidAttributeValue", "InvalidParameterValueException");
    for (url, attributes, error) in [
        (&url, json!({ "VisibilityTimeout": "43200" }), ""),
        (&url, json!({ "VisibilityTimeout": "43201" }), value),
        (&url, json!({ "VisibilityTimeout": "1", "DelaySeconds": "-1" }), value),
        (&url, json!({ "MaximumMessageSize": "1023" }), value),
        (&url, json!({ "MaximumMessageSize": "1048577" }), value),
        (&url, json!({ "MessageRetentionPeriod": "59" }), value),
        (&url, json!({ "ReceiveMessageWaitTimeSeconds": "21" }), value),
        (&url, json!({ "Nope": "1" }), name),
        (&url, json!({ "QueueArn": "x" }), name),
        (&url, json!({ "ContentBasedDeduplication": "true" }), name),
        (&url, json!({ "FifoQueue": "true" }), name),
        (&url, json!({ "FifoQueue": "false" }), name),
        (&fifo, json!({ "FifoQueue": "true" }), ""),
        (&fifo, json!({ "FifoQueue": "false" }), value),
        (&url, json!({ "KmsDataKeyReusePeriodSeconds": "59" }), value),
        (&url, json!({ "KmsDataKeyReusePeriodSeconds": "300" }), ""),
        (&fifo, json!({ "ContentBasedDeduplication": "maybe" }), value),
        (&fifo, json!({ "FifoThroughputLimit": "perMessageGroupId" }), value),
        (&fifo, json!({ "FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup" }), ""),
        (&url, json!({ "Policy": "{}" }), ""),
        (&url, json!({ "Policy": "[" }), value),
        // Recorded on AWS: a queue may be its own dead-letter queue.
        (&url, json!({ "RedrivePolicy": redrive("q", json!(3)) }), ""),
        (&url, json!({ "RedrivePolicy": redrive("dlq", json!(3)) }), ""),
        (&url, json!({ "RedrivePolicy": redrive("dlq", json!("4")) }), ""),
        (&url, json!({ "RedrivePolicy": redrive("dlq", json!(0)) }), parameter),
        (&url, json!({ "RedrivePolicy": redrive("dlq", json!(1001)) }), parameter),
        (&url, json!({ "RedrivePolicy": redrive("none", json!(3)) }), parameter),
        (&url, json!({ "RedrivePolicy": redrive("dlq.fifo", json!(3)) }), parameter),
        (&fifo, json!({ "RedrivePolicy": redrive("dlq", json!(3)) }), parameter),
        (&url, json!({ "RedrivePolicy": "{}" }), parameter),
        (&url, json!({ "RedrivePolicy": "x" }), parameter),
        (&url, json!({ "RedriveAllowPolicy": "{\"redrivePermission\":\"denyAll\"}" }), ""),
        (&url, json!({ "RedriveAllowPolicy": "{\"redrivePermission\":\"byQueue\"}" }), parameter),
        (&url, json!({ "RedriveAllowPolicy": "{\"redrivePermission\":\"some\"}" }), parameter),
    ] {
        t.check("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": attributes }), error).await;
    }
    let answer = t.call("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["All"] })).await;
    let shown = &answer["Attributes"];
    for (name, text) in [
        ("VisibilityTimeout", "43200"),
        ("MaximumMessageSize", "1048576"),
        ("MessageRetentionPeriod", "345600"),
        ("QueueArn", &arn("q")),
        ("RedrivePolicy", &redrive("dlq", json!(4))),
        ("RedriveAllowPolicy", "{\"redrivePermission\":\"denyAll\"}"),
        ("SqsManagedSseEnabled", "true"),
        ("CreatedTimestamp", "1700000000"),
    ] {
        assert_eq!(shown[name], text, "{name}");
    }
    assert_eq!((shown.get("FifoQueue"), shown.get("KmsDataKeyReusePeriodSeconds")), (None, None));
    let some = json!({ "QueueUrl": fifo, "AttributeNames": ["FifoQueue", "DeduplicationScope", "RedrivePolicy"] });
    let answer = t.call("GetQueueAttributes", some).await;
    assert_eq!(answer["Attributes"], json!({ "FifoQueue": "true", "DeduplicationScope": "messageGroup" }));
    t.check("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["Nope"] }), name).await;
    assert_eq!(t.call("GetQueueAttributes", json!({ "QueueUrl": url })).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn queues_are_found_by_name_and_by_the_end_of_any_url() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    assert_eq!(t.call("GetQueueUrl", json!({ "QueueName": "q" })).await["QueueUrl"], url);
    let missing = "QueueDoesNotExist";
    t.check("GetQueueUrl", json!({ "QueueName": "none" }), missing).await;
    t.check("GetQueueUrl", json!({ "QueueName": "q", "QueueOwnerAWSAccountId": "111122223333" }), missing).await;
    for (url, error) in [
        ("https://sqs.eu-west-1.amazonaws.com/000000000000/q", ""),
        ("http://localhost:1/queue/us-east-1/000000000000/q", ""),
        ("http://localhost:1/000000000000/none", missing),
        ("http://localhost:1/111122223333/q", missing),
        ("q", ""),
        ("none", missing),
        ("/", "InvalidAddress"),
        ("", "MissingRequiredParameterException"),
    ] {
        t.check("SendMessage", json!({ "QueueUrl": url, "MessageBody": "m" }), error).await;
    }
    t.sqs.set_base_url("http://127.0.0.1:9/");
    assert_eq!(
        t.call("GetQueueUrl", json!({ "QueueName": "q" })).await["QueueUrl"],
        "http://127.0.0.1:9/000000000000/q"
    );
}

#[tokio::test(start_paused = true)]
async fn lists_filter_by_prefix_and_have_pages() {
    let t = Fixture::new();
    for name in ["a1", "a2", "a3", "b1"] {
        t.queue(name, json!({})).await;
    }
    let names = |answer: &Value| -> Vec<String> {
        let urls = answer["QueueUrls"].as_array().unwrap();
        urls.iter().map(|url| url.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    let all = t.call("ListQueues", json!({})).await;
    assert_eq!((names(&all).len(), all.get("NextToken")), (4, None));
    let first = t.call("ListQueues", json!({ "QueueNamePrefix": "a", "MaxResults": 2 })).await;
    assert_eq!(names(&first), ["a1", "a2"]);
    let next = json!({ "QueueNamePrefix": "a", "MaxResults": 2, "NextToken": first["NextToken"] });
    let second = t.call("ListQueues", next).await;
    assert_eq!((names(&second), second.get("NextToken")), (vec!["a3".to_owned()], None));
    assert_eq!(t.call("ListQueues", json!({ "QueueNamePrefix": "none" })).await, json!({}));
    t.check("ListQueues", json!({ "MaxResults": 0 }), "InvalidParameterValueException").await;
    t.check("ListQueues", json!({ "NextToken": "?" }), "InvalidParameterValueException").await;
}

#[tokio::test(start_paused = true)]
async fn tags_are_added_listed_and_removed() {
    let t = Fixture::new();
    let created = t.call("CreateQueue", json!({ "QueueName": "q", "tags": { "a": "1" } })).await;
    let url = &created["QueueUrl"];
    t.call("TagQueue", json!({ "QueueUrl": url, "Tags": { "b": "2", "c": "3" } })).await;
    t.call("UntagQueue", json!({ "QueueUrl": url, "TagKeys": ["a", "c", "none"] })).await;
    assert_eq!(t.call("ListQueueTags", json!({ "QueueUrl": url })).await, json!({ "Tags": { "b": "2" } }));
    let many: Value = (0..50).map(|i| (format!("t{i}"), json!("x"))).collect();
    t.check("TagQueue", json!({ "QueueUrl": url, "Tags": many }), "InvalidParameterValueException").await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_empties_and_may_be_repeated_after_a_minute() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    t.send(&url, "a").await;
    let in_flight = t.receive(&url).await;
    t.send(&url, "b").await;
    t.call("PurgeQueue", json!({ "QueueUrl": url })).await;
    assert_eq!(t.counts(&url).await, "0/0/0");
    t.delete(&url, &in_flight[0]).await;
    advance_s(59).await;
    t.check("PurgeQueue", json!({ "QueueUrl": url }), "PurgeQueueInProgress").await;
    advance_s(1).await;
    t.check("PurgeQueue", json!({ "QueueUrl": url }), "").await;
    assert_eq!(t.events(), ["sent a q", "received a 1", "sent b q", "purged a", "purged b"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_queue_is_gone_and_its_handles_do_not_work_on_a_new_one() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    t.send(&url, "a").await;
    let old = t.receive(&url).await;
    t.call("DeleteQueue", json!({ "QueueUrl": url })).await;
    t.check("DeleteQueue", json!({ "QueueUrl": url }), "QueueDoesNotExist").await;
    let (create, wait) = (
        json!({ "QueueName": "q" }),
        "You must wait 60 seconds after deleting a queue before you can \
                                                      create another with the same name.",
    );
    advance_s(59).await;
    t.check("CreateQueue", create.clone(), "QueueDeletedRecently").await;
    t.check_text("CreateQueue", create, wait).await;
    advance_s(1).await;
    t.queue("q", json!({})).await;
    t.send(&url, "b").await;
    t.receive(&url).await;
    let handle = json!({ "QueueUrl": url, "ReceiptHandle": old[0]["ReceiptHandle"] });
    t.check("DeleteMessage", handle, "ReceiptHandleIsInvalid").await;
    t.check("AddPermission", json!({ "QueueUrl": url }), "UnsupportedOperation").await;
    t.check("Dance", json!({}), "UnknownOperationException").await;
}

/// Error texts, each recorded on AWS.
#[tokio::test(start_paused = true)]
async fn error_texts_are_those_of_aws() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "DelaySeconds": "1" })).await;
    let fifo = t.queue("q.fifo", json!({})).await;
    let with = |url: &str, more: Value| {
        let mut input = json!({ "QueueUrl": url, "MessageBody": "m" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let create = |attributes: Value| json!({ "QueueName": "q", "Attributes": attributes });
    let empty = json!({ "DataType": "String", "StringValue": "" });
    for (action, input, text) in [
        (
            "CreateQueue",
            create(json!({ "DelaySeconds": "2", "VisibilityTimeout": "30" })),
            "A queue already exists with the same name and a different value for attribute DelaySeconds",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "n", "Attributes": { "FifoQueue": "false" } }),
            "Unknown Attribute FifoQueue.",
        ),
        (
            "CreateQueue",
            json!({ "QueueName": "n", "Attributes": { "DeduplicationScope": "queue" } }),
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        ),
        (
            "SetQueueAttributes",
            with(&fifo, json!({ "Attributes": { "FifoQueue": "false" } })),
            "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
        ),
        (
            "ReceiveMessage",
            with(&url, json!({ "WaitTimeSeconds": 21 })),
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
        ),
        (
            "ReceiveMessage",
            with(&url, json!({ "MaxNumberOfMessages": 11 })),
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            "SendMessage",
            with(&url, json!({ "MessageAttributes": { "ErrorDetails": empty } })),
            "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'.",
        ),
        ("SendMessage", with(&fifo, json!({})), "The request must contain the parameter MessageGroupId."),
        ("SendMessage", json!({ "QueueUrl": url }), "The request must contain the parameter MessageBody."),
    ] {
        t.check_text(action, input, text).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_queues_arn_and_url_name_the_region_and_the_account_of_its_creator() {
    let t = Fixture::new();
    let caller = |region: Option<&str>, account: Option<&str>| Caller {
        region: region.map(str::to_owned),
        account: account.map(str::to_owned),
        trace_header: None,
    };
    for (name, region, account, arn) in [
        ("own", None, None, "arn:aws:sqs:us-east-1:000000000000:own"),
        ("there", Some("eu-west-1"), None, "arn:aws:sqs:eu-west-1:000000000000:there"),
        ("theirs", Some("us-west-2"), Some("111122223333"), "arn:aws:sqs:us-west-2:111122223333:theirs"),
        ("own", Some("eu-west-1"), Some("111122223333"), "arn:aws:sqs:us-east-1:000000000000:own"),
    ] {
        let created =
            t.sqs.call_as(&caller(region, account), "CreateQueue", json!({ "QueueName": name })).await.unwrap();
        let [.., account, _] = arn.split(':').collect::<Vec<_>>()[..] else { panic!("{arn}") };
        let url = format!("http://127.0.0.1:4566/{account}/{name}");
        assert_eq!(created["QueueUrl"], url, "{name}");
        let found = t.call("GetQueueUrl", json!({ "QueueName": name, "QueueOwnerAWSAccountId": account })).await;
        assert_eq!(found["QueueUrl"], url);
        let answer = t.call("GetQueueAttributes", json!({ "QueueUrl": url, "AttributeNames": ["QueueArn"] })).await;
        assert_eq!(answer["Attributes"]["QueueArn"], arn);
    }
    let listed = t.call("ListQueues", json!({})).await;
    assert_eq!(listed["QueueUrls"].as_array().unwrap().len(), 3, "every caller sees every queue");
}
