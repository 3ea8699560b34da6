//! After a gap in the stream, or when a turn has been silent for long: what the server has, against
//! what was told. What is missing is told now, and how the turn stands is said.

use super::asks;
use super::translator::{Translator, end};
use super::wire::{Ask, Message, Part};
use repod_proto::agent::{AgentEvent, TurnEnd};
use serde_json::Value;

/// What the server says of a session. All of it was asked for after the gap, the status first: a turn
/// that ends meanwhile is then still taken for busy, and its end is heard on the stream.
#[derive(Clone, Copy, Debug)]
pub struct ServerView<'a> {
    /// `GET /session/:id/message`: the last messages, at least back to the turn's own.
    pub messages: &'a [Value],
    /// Whether `GET /session/status` has the session as busy or retrying.
    pub busy: bool,
    /// `GET /permission` of the session's directory.
    pub permissions: &'a [Value],
    /// `GET /question` of the session's directory.
    pub questions: &'a [Value],
    /// Whether the backend is the one the turn began on. Another one has no turn to go on with.
    pub same_backend: bool,
}

/// How a turn stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is over.
    Finished(TurnEnd),
    /// It waits for a person.
    Waiting,
    /// It runs.
    Running,
    /// Nobody works on it any more, and it has no end.
    Crashed,
    /// The server doesn't know of its prompt: it never came there, or was not stored yet.
    Absent,
}

/// What a reconciliation gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconciled {
    /// What was not told yet.
    pub events: Vec<AgentEvent>,
    /// How the turn stands.
    pub stand: Stand,
}

impl Translator {
    /// Compares what was told with what the server has. `is_kin` tells the session's subagents, whose
    /// requests are the turn's as well.
    pub fn reconcile(
        &mut self,
        server: &ServerView<'_>,
        is_kin: impl Fn(&str) -> bool,
    ) -> Reconciled {
        let mut events = Vec::new();
        let mut last = None;
        let mut has_prompt = false;
        for message in server.messages {
            let text = message["info"].to_string();
            let Ok(info) = serde_json::from_str::<Message<'_>>(&text) else { continue };
            if !self.messages.is_mine(&info.id) {
                continue;
            }
            has_prompt |= *info.role == *"user";
            last = (*info.role != *"user").then(|| {
                let error = info.error.clone().map(super::translator::error_of);
                (info.time.completed.is_some(), error)
            });
            self.message(&info, None, &mut events);
            for part in message["parts"].as_array().into_iter().flatten() {
                let text = part.to_string();
                if let Ok(part) = serde_json::from_str::<Part<'_>>(&text) {
                    self.part(&part, &mut events);
                }
            }
        }
        self.reconcile_asks(server, is_kin, &mut events);
        let stand = match last {
            _ if server.busy && self.asks.is_open() => Stand::Waiting,
            _ if server.busy => Stand::Running,
            Some((_, Some(error))) => Stand::Finished(end(Some(error))),
            Some((true, None)) if server.same_backend => {
                Stand::Finished(end(self.course.error().cloned()))
            }
            None if self.course.error().is_some() => {
                Stand::Finished(end(self.course.error().cloned()))
            }
            None if !has_prompt => Stand::Absent,
            _ => Stand::Crashed,
        };
        if let Stand::Finished(_) = stand {
            self.course.close();
        }
        Reconciled { events, stand }
    }

    fn reconcile_asks(
        &mut self,
        server: &ServerView<'_>,
        is_kin: impl Fn(&str) -> bool,
        events: &mut Vec<AgentEvent>,
    ) {
        let mut pending = Vec::new();
        let lists = [(server.permissions, true), (server.questions, false)];
        for (row, is_permission) in
            lists.iter().flat_map(|(rows, which)| rows.iter().map(move |row| (row, *which)))
        {
            let text = row.to_string();
            let Ok(ask) = serde_json::from_str::<Ask<'_>>(&text) else { continue };
            if *ask.session != *self.session && !is_kin(&ask.session) {
                continue;
            }
            pending.push(ask.id.to_string());
            if self.asks.asked(&ask.id) {
                events.push(if is_permission {
                    asks::permission(ask)
                } else {
                    asks::question(ask)
                });
            }
        }
        let gone: Vec<String> = self
            .asks
            .open()
            .filter(|id| !pending.iter().any(|it| it == id))
            .map(str::to_owned)
            .collect();
        events.extend(gone.iter().filter_map(|request| self.asks.answered(request)));
    }
}
