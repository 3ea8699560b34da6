//! `repod prompt`: one turn of an agent session, streamed.

mod ask;
mod render;

use super::{Outcome, absolute, client};
use crate::cli::{Output, PromptArgs};
use crate::output;
use render::Render;
use repod_client::{Client, SessionName, TurnStream};
use repod_proto::agent::{AgentEvent, TurnEnd, TurnOutcome};
use repod_proto::{ApiError, ErrorCode, SessionHow, SessionRequest, TurnInfo, TurnRequest, exit};
use std::io::IsTerminal;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Largest prompt taken from standard input.
const TEXT_MAX: u64 = 24 * 1024 * 1024;

pub(crate) async fn run(args: PromptArgs, output: Output) -> Outcome {
    let text = match args.text {
        Some(text) => text,
        None => from_stdin().await?,
    };
    if text.trim().is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "the prompt is empty"));
    }
    let client = client(output.no_start)?;
    let request = SessionRequest {
        path: absolute(&args.repo)?,
        session_id: args.session,
        agent: args.agent,
        model: args.model,
        title: None,
        env: None,
    };
    // Before the turn: what can't be caught can't abort it.
    let interrupts = interrupts()?;
    let ensured = client.ensure_session(request).await?;
    if let (SessionHow::Renewed, Some(reason)) = (ensured.how, &ensured.reason) {
        output::note(&format!("the conversation begins anew: {reason}"));
    }
    let session = SessionName::of(&ensured.session);
    let request = TurnRequest { text, ..TurnRequest::default() };
    let stream = client.prompt_session(&session, request).await?;
    let code = follow(&client, &session, stream, interrupts, output.json).await?;
    if !output.json && std::io::stderr().is_terminal() {
        output::note(&format!("session {}", ensured.session.session_id));
    }
    Ok(code)
}

/// `repod sessions follow`: the turn that runs, or the last one, from its begin.
pub(crate) async fn follow_last(
    client: &Client,
    session: &SessionName,
    turns: &[TurnInfo],
    json: bool,
) -> Outcome {
    let is_open = |turn: &&TurnInfo| matches!(turn.state.as_str(), "running" | "waiting");
    let turn = turns.iter().find(is_open).or(turns.first());
    let turn = turn
        .ok_or_else(|| ApiError::new(ErrorCode::SessionNotFound, "the session has no turn yet"))?;
    let stream = client.follow_turn(session, &turn.turn_id, 0).await?;
    // Whoever only looks does not end it by leaving.
    follow_to_end(client, session, stream, None, json).await
}

async fn follow(
    client: &Client,
    session: &SessionName,
    stream: TurnStream,
    interrupts: Signal,
    json: bool,
) -> Outcome {
    follow_to_end(client, session, stream, Some(interrupts), json).await
}

async fn follow_to_end(
    client: &Client,
    session: &SessionName,
    mut stream: TurnStream,
    mut interrupts: Option<Signal>,
    json: bool,
) -> Outcome {
    let mut render = Render::new();
    let mut asked = ask::Asked::default();
    let mut is_aborting = false;
    loop {
        let line = tokio::select! {
            line = stream.next() => line?,
            () = interrupted(&mut interrupts) => {
                if is_aborting {
                    return Ok(exit::INTERRUPTED);
                }
                is_aborting = true;
                client.abort_session(session, Some(stream.turn_id())).await?;
                continue;
            }
        };
        let Some(line) = line else {
            let message = "the turn's events ended before the turn did";
            return Err(ApiError::new(ErrorCode::DaemonUnavailable, message)
                .hint("`repod sessions show` says what became of it"));
        };
        if json {
            output::ndjson(&line.event);
        } else {
            render.show(&line.event);
        }
        asked.note(&line.event);
        let AgentEvent::Turn(TurnEnd { outcome, .. }) = &line.event else { continue };
        match outcome {
            TurnOutcome::Waiting if !json && ask::is_possible() => {
                for answer in asked.ask().await? {
                    client.answer_session(session, &answer).await?;
                }
            }
            // Told in the past: it may have been answered since.
            TurnOutcome::Waiting if interrupts.is_none() && !waits(client, session).await? => {}
            outcome => return Ok(code(*outcome)),
        }
    }
}

async fn waits(client: &Client, session: &SessionName) -> Result<bool, ApiError> {
    let detail = client.session(session).await?;
    Ok(detail.turns.iter().any(|turn| turn.state == "waiting"))
}

fn code(outcome: TurnOutcome) -> u8 {
    match outcome {
        TurnOutcome::Completed => exit::OK,
        TurnOutcome::Interrupted => exit::INTERRUPTED,
        TurnOutcome::Waiting => exit::WAITING,
        TurnOutcome::Failed | TurnOutcome::Unknown => exit::FAILURE,
    }
}

fn interrupts() -> Result<Signal, ApiError> {
    signal(SignalKind::interrupt())
        .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))
}

async fn interrupted(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn from_stdin() -> Result<String, ApiError> {
    let usage = |message: &str| {
        ApiError::new(ErrorCode::InvalidRequest, message)
            .hint("`repod prompt \"what is to be done\"`, or pipe the text in")
    };
    if std::io::stdin().is_terminal() {
        return Err(usage("there is no prompt, and standard input is a terminal"));
    }
    let mut text = Vec::new();
    let mut input = tokio::io::stdin().take(TEXT_MAX + 1);
    input.read_to_end(&mut text).await.map_err(|error| {
        ApiError::new(ErrorCode::StateIo, format!("standard input can't be read: {error}"))
    })?;
    if text.len() as u64 > TEXT_MAX {
        return Err(usage(&format!("the prompt is larger than {} MiB", TEXT_MAX >> 20)));
    }
    String::from_utf8(text).map_err(|_| usage("the prompt is not UTF-8"))
}
