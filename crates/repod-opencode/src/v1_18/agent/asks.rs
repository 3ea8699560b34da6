//! What a person is asked in a turn, and until when.

use super::tool::value;
use super::wire::Ask;
use repod_proto::agent::{
    AgentEvent, PermissionAsk, PermissionKind, PermissionOption, Question, QuestionAsk,
    QuestionOption,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// Requests remembered of one turn; more than a person would ever answer.
const MOST: usize = 1024;

/// The requests of a turn.
#[derive(Debug, Default)]
pub(super) struct Asks {
    open: BTreeSet<String>,
    /// Answered, so that a late copy of the question isn't asked again.
    answered: BTreeSet<String>,
}

impl Asks {
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(String::as_str)
    }

    /// Whether this is new.
    pub(super) fn asked(&mut self, request: &str) -> bool {
        !self.answered.contains(request)
            && self.open.len() < MOST
            && self.open.insert(request.to_owned())
    }

    pub(super) fn answered(&mut self, request: &str) -> Option<AgentEvent> {
        if self.answered.len() >= MOST {
            self.answered.pop_first();
        }
        self.answered.insert(request.to_owned());
        let request_id = request.to_owned();
        self.open.remove(request).then_some(AgentEvent::Answered { request_id })
    }
}

/// A permission that is asked for.
pub(super) fn permission(ask: Ask<'_>) -> AgentEvent {
    let option = |id: &str, kind, name: &str| PermissionOption {
        id: id.to_owned(),
        kind,
        name: name.to_owned(),
    };
    let mut options = vec![option("once", PermissionKind::AllowOnce, "Allow once")];
    if !ask.always.is_empty() {
        options.push(option("always", PermissionKind::AllowAlways, "Always allow"));
    }
    options.push(option("reject", PermissionKind::RejectOnce, "Reject"));
    AgentEvent::Permission(PermissionAsk {
        request_id: ask.id.into(),
        session_id: ask.session.into(),
        permission: ask.permission.map(Into::into).unwrap_or_default(),
        patterns: ask.patterns,
        always: ask.always,
        tool_call_id: ask.tool.and_then(|tool| tool.call).map(Into::into),
        metadata: ask.metadata.map_or(Value::Null, value),
        options,
    })
}

/// A question that is asked.
pub(super) fn question(ask: Ask<'_>) -> AgentEvent {
    let questions = ask.questions.into_iter().map(|asked| Question {
        question: asked.question,
        header: asked.header,
        options: asked
            .options
            .into_iter()
            .map(|choice| QuestionOption { label: choice.label, description: choice.description })
            .collect(),
        multiple: asked.multiple,
        // OpenCode takes one's own words unless it is told not to.
        custom: asked.custom.unwrap_or(true),
    });
    AgentEvent::Question(QuestionAsk {
        request_id: ask.id.into(),
        session_id: ask.session.into(),
        questions: questions.collect(),
        tool_call_id: ask.tool.and_then(|tool| tool.call).map(Into::into),
    })
}
