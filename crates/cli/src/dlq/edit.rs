//! `sluicegate dlq edit`: corrects one message and redrives it.

use std::{
    io,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::Args;
use sluicegate_dlq::{CancellationToken, DeadLetter, DeadLetterQueue, Edit, check_edited, edited};

use super::{show, text};
use crate::{CommandError, fail, input, output::say};

/// Correct a message and redrive it
///
/// Without --set and --body the stored body is opened in $VISUAL or $EDITOR, and the saved text is sent. The message is
/// sent to the queue that redrive would select, and removed here once the broker has confirmed it. If the body is an
/// envelope, the corrected body must be one too. A payload in S3 is read and corrected like a body, and stays in S3
/// only if it is too large for a message.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// The dead-letter queue
    pub(super) queue: String,
    /// The message's id, its own or the broker's
    id: String,
    /// Set a member of the payload, /json/pointer=JSON, or an attribute of the envelope, name=JSON (text in quotes);
    /// may be repeated. No other byte changes
    #[arg(long = "set", value_name = "PLACE=JSON", conflicts_with = "body")]
    sets: Vec<Edit>,
    /// Send this file as the body, envelope included; - reads the standard input (`show --body` prints the present
    /// body)
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The destination: a queue's name, URL or ARN [default: the queue that the message came from]
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// Print the corrected body without sending it
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn edit<S: DeadLetterQueue>(queue: &S, arguments: &Arguments, stop: &CancellationToken) -> ExitCode {
    let letter = match show::find(queue, &arguments.id, stop).await {
        Ok(letter) => letter,
        Err(code) => return code,
    };
    let letter = match queue.body(&letter).await {
        Ok(body) => letter.with_body(body),
        // A whole body needs no present one.
        Err(_) if arguments.body.is_some() => letter,
        Err(error) => return fail(text::line(&format!("{error}; pass --body with a whole envelope to replace it"))),
    };
    let mut draft = None;
    let body = if !arguments.sets.is_empty() {
        edited(&letter.body, &arguments.sets).map_err(|error| error.to_string().into())
    } else if let Some(file) = &arguments.body {
        input::read(file)
    } else {
        in_editor(&letter, &mut draft).await
    };
    let sent = match body {
        Ok(body) => send(queue, arguments, &letter, &body).await,
        Err(reason) => Err(reason),
    };
    match (sent, draft) {
        (Ok(said), _) => {
            say(&said);
            ExitCode::SUCCESS
        }
        (Err(reason), None) => fail(text::line(&reason.to_string())),
        (Err(reason), Some(draft)) => {
            // Keeps the user's changes.
            let kept = draft.keep().map_or_else(|error| error.to_string(), |(_, path)| path.display().to_string());
            fail(format!("{}; your changes are in {kept}", text::line(&reason.to_string())))
        }
    }
}

async fn send<S: DeadLetterQueue>(
    queue: &S,
    arguments: &Arguments,
    letter: &DeadLetter,
    body: &[u8],
) -> Result<String, CommandError> {
    if body == letter.body {
        return Ok("nothing changed, so nothing was sent".to_owned());
    }
    check_edited(letter, body).map_err(|error| error.to_string())?;
    let to = arguments.to.as_deref();
    if arguments.dry_run {
        let destination = queue.destination(letter, to).await?;
        eprintln!("would go to {}", text::line(&destination));
        return String::from_utf8(body.to_vec()).map_err(|_| "the corrected body is not text".into());
    }
    queue.redrive(letter, to, Some(body)).await?;
    Ok(format!("corrected and redriven: {}", text::line(&letter.id)))
}

/// Returns the body as saved in the editor. `draft` is the file, which only the user may read.
async fn in_editor(letter: &DeadLetter, draft: &mut Option<tempfile::NamedTempFile>) -> Result<Vec<u8>, CommandError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR"));
    let editor = editor.ok_or("give --set or --body, or name an editor in EDITOR")?;
    let file = tempfile::Builder::new().prefix("dead-letter-").suffix(".json").tempfile();
    let file = file?;
    std::fs::write(file.path(), &letter.body)?;
    let path = file.path().to_owned();
    // The variable may contain options, so a shell splits it.
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&path);
    let status = tokio::task::spawn_blocking(move || command.status()).await;
    let status = status.map_err(io::Error::from)?.map_err(|error| format!("{editor}: {error}"))?;
    if !status.success() {
        return Err(format!(
            "{editor} ended with {status}: nothing was sent; set EDITOR to another editor, or pass --body FILE"
        )
        .into());
    }
    let mut body = std::fs::read(&path)?;
    // Editors add a newline at the end.
    if body.ends_with(b"\n") && !letter.body.ends_with(b"\n") {
        body.pop();
    }
    *draft = Some(file);
    Ok(body)
}
