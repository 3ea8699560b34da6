//! What a killed backend leaves half-done in its database, and what to write instead.
//!
//! OpenCode 1.18.33 repairs nothing by itself: tool parts stay `running` and the message has no
//! `time.completed`. Parts can be replaced by `PATCH`. There is no route that changes a message,
//! but `POST /sync/replay` takes a `message.updated.1` with the session's next number.

use super::told::{INTERRUPTED_MESSAGE, event_id, interrupted_error};
use serde_json::{Value, json};

/// The parts of `message` (`{info, parts}`) that will never end, as they should read.
pub fn stuck_parts(message: &Value, now: u64) -> Vec<Value> {
    let parts = message["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().filter_map(|part| mended(part, now)).collect()
}

fn mended(part: &Value, now: u64) -> Option<Value> {
    let state = &part["state"];
    if part["type"] != "tool" || !["pending", "running"].contains(&state["status"].as_str()?) {
        return None;
    }
    let mut part = part.clone();
    let start = state["time"]["start"].as_u64().unwrap_or(now);
    let mut mended = json!({
        "status": "error",
        "input": if state["input"].is_object() { state["input"].clone() } else { json!({}) },
        "error": INTERRUPTED_MESSAGE,
        "time": { "start": start, "end": now.max(start) },
    });
    if state["metadata"].is_object() {
        mended["metadata"] = state["metadata"].clone();
    }
    part["state"] = mended;
    Some(part)
}

/// A part that had not ended (`json`, and the text that came since), as it should read.
pub fn closed(json: &str, text: &str, now: u64) -> Option<Value> {
    let mut part: Value = serde_json::from_str(json).ok()?;
    if part["type"] == "tool" {
        return mended(&part, now);
    }
    part["text"] = json!(format!("{}{text}", part["text"].as_str().unwrap_or_default()));
    let start = part["time"]["start"].as_u64().unwrap_or(now);
    part["time"]["end"] = json!(now.max(start));
    Some(part)
}

/// Those of `parts` whose text `message` has less of.
pub fn lost_texts<'a>(message: &Value, parts: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    let length = |part: &Value| part["text"].as_str().map(str::len);
    let stored = message["parts"].as_array().cloned().unwrap_or_default();
    parts.iter().filter(move |part| {
        let same = stored.iter().find(|stored| stored["id"] == part["id"]);
        same.is_some_and(|stored| length(stored) < length(part))
    })
}

/// The durable event that ends `message`, if it is an answer begun before `before` and never
/// ended.
pub fn ending(message: &Value, seq: u64, before: u64, now: u64) -> Option<Value> {
    if !is_stuck(message, before) {
        return None;
    }
    let mut info = message["info"].clone();
    info["time"]["completed"] = json!(now);
    info["error"] = interrupted_error();
    let session = info["sessionID"].as_str()?.to_owned();
    Some(json!({
        "id": event_id(), "aggregateID": session, "seq": seq, "type": "message.updated.1",
        "data": { "sessionID": session, "info": info },
    }))
}

/// Whether `message` is an answer that was begun before `before` (milliseconds since 1970) and
/// has not ended.
pub fn is_stuck(message: &Value, before: u64) -> bool {
    let info = &message["info"];
    info["role"] == "assistant"
        && info["time"]["completed"].is_null()
        && info["time"]["created"].as_u64().is_some_and(|created| created <= before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_tool_becomes_an_error_and_the_rest_stays() {
        let message = json!({
            "info": { "role": "assistant", "sessionID": "ses_1", "time": { "created": 5 } },
            "parts": [
                { "type": "text", "text": "" },
                { "type": "tool", "id": "prt_1", "state": { "status": "completed" } },
                { "type": "tool", "id": "prt_2", "state": {
                    "status": "running", "input": { "a": 1 }, "metadata": { "output": "" },
                    "time": { "start": 7 } } },
                { "type": "tool", "id": "prt_3", "state": { "status": "pending", "raw": "" } },
            ],
        });
        let stuck = stuck_parts(&message, 9);
        assert_eq!(stuck.len(), 2);
        assert_eq!(stuck[0]["state"]["time"], json!({ "start": 7, "end": 9 }));
        assert_eq!(stuck[0]["state"]["metadata"], json!({ "output": "" }));
        assert_eq!(stuck[1]["state"]["input"], json!({}));
        let event = ending(&message, 4, 5, 9).unwrap();
        assert_eq!(event["data"]["info"]["time"], json!({ "created": 5, "completed": 9 }));
        assert!(ending(&message, 4, 4, 9).is_none(), "begun later");
    }
}
