//! `repod sessions`: agent sessions, listed, shown, answered, ended.

use super::{Outcome, client, prompt};
use crate::cli::{Output, SessionAt, SessionsCommand};
use crate::coordination::words::one_line;
use crate::output::{self, Rows};
use repod_client::SessionName;
use repod_proto::{ApiError, SessionAnswer, SessionDetail, SessionInfo, exit};
use std::path::PathBuf;

pub(crate) async fn run(command: SessionsCommand) -> Outcome {
    match command {
        SessionsCommand::List { repo, closed, limit, output } => {
            list(repo, closed, limit, output).await
        }
        SessionsCommand::Show { at, output } => {
            let detail = client(output.no_start)?.session(&name(&at)?).await?;
            if output.json {
                output::json(&detail);
            } else {
                show(&detail);
            }
            Ok(exit::OK)
        }
        SessionsCommand::Follow { at, output } => {
            let (client, name) = (client(output.no_start)?, name(&at)?);
            let detail = client.session(&name).await?;
            prompt::follow_last(&client, &name, &detail.turns, output.json).await
        }
        SessionsCommand::Abort { at, turn, output } => {
            let client = client(output.no_start)?;
            let report = client.abort_session(&name(&at)?, turn.as_deref()).await?;
            if output.json {
                output::json(&report);
            } else if report.turns.is_empty() {
                output::note("it does nothing");
            } else {
                output::line(&format!("aborted: {}", report.turns.join(", ")));
            }
            Ok(exit::OK)
        }
        SessionsCommand::Close { at, output } => {
            let detail = client(output.no_start)?.close_session(&name(&at)?).await?;
            if output.json {
                output::json(&detail);
            } else {
                output::line(&format!("closed: {}", detail.session.session_id));
            }
            Ok(exit::OK)
        }
        SessionsCommand::Answer { at, request, option, answers, message, output } => {
            let answers = (!answers.is_empty())
                .then(|| answers.into_iter().map(|answer| vec![answer]).collect());
            let answer = SessionAnswer { request_id: request, option, answers, message };
            client(output.no_start)?.answer_session(&name(&at)?, &answer).await?;
            if !output.json {
                output::note("answered");
            }
            Ok(exit::OK)
        }
    }
}

fn name(at: &SessionAt) -> Result<SessionName, ApiError> {
    match &at.repo {
        Some(repo) => SessionName::in_repo(&at.session, repo),
        None => Ok(SessionName::new(&at.session)),
    }
}

async fn list(repo: Option<PathBuf>, closed: bool, limit: u32, output: Output) -> Outcome {
    let client = client(output.no_start)?;
    let sessions = client.sessions(repo.as_deref(), closed, limit).await?;
    if output.json {
        output::json(&sessions);
        return Ok(exit::OK);
    }
    if sessions.is_empty() {
        output::note("there are no sessions");
        return Ok(exit::OK);
    }
    let mut rows =
        Rows::new(&["SESSION", "REPO", "STATUS", "QUEUED", "LAST ACTIVE", "DIRECTORY", "TITLE"]);
    for session in &sessions {
        rows.push(row(session));
    }
    rows.print();
    Ok(exit::OK)
}

fn row(session: &SessionInfo) -> Vec<String> {
    vec![
        session.session_id.clone(),
        session.repo_id.to_string(),
        output::session_status(session.status),
        session.queued.to_string(),
        session.last_active_at.clone(),
        session.directory.clone(),
        session.title.clone(),
    ]
}

fn show(detail: &SessionDetail) {
    let session = &detail.session;
    let or_dash = |text: &str| if text.is_empty() { output::dash() } else { text.to_owned() };
    let facts = [
        ("session", session.session_id.clone()),
        ("repo", session.repo_id.to_string()),
        ("directory", session.directory.clone()),
        ("status", output::session_status(session.status)),
        ("agent", or_dash(&session.agent)),
        ("model", or_dash(&session.model)),
        ("conversation", or_dash(session.agent_session_id.as_deref().unwrap_or_default())),
        ("title", or_dash(&session.title)),
    ];
    for (name, value) in facts {
        output::line(&format!("{name:<14}{value}"));
    }
    let mut rows = Rows::new(&["TURN", "NAME", "STATE", "BEGUN", "PROMPT", "ERROR"]);
    for turn in &detail.turns {
        let error = turn.error.as_ref().map(|error| format!("{}: {}", error.name, error.message));
        rows.push(vec![
            turn.turn.to_string(),
            turn.turn_id.clone(),
            turn.state.clone(),
            turn.begun_at.clone(),
            or_dash(&one_line(&turn.prompt, 60)),
            error.unwrap_or_else(output::dash),
        ]);
    }
    if !detail.turns.is_empty() {
        rows.print();
    }
}
