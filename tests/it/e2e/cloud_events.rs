//! CloudEvents over HTTP: what the SDKs for JavaScript and Python send to `cargo local` in each mode, and what they
//! read of the messages on the queue.
//!
//! The SDKs are installed from `tests/peers/webhooks`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use sluicegate_envelope::Envelope;
use tokio::task::block_in_place;

use crate::support::{own_workspace::OwnWorkspace, service::Service, stack::Stack};
use crate::webhook_peers::Program;

const CONTRACT: &str = "
openapi: 3.1.0
info: { title: Events, version: '1' }
paths:
  /events:
    post:
      operationId: takeEvent
      security: []
      requestBody:
        content:
          application/cloudevents+json: {}
          application/cloudevents-batch+json: {}
          application/json: {}
          text/plain: {}
          image/png: {}
      x-sluicegate: { queue: events, cloudEvents: binary }
";

const TEMPLATE: &str = "
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  Events: { Type: AWS::SQS::Queue, Properties: { QueueName: own-events } }
  Keys: { Type: AWS::SecretsManager::Secret, Properties: { Name: own-keys } }
  Api: { Type: AWS::Serverless::HttpApi }
  Ingress:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/ingress
      Environment: { Variables: { QUEUE_EVENTS: !Ref Events, SECRET_ARN: !Ref Keys } }
      Events:
        Take: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /events } }
";

/// Returns an event with this data, as the programs take it.
fn event(program: Program, mode: &str, content_type: &str, data: &Value) -> Value {
    let mut attributes = json!({
        "specversion": "1.0",
        "id": format!("{program:?}-{mode}-{content_type}"),
        "source": "/acme/1",
        "type": "order.placed",
        "subject": "o-1 \"x\" 100%",
        "time": "2026-01-02T03:04:05.060Z",
        "dataschema": "https://acme.example/order.json",
        "datacontenttype": content_type,
        "comacmepart": "a b",
    });
    // In binary mode the SDK for JavaScript does not encode what a header cannot have.
    if (program, mode) != (Program::Node, "binary") {
        attributes["comacmecity"] = "Zürich 😀".into();
    }
    json!({ "attributes": attributes, "data": data })
}

/// Returns the requests of a program: each kind of data in each mode.
fn requests(program: Program) -> Vec<Value> {
    let data = [
        ("application/json", json!({ "json": { "price": 1.5, "name": "Tee \"é\"", "none": null } })),
        ("text/plain", json!({ "text": "Grüße\n" })),
        ("image/png", json!({ "base64": BASE64_STANDARD.encode(b"\x89PNG\0\xff") })),
    ];
    let events = |mode| data.iter().map(move |(content_type, data)| event(program, mode, content_type, data));
    let request = |mode: &str, events: Vec<Value>| json!({ "mode": mode, "events": events });
    let single = ["structured", "binary"].into_iter();
    let single = single.flat_map(|mode| events(mode).map(move |event| request(mode, vec![event])));
    single.chain([request("batched", events("batched").collect())]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the CloudEvents SDKs, which ./tests/run installs"]
async fn the_sdks_send_events_in_every_mode_and_read_the_messages() {
    let project = OwnWorkspace::with_ingress("cloud-events", CONTRACT, TEMPLATE);
    let stack = project.start().await;
    let url = format!("{}/events", stack.gateway);
    let sqs = Service::at(&stack.aws);
    let queue = sqs.find("own-events").await;
    for program in [Program::Node, Program::Python] {
        let requests = requests(program);
        let answer = block_in_place(|| program.ask("events", &json!({ "url": url, "requests": requests })));
        let sent = answer["sent"].as_array().expect("a list");
        let messages = sqs.receive_count(&queue, 9).await;
        let bodies: Vec<_> = messages.iter().map(|message| message.body().expect("a body")).collect();
        assert_eq!(bodies.len(), 9, "{program:?}: {bodies:?}");
        let read = [Program::Node, Program::Python].map(|reader| {
            let answer = block_in_place(|| reader.ask("events", &json!({ "messages": bodies })));
            answer["read"].as_array().expect("a list").clone()
        });
        for (request, sent) in requests.iter().zip(sent) {
            for (position, event) in request["events"].as_array().expect("a list").iter().enumerate() {
                let id = event["attributes"]["id"].as_str().expect("an id");
                let what = format!("{id}: {sent}\n{}", stack.printed());
                let answered =
                    if request["mode"] == "batched" { &sent["answer"]["items"][position] } else { &sent["answer"] };
                let stored = bodies.iter().position(|body| answered["id"] == decoded(body).id()).expect(&what);
                check_payload(&decoded(bodies[stored]), &request["mode"], &event["data"], &sent["wire"]);

                let mut expected: Map<String, Value> = event["attributes"].as_object().expect("attributes").clone();
                let of_the_ingress =
                    json!({ "eventid": id, "id": answered["id"], "operation": "takeEvent", "principal": "anonymous" });
                expected.extend(of_the_ingress.as_object().expect("attributes").clone());
                // An envelope has every payload that is not JSON in base64.
                let data = match event["data"]["text"].as_str() {
                    Some(text) => json!({ "base64": BASE64_STANDARD.encode(text) }),
                    None => event["data"].clone(),
                };
                for read in &read {
                    assert_eq!((&read[stored]["attributes"], &read[stored]["data"]), (&json!(expected), &data));
                }
            }
        }
        for message in &messages {
            sqs.delete(&queue, message).await;
        }
    }
    the_console_lists_a_refused_item(&stack, &url).await;
    stack.stop().await;
}

/// Sends a batch of which one item is not an event, and reads that item at the admin port.
async fn the_console_lists_a_refused_item(stack: &Stack, url: &str) {
    let event = json!({ "specversion": "1.0", "id": "stored", "source": "/test", "type": "test.batch" });
    let request = stack.http.post(url).header("content-type", "application/cloudevents-batch+json");
    let answer = request.body(json!([event, { "id": "refused" }]).to_string()).send().await.expect("answered");
    assert_eq!(answer.status(), 202);
    let item = answer.json::<Value>().await.expect("JSON")["items"][1].take();
    let read = async |path: &str| -> Value {
        let answer = stack.http.get(format!("{}{path}", stack.admin)).send().await.expect("the admin port answers");
        answer.json().await.expect("JSON")
    };
    let row = read("/messages?state=refused").await["messages"][0].take();
    assert_eq!(
        (&row["pointer"], &row["status"], &row["code"]),
        (&json!("/1"), &item["status"], &item["code"]),
        "{row}"
    );
    let message = read(&format!("/messages/{}", row["id"].as_str().expect("an id").replace('=', "%3D"))).await;
    assert_eq!(
        (&message["rejection"], &message["payload"]["text"]),
        (&item, &json!(r#"{"id":"refused"}"#)),
        "{message:#}"
    );
}

fn decoded(body: &str) -> Envelope {
    Envelope::decode(body).expect("an event")
}

/// Checks that the payload has the bytes of the request.
fn check_payload(stored: &Envelope, mode: &Value, data: &Value, wire: &Value) {
    let wire = BASE64_STANDARD.decode(wire.as_str().expect("a body")).expect("base64");
    let payload = stored.payload();
    if mode == "binary" {
        assert_eq!(*payload, *wire);
    } else if data["json"].is_object() {
        assert!(wire.windows(payload.len()).any(|bytes| bytes == &*payload), "{payload:?}");
    }
    if let Some(text) = data["text"].as_str() {
        assert_eq!(*payload, *text.as_bytes());
    } else if let Some(encoded) = data["base64"].as_str() {
        assert_eq!(BASE64_STANDARD.encode(&*payload), encoded);
    }
}
