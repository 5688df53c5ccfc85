//! Observers receive a message's event before any consumer can receive the message.

use super::*;

/// Long enough for another thread to receive the message before the observer returns, if that were possible.
const OBSERVER_DELAY: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observers_get_a_send_before_a_consumer_receives_it_and_before_the_sender_is_answered() {
    let sqs = Sqs::new(Clock::system(), SqsConfig::default());
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = log.clone();
    sqs.observe(Arc::new(move |event| {
        std::thread::sleep(OBSERVER_DELAY);
        heard.lock().unwrap().push(describe(event));
    }));
    let url = sqs.call("CreateQueue", json!({ "QueueName": "q" })).await.unwrap()["QueueUrl"].clone();
    let bodies: Vec<String> = (0..8).map(|index| format!("m{index}")).collect();

    // One consumer long-polls, the other short-polls.
    let mut consumers = tokio::task::JoinSet::new();
    for wait_s in [20, 0] {
        let (sqs, log, url, count) = (sqs.clone(), log.clone(), url.clone(), bodies.len());
        consumers.spawn(async move {
            let is_hand_out = |line: &String| line.starts_with("has ");
            while log.lock().unwrap().iter().filter(|line| is_hand_out(line)).count() < count {
                let input = json!({ "QueueUrl": url, "WaitTimeSeconds": wait_s });
                // The deletion of the queue ends the last long poll.
                let Ok(answer) = sqs.call("ReceiveMessage", input).await else { return };
                if let Some(body) = answer["Messages"][0]["Body"].as_str() {
                    log.lock().unwrap().push(format!("has {body}"));
                }
                tokio::task::yield_now().await;
            }
            sqs.call("DeleteQueue", json!({ "QueueUrl": url })).await.ok();
        });
    }
    for body in &bodies {
        sqs.call("SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await.unwrap();
        log.lock().unwrap().push(format!("answered {body}"));
    }
    while consumers.join_next().await.is_some() {}

    let log = log.lock().unwrap();
    let at = |line: String| log.iter().position(|each| *each == line).unwrap_or_else(|| panic!("{line}: {log:?}"));
    for body in &bodies {
        let sent = at(format!("sent {body} q"));
        let received = at(format!("received {body} 1"));
        assert!(sent < received && received < at(format!("has {body}")), "{body}: {log:?}");
        assert!(sent < at(format!("answered {body}")), "{body}: {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sent_event_has_the_string_and_number_attributes() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    let reasons: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let heard = reasons.clone();
    t.sqs.observe(Arc::new(move |event| {
        let QueueEvent::Sent { attributes, .. } = event else { return };
        heard.lock().unwrap().push(attributes.get("reason").cloned());
    }));
    let send = async |attributes: Value, reason: Option<&str>| {
        t.call("SendMessage", json!({ "QueueUrl": url, "MessageBody": "a", "MessageAttributes": attributes })).await;
        assert_eq!(reasons.lock().unwrap().pop().expect("an event").as_deref(), reason);
    };
    let text = json!({ "DataType": "String", "StringValue": "bad card" });
    send(json!({ "reason": text, "tenant": text }), Some("bad card")).await;
    send(json!({ "reason": { "DataType": "Binary", "BinaryValue": "AQI=" } }), None).await;
    send(json!({ "tenant": text }), None).await;
    send(json!({}), None).await;
}
