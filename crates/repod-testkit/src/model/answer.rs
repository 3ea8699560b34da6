//! Turns a step into what goes over the wire: paced chunks of a stream, or one document.

use crate::script::Step;
use serde_json::{Value, json};
use std::time::Duration;

/// One piece of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Wait this long, then send the chunk.
    Chunk(Duration, Value),
    /// The end marker.
    Done,
    /// Break the connection off.
    Cut,
}

/// An answer that can be written in both forms.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Unique per request: OpenCode tells calls apart by ids derived from it.
    pub(super) id: String,
    pub(super) model: String,
    pub(super) step: Step,
    /// Size of the question, for the usage figures.
    pub(super) asked: usize,
}

impl Answer {
    fn finish_reason(&self) -> &'static str {
        if self.step.tools.is_empty() { "stop" } else { "tool_calls" }
    }

    fn tool_calls(&self) -> Vec<Value> {
        let calls = self.step.tools.iter().enumerate().map(|(index, call)| {
            json!({
                "index": index,
                "id": format!("call_{}_{index}", self.id),
                "type": "function",
                "function": { "name": call.name, "arguments": call.args.to_string() },
            })
        });
        calls.collect()
    }

    /// Four characters count as one token, so that the figures grow with the conversation.
    fn usage(&self) -> Value {
        let reasoning = self.step.reasoning.as_deref().map_or(0, str::len) / 4;
        let text = self.step.text.as_deref().map_or(0, str::len) / 4;
        let tools: usize = self.step.tools.iter().map(|t| t.args.to_string().len() / 4).sum();
        let completion = 1 + text + tools + reasoning;
        let prompt = 1 + self.asked / 4;
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "completion_tokens_details": { "reasoning_tokens": reasoning },
        })
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.id),
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.model,
            "choices": choices,
        })
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> Value {
        self.chunk(&json!([{ "index": 0, "delta": delta, "finish_reason": finish }]))
    }

    /// The answer as a stream. `cut` breaks it off in the middle of the text.
    pub(super) fn pieces(&self, cut: bool) -> Vec<Piece> {
        let step = &self.step;
        let pause = Duration::from_millis(step.delay_ms);
        let texts = step.text.as_deref().map(|t| split(t, step.deltas)).unwrap_or_default();
        let first = if texts.is_empty() { pause } else { Duration::ZERO };
        let mut chunks =
            vec![(first, self.delta(&json!({ "role": "assistant", "content": "" }), None))];
        if let Some(reasoning) = &step.reasoning {
            for part in split(reasoning, 2) {
                chunks
                    .push((Duration::ZERO, self.delta(&json!({"reasoning_content": part}), None)));
            }
        }
        if cut {
            let whole = step.text.as_deref().unwrap_or_default();
            let half = split(whole, 2).first().map_or(whole, |h| *h);
            chunks.push((pause, self.delta(&json!({ "content": half }), None)));
            let chunks = chunks.into_iter().map(|(pause, chunk)| Piece::Chunk(pause, chunk));
            return chunks.chain([Piece::Cut]).collect();
        }
        for text in texts {
            chunks.push((pause, self.delta(&json!({ "content": text }), None)));
        }
        for call in self.tool_calls() {
            chunks.push((Duration::ZERO, self.delta(&json!({ "tool_calls": [call] }), None)));
        }
        chunks.push((Duration::ZERO, self.delta(&json!({}), Some(self.finish_reason()))));
        let mut usage = self.chunk(&json!([]));
        usage["usage"] = self.usage();
        chunks.push((Duration::ZERO, usage));
        let chunks = chunks.into_iter().map(|(pause, chunk)| Piece::Chunk(pause, chunk));
        chunks.chain([Piece::Done]).collect()
    }

    /// The answer as one document.
    pub(super) fn document(&self) -> Value {
        let mut message = json!({ "role": "assistant", "content": self.step.text });
        if let Some(reasoning) = &self.step.reasoning {
            message["reasoning_content"] = json!(reasoning);
        }
        if !self.step.tools.is_empty() {
            message["tool_calls"] = json!(self.tool_calls());
        }
        json!({
            "id": format!("chatcmpl-{}", self.id),
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [{
                "index": 0, "message": message, "finish_reason": self.finish_reason(),
            }],
            "usage": self.usage(),
        })
    }

    /// How long the whole answer is delayed when it isn't streamed.
    pub(super) fn total_pause(&self) -> Duration {
        let deltas = self.step.text.as_deref().map_or(1, |t| split(t, self.step.deltas).len());
        let deltas = u64::try_from(deltas.max(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.step.delay_ms.saturating_mul(deltas))
    }
}

/// Cuts a text into at most `count` pieces of about the same size, between characters.
pub(super) fn split(text: &str, count: usize) -> Vec<&str> {
    let size = text.chars().count().div_ceil(count.max(1)).max(1);
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(at);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
