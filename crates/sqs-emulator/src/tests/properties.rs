//! Properties under any sequence of calls: no message is lost or duplicated, and FIFO order holds per group.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::engine::Engine;
use crate::{Caller, actions};

#[derive(Debug, Clone)]
enum Step {
    Send {
        group: usize,
        delay_s: i64,
    },
    Receive {
        max: i64,
        visibility_s: u64,
    },
    /// Deletes with the receipt at this index, modulo the number of receipts.
    Delete {
        receipt: usize,
    },
    Change {
        receipt: usize,
        timeout_s: i64,
    },
    Wait {
        ms: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize, 0..3_i64).prop_map(|(group, delay_s)| Step::Send { group, delay_s }),
        4 => (1..=10_i64, 0..4_u64).prop_map(|(max, visibility_s)| Step::Receive { max, visibility_s }),
        3 => any::<usize>().prop_map(|receipt| Step::Delete { receipt }),
        2 => (any::<usize>(), 0..4_i64).prop_map(|(receipt, timeout_s)| Step::Change { receipt, timeout_s }),
        3 => (0..2_500_u64).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A queue and its dead-letter queue, called without waiting. Bodies are numbers in order of sending.
struct Model {
    engine: Engine,
    now: u64,
    fifo: bool,
    urls: [String; 2],
    /// The group of each message sent.
    groups: Vec<usize>,
    deleted: BTreeSet<usize>,
    dead: BTreeSet<usize>,
    in_flight_until: BTreeMap<usize, u64>,
    receipts: Vec<String>,
}

impl Model {
    fn new(fifo: bool) -> Self {
        let suffix = if fifo { ".fifo" } else { "" };
        let mut model = Self {
            engine: Engine::new(SqsConfig::default(), "http://h".to_owned()),
            now: NOW,
            fifo,
            urls: ["q", "dlq"].map(|name| format!("http://h/000000000000/{name}{suffix}")),
            groups: Vec::new(),
            deleted: BTreeSet::new(),
            dead: BTreeSet::new(),
            in_flight_until: BTreeMap::new(),
            receipts: Vec::new(),
        };
        let mut attributes = if fifo { json!({ "FifoQueue": "true" }) } else { json!({}) };
        model.call("CreateQueue", json!({ "QueueName": format!("dlq{suffix}"), "Attributes": attributes })).unwrap();
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:dlq{suffix}");
        attributes["RedrivePolicy"] = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 4 }).to_string().into();
        model.call("CreateQueue", json!({ "QueueName": format!("q{suffix}"), "Attributes": attributes })).unwrap();
        model
    }

    fn call(&mut self, action: &str, input: Value) -> Result<Value, ApiError> {
        let input = actions::Input::Value(input);
        actions::run(&mut self.engine, action, input, &Caller::default(), self.now).map(actions::Answer::into_value)
    }

    /// Receives; returns bodies and receipts.
    fn receive(&mut self, queue: usize, max: i64, visibility_s: u64) -> Vec<(usize, String)> {
        let input =
            json!({ "QueueUrl": self.urls[queue], "MaxNumberOfMessages": max, "VisibilityTimeout": visibility_s });
        let call = actions::ReceiveCall::check(&mut self.engine, actions::Input::Value(input), self.now).unwrap();
        let answer = call.run(&mut self.engine, self.now).unwrap().unwrap_or_default();
        let messages = answer.into_iter().map(|message| serde_json::to_value(message).unwrap()).collect::<Vec<_>>();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        messages.iter().map(|m| (text(&m["Body"]).parse().unwrap(), text(&m["ReceiptHandle"]))).collect()
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let url = self.urls[0].clone();
        let mut visible_at = self.now;
        match *step {
            Step::Send { group, delay_s } => {
                let number = self.groups.len().to_string();
                let mut input = json!({ "QueueUrl": url, "MessageBody": number });
                if self.fifo {
                    input["MessageGroupId"] = group.to_string().into();
                    input["MessageDeduplicationId"] = number.into();
                } else {
                    input["DelaySeconds"] = delay_s.into();
                }
                self.call("SendMessage", input).unwrap();
                self.groups.push(group);
            }
            Step::Receive { max, visibility_s } => {
                let received = self.receive(0, max, visibility_s);
                self.receipts.extend(received.into_iter().map(|(_, receipt)| receipt));
                visible_at += visibility_s * 1_000;
            }
            Step::Delete { receipt } if !self.receipts.is_empty() => {
                let receipt = self.receipts.swap_remove(receipt % self.receipts.len());
                let _ = self.call("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": receipt }));
            }
            Step::Change { receipt, timeout_s } if !self.receipts.is_empty() => {
                let receipt = &self.receipts[receipt % self.receipts.len()];
                let input = json!({ "QueueUrl": url, "ReceiptHandle": receipt, "VisibilityTimeout": timeout_s });
                let _ = self.call("ChangeMessageVisibility", input);
            }
            Step::Delete { .. } | Step::Change { .. } => {}
            Step::Wait { ms } => self.now += ms,
        }
        let mut this_call = BTreeSet::new();
        for event in std::mem::take(&mut self.engine.events) {
            match event {
                QueueEvent::Received { body, .. } => {
                    let number = body.parse().unwrap();
                    self.check_delivery(number, &this_call)?;
                    this_call.insert(number);
                    self.in_flight_until.insert(number, visible_at);
                }
                QueueEvent::VisibilityChanged { body, timeout_s, .. } => {
                    self.in_flight_until.insert(body.parse().unwrap(), self.now + u64::from(timeout_s) * 1_000);
                }
                QueueEvent::Deleted { body, .. } => {
                    let number = body.parse().unwrap();
                    prop_assert!(self.deleted.insert(number), "{} deleted twice", number);
                    self.in_flight_until.remove(&number);
                }
                QueueEvent::DeadLettered { body, receive_count, .. } => {
                    prop_assert_eq!(receive_count, 4);
                    let number = body.parse().unwrap();
                    prop_assert!(self.dead.insert(number), "{} dead twice", number);
                    self.in_flight_until.remove(&number);
                }
                QueueEvent::Sent { .. } => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        Ok(())
    }

    fn check_delivery(&self, number: usize, this_call: &BTreeSet<usize>) -> Result<(), TestCaseError> {
        let is_hidden = |number: &usize| self.in_flight_until.get(number).is_some_and(|until| *until > self.now);
        prop_assert!(!self.deleted.contains(&number) && !self.dead.contains(&number), "{} came back", number);
        prop_assert!(!is_hidden(&number), "{} was delivered while in flight", number);
        if self.fifo {
            let same_group = |other: &usize| *other != number && self.groups[*other] == self.groups[number];
            for other in (0..self.groups.len()).filter(same_group).filter(|other| !this_call.contains(other)) {
                let is_gone = self.deleted.contains(&other) || self.dead.contains(&other);
                prop_assert!(other > number || is_gone, "{} overtook {}", number, other);
            }
            prop_assert!(this_call.iter().filter(|other| same_group(other)).all(|other| *other < number));
        }
        Ok(())
    }

    /// Returns all messages still in a queue.
    fn drain(&mut self, queue: usize) -> Vec<usize> {
        let mut all = Vec::new();
        loop {
            let received = self.receive(queue, 10, 1_000);
            if received.is_empty() {
                return all;
            }
            for (number, receipt) in received {
                all.push(number);
                let input = json!({ "QueueUrl": self.urls[queue], "ReceiptHandle": receipt });
                self.call("DeleteMessage", input).unwrap();
            }
        }
    }
}

fn check(fifo: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut model = Model::new(fifo);
    for step in steps {
        model.step(step)?;
    }
    model.now += 100_000;
    let (left, dead) = (model.drain(0), model.drain(1));
    let mut all: Vec<usize> = model.deleted.iter().copied().chain(left).chain(dead).collect();
    all.sort_unstable();
    prop_assert_eq!(all, (0..model.groups.len()).collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_standard_queue_neither_loses_nor_duplicates_messages(steps in steps()) {
        check(false, &steps)?;
    }

    #[test]
    fn a_fifo_queue_neither_loses_nor_duplicates_messages_and_keeps_order(steps in steps()) {
        check(true, &steps)?;
    }
}
