//! Agent sessions, seen from outside: the real OpenCode, a scripted model, the typed client.

mod cli;
mod ends;
mod many;
mod recovery;
mod shared;
mod turns;

use crate::{client, oc};
use repod_client::{Client, SessionName, TurnStream};
use repod_opencode::v1_18::agent::{TranslateOptions, transcripts};
use repod_proto::agent::{AgentEvent, Transcript, TurnEnd, TurnOutcome, TurnState};
use repod_proto::{SessionEnsured, SessionRequest, TurnLine, TurnRequest};
use repod_testkit::{Oc, Script, World};
use std::path::Path;

/// What a turn told, to its end or to where it waits.
#[derive(Debug, Default)]
struct Told {
    lines: Vec<TurnLine>,
}

impl Told {
    fn events(&self) -> impl Iterator<Item = &AgentEvent> {
        self.lines.iter().map(|line| &line.event)
    }

    fn transcript(&self) -> Transcript {
        Transcript::of(self.events())
    }

    fn end(&self) -> &TurnEnd {
        match self.lines.last().map(|line| &line.event) {
            Some(AgentEvent::Turn(end)) => end,
            other => panic!("the turn has no end: {other:?}"),
        }
    }

    /// Numbers rise, and there is one end.
    fn check(&self) {
        let ids: Vec<_> = self.lines.iter().map(|line| line.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let is_end = |event: &&AgentEvent| matches!(event, AgentEvent::Turn(end) if end.outcome != TurnOutcome::Waiting);
        assert!(self.events().filter(is_end).count() <= 1);
    }

    fn says(&self, state: TurnState) -> bool {
        self.events().any(|event| matches!(event, AgentEvent::Status(it) if it.state == state))
    }
}

fn request(path: &Path, name: &str) -> SessionRequest {
    SessionRequest {
        path: path.display().to_string(),
        session_id: Some(name.to_owned()),
        ..SessionRequest::default()
    }
}

async fn ensure(client: &Client, path: &Path, name: &str) -> (SessionEnsured, SessionName) {
    let ensured = client.ensure_session(request(path, name)).await.unwrap();
    let name = SessionName::of(&ensured.session);
    (ensured, name)
}

fn turn(script: &Script) -> TurnRequest {
    TurnRequest { text: script.prompt("do"), ..TurnRequest::default() }
}

async fn begin(client: &Client, name: &SessionName, script: &Script) -> TurnStream {
    client.prompt_session(name, turn(script)).await.unwrap()
}

/// Reads on until the turn is over, or waits for a person.
async fn read(stream: &mut TurnStream) -> Told {
    let mut told = Told::default();
    while let Some(line) = stream.next().await.unwrap() {
        let is_end = matches!(line.event, AgentEvent::Turn(_));
        told.lines.push(line);
        if is_end {
            break;
        }
    }
    told.check();
    told
}

async fn run(client: &Client, name: &SessionName, script: &Script) -> Told {
    read(&mut begin(client, name, script).await).await
}

/// What OpenCode has of a session, turn by turn.
async fn stored(oc: &Oc, session: &SessionEnsured) -> Vec<Transcript> {
    let id = session.session.agent_session_id.as_deref().unwrap();
    stored_of(oc, id).await
}

async fn stored_of(oc: &Oc, id: &str) -> Vec<Transcript> {
    let messages = oc.messages(id).await.unwrap();
    let all = transcripts(&messages, &TranslateOptions::default());
    all.into_iter().map(|(_, transcript)| transcript).collect()
}

/// The client, and OpenCode itself behind the endpoint.
fn both(world: &World, path: &Path) -> (Client, Oc) {
    (client(world), oc(&crate::ensure(world, path)))
}
