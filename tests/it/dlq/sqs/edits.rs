//! Edits and purges.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::*;

pub(super) async fn a_member_is_corrected_and_the_message_redriven(service: &Service) {
    for fifo in [false, true] {
        let queues = Queues::create(service, fifo).await;
        let request = service.sqs.send_message().queue_url(&queues.dead).message_body(order(1));
        let request = request.set_message_deduplication_id(fifo.then(|| "d".to_owned()));
        request.message_group_id("g").send().await.expect("stored");
        let dead = name(&queues.dead);
        let sets = ["--set", "/number=2", "--set", r#"/note="fine""#, "--set", r#"subject="o-2""#];
        let edited = on(service, &[&["edit", dead, "id-1"], &sets[..]].concat()).await;
        edited.expect(0, &["corrected and redriven: id-1"]);
        let expected = order(1)
            .replace(r#""number": 1"#, r#""number": 2"#)
            .replace("größe 😀", "fine")
            .replace(r#"}}"#, r#"},"subject":"o-2"}"#);
        let message = service.receive_one(&queues.source).await;
        assert_eq!(message.body(), Some(expected.as_str()), "no other byte changes");
        assert_eq!(attribute(&message, "sluicegate-redrives"), Some("1"));
        assert_eq!(service.depth(&queues.dead).await, 0);
    }
}

pub(super) async fn a_body_is_replaced_by_a_file_or_in_an_editor(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 2).await;
    let dead = name(&queues.dead);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let file = path("body.json");
    std::fs::write(&file, "no envelope").expect("written");
    on(service, &["edit", dead, "id-0", "--body", &file]).await.expect(1, &["the corrected body is not one"]);
    std::fs::write(&file, order(9)).expect("written");
    on(service, &["edit", dead, "id-0", "--body", &file]).await.expect(0, &["corrected and redriven"]);
    assert_eq!(service.receive_one(&queues.source).await.body(), Some(order(9).as_str()));

    let editor = path("editor");
    std::fs::write(&editor, "#!/bin/sh\nsed -i \"$1\" \"$2\"; echo >>\"$2\"\n").expect("written");
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let edit = async |script: &str| {
        let mut command = dlq(&["edit", dead, "id-1", "--endpoint-url", &service.url]);
        command.env("EDITOR", format!("{editor} '{script}'")).env("TMPDIR", folder.path());
        ran(command).await
    };
    edit("s/nothing/at all/").await.expect(0, &["nothing changed"]);
    edit("s/specversion/version/").await.expect(1, &["the corrected body is not one", "your changes are in"]);
    edit("s/order.changed/order.mended/").await.expect(0, &["corrected and redriven"]);
    let expected = order(1).replace("order.changed", "order.mended");
    assert_eq!(bodies(&drained(service, &queues.source).await), [expected].into());
    assert_eq!(service.depth(&queues.dead).await, 0);
}

pub(super) async fn a_purge_asks_and_deletes_only_what_matches(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 25).await;
    let dead = name(&queues.dead);
    on(service, &["purge", dead]).await.expect(2, &["--yes"]);
    let no = at_a_terminal(service, &["purge", dead, "--match", "."], "n\n").await;
    no.expect(1, &["Delete what matches", "25 messages", "nothing was deleted"]);
    assert_eq!(service.depth(&queues.dead).await, 25);
    let purged = on(service, &["purge", dead, "--yes", "--reason", "card"]).await;
    purged.expect(0, &["12 deleted of 12 that match, 25 looked at"]);
    let left = service.receive_count(&queues.dead, 13).await;
    assert_eq!(bodies(&left), orders((0..25).filter(|number| number % 2 == 0)));
    for message in &left {
        service.change_visibility(&queues.dead, message, 0).await;
    }
    on(service, &["purge", dead, "--yes", "--limit"]).await.expect(2, &["--limit"]);
    at_a_terminal(service, &["purge", dead], "y\n").await.expect(0, &["Delete everything", "13 deleted of 13"]);
    assert_eq!((service.depth(&queues.dead).await, service.depth(&queues.source).await), (0, 0));
}

/// Runs the command in a pseudo-terminal with `answer` as its input.
async fn at_a_terminal(service: &Service, arguments: &[&str], answer: &str) -> Ran {
    let line = [&[BINARY.to_str().expect("UTF-8"), "dlq"], arguments, &["--endpoint-url", &service.url]].concat();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("script is there");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(answer.as_bytes()).await.expect("typed");
    let output = child.wait_with_output().await.expect("it ends");
    drop(stdin);
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    Ran { code: output.status.code(), out, err: String::new() }
}
