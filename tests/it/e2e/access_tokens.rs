//! Routes that take access tokens, on `cargo local` without an identity provider: the development issuer's keys are
//! fetched by the unmodified function, or the token is checked by the template's JWT authorizer. And a route whose
//! queue and delay are the request's.

use serde_json::Value;
use tokio::process::Command;

use crate::support::{command::BINARY, own_workspace::OwnWorkspace, stack::Stack};

const CONTRACT: &str = "
openapi: 3.1.0
info: { title: Notes, version: '1' }
paths:
  /notes:
    post:
      operationId: takeNote
      security: [{ partner: [notes.write] }]
      requestBody: { content: { application/json: {} } }
      x-sluicegate: { queue: notes, type: note.taken, subject: '{principal}', group: '{claims#/org/id}' }
  /jobs:
    post:
      operationId: startJob
      security: [{ checked: [jobs.write] }]
      requestBody: { content: { application/json: {} } }
      x-sluicegate:
        queue: [{ queue: urgent, when: '{header.x-priority}', is: high }, notes]
        type: job.started
        subject: '{principal}'
        group: '{claims#/tenant}'
        delay: '{header.x-delay}'
components:
  securitySchemes:
    checked: { type: http, scheme: bearer, x-authorizer: jwt }
    partner:
      type: http
      scheme: bearer
      x-jwt: { issuer: 'https://issuer.example.com/tenant', audience: 'https://notes.example.com' }
";

const TEMPLATE: &str = "
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  Notes: { Type: AWS::SQS::Queue, Properties: { QueueName: own-notes } }
  Urgent: { Type: AWS::SQS::Queue, Properties: { QueueName: own-urgent } }
  Keys: { Type: AWS::SecretsManager::Secret, Properties: { Name: own-keys } }
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth: { Authorizers: { Jwt: { JwtConfiguration: { issuer: 'https://login.example.com', audience: [jobs] } } } }
  Ingress:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/ingress
      Environment: { Variables: { QUEUE_NOTES: !Ref Notes, QUEUE_URGENT: !Ref Urgent, SECRET_ARN: !Ref Keys } }
      Events:
        Take: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /notes } }
        Start:
          Type: HttpApi
          Properties:
            ApiId: !Ref Api
            Method: POST
            Path: /jobs
            Auth: { Authorizer: Jwt, AuthorizationScopes: [jobs.write] }
";

#[tokio::test]
async fn a_route_with_tokens_runs_without_an_identity_provider() {
    let project = OwnWorkspace::with_ingress("access-tokens", CONTRACT, TEMPLATE);
    project.write("note.json", r#"{"text":"tea"}"#);
    let stack = project.start().await;
    let token = printed_token(&stack, "partner").await;
    let notes = format!("{}/notes", stack.gateway);
    for (authorization, status) in [
        (Some(format!("Bearer {token}")), 202),
        (Some(format!("Bearer {token}A")), 401),
        (Some("Bearer a.b.c".to_owned()), 401),
        (None, 401),
    ] {
        let mut request = stack.http.post(&notes).header("content-type", "application/json").body("{}");
        if let Some(authorization) = &authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.send().await.expect("the gateway answers");
        let challenge = answer.headers().get("www-authenticate").map(|text| text.to_str().expect("text").to_owned());
        assert_eq!(
            answer.status().as_u16(),
            status,
            "{authorization:?}: {:?}\n{}",
            answer.text().await,
            stack.printed()
        );
        assert_eq!(challenge.is_some_and(|text| text.starts_with("Bearer realm=\"partner\"")), status == 401);
    }
    jobs(&stack, &token).await;
    let mut send = Command::new(&*BINARY);
    send.current_dir(project.path()).args(["send", "note.json", "--route", "POST /notes", "--to", &stack.gateway]);
    let sent = send.output().await.expect("the command runs");
    let said = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(sent.status.success() && said.contains("202"), "{said}{}", String::from_utf8_lossy(&sent.stderr));
    let mut send = Command::new(&*BINARY);
    let route =
        ["send", "note.json", "--route", "POST /jobs", "--claim", "tenant=acme", "--header", "x-priority: high"];
    send.current_dir(project.path()).args(route).args(["--to", &stack.gateway]);
    let sent = send.output().await.expect("the command runs");
    let said = String::from_utf8_lossy(&sent.stdout).into_owned();
    assert!(sent.status.success() && said.contains("202"), "{said}{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(counts(&stack).await, [("own-notes", 3, 1), ("own-urgent", 2, 0)]);
    // The documents are those of a host, and the admin port's own routes stay.
    let keys = stack.http.get(format!("{}/development-keys.json", stack.admin));
    let keys = keys.header("host", "issuer.example.com").send().await.expect("the admin port answers");
    let keys: Value = keys.json().await.expect("JSON");
    assert_eq!(keys["keys"][0]["kty"], "EC");
    let other = stack.http.get(format!("{}/development-keys.json", stack.admin)).send().await.expect("an answer");
    assert_eq!(other.status(), 404);
    stack.stop().await;
}

/// Returns the token that the stack prints for a scheme or an authorizer.
async fn printed_token(stack: &Stack, of: &str) -> String {
    let start = format!("    {of} ");
    let line = stack.until_printed(&start).await;
    line.strip_prefix(&start).and_then(|line| line.split(' ').next()).expect("a token is printed").to_owned()
}

/// Returns the number of visible and of delayed messages of each queue.
async fn counts(stack: &Stack) -> [(&'static str, u64, u64); 2] {
    let queues = stack.http.get(format!("{}/queues", stack.admin)).send().await.expect("the admin port answers");
    let queues: Value = queues.json().await.expect("JSON");
    ["own-notes", "own-urgent"].map(|name| {
        let listed = queues["queues"].as_array().expect("a list");
        let queue = listed.iter().find(|queue| queue["name"] == name).unwrap_or_else(|| panic!("{name}: {queues}"));
        let count = |name: &str| queue[name].as_u64().unwrap_or_else(|| panic!("{name}: {queues}"));
        (name, count("visible"), count("delayed"))
    })
}

/// The route behind the authorizer: its token, its queue and its delay.
async fn jobs(stack: &Stack, of_another_issuer: &str) {
    let token = printed_token(stack, "authorizer Jwt").await;
    let (good, bad) = (format!("Bearer {token}"), format!("Bearer {token}A"));
    let other = format!("Bearer {of_another_issuer}");
    for (headers, status, body) in [
        (&[("authorization", good.as_str())][..], 202, "\"id\""),
        (&[("authorization", &good), ("x-priority", "high")], 202, "\"id\""),
        (&[("authorization", &good), ("x-delay", "900")], 202, "\"id\""),
        (&[("authorization", &good), ("x-delay", "901")], 400, "x-delay"),
        (&[("authorization", &bad)], 401, r#"{"message":"Unauthorized"}"#),
        (&[("authorization", &other)], 401, r#"{"message":"Unauthorized"}"#),
        (&[], 401, r#"{"message":"Unauthorized"}"#),
    ] {
        let mut request = stack.http.post(format!("{}/jobs", stack.gateway)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body("{}").send().await.expect("the gateway answers");
        let (found, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
        assert!(found == status && text.contains(body), "{status}: {found} {text}\n{}", stack.printed());
    }
}
