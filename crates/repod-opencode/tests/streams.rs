//! Recorded streams of real OpenCodes through the translator: as they came, and as they never should
//! come. `record.rs` makes the recordings; `REPOD_BLESS=1` writes what is told of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "streams/any_order.rs"]
mod any_order;
#[path = "streams/live.rs"]
mod live;
#[path = "streams/recording.rs"]
mod recording;
#[path = "streams/story.rs"]
mod story;

use recording::{Played, Recording};
use repod_opencode::v1_18::agent::{TranslateOptions, transcripts};
use repod_proto::agent::{AgentEvent, Transcript, TurnOutcome};

#[test]
fn what_is_told_of_a_turn_is_what_is_stored_of_it() {
    for recording in Recording::all() {
        let stored = transcripts(&recording.messages, &TranslateOptions::default());
        let played = Played::of(&recording, recording.events());
        assert_eq!(played.turns.len(), stored.len(), "{}: a turn has no end", recording.name);
        for ((turn, end), (prompt, stored)) in played.turns.iter().zip(&stored) {
            assert_eq!(Transcript::of(turn), *stored, "{} {prompt}", recording.name);
            let expected = match recording.scene() {
                "error" => TurnOutcome::Failed,
                "abort" if *prompt == stored_first(&recording) => TurnOutcome::Interrupted,
                _ => TurnOutcome::Completed,
            };
            assert_eq!(end.outcome, expected, "{} {prompt}", recording.name);
        }
    }
}

fn stored_first(recording: &Recording) -> String {
    recording.prompts().first().cloned().unwrap_or_default()
}

/// What was streamed is joined without a single correction: nothing came twice.
#[test]
fn an_undisturbed_stream_replaces_nothing() {
    for recording in Recording::all() {
        for (turn, _) in Played::of(&recording, recording.events()).turns {
            let replaced = turn.iter().any(|event| match event {
                AgentEvent::Text(chunk) | AgentEvent::Reasoning(chunk) => chunk.replace,
                _ => false,
            });
            assert!(!replaced, "{}", recording.name);
        }
    }
}

#[test]
fn recorded_turns_are_told_as_before() {
    for recording in Recording::all() {
        let played = Played::of(&recording, recording.events());
        let told = story::of(&played);
        let file = recording.file("told");
        if std::env::var_os("REPOD_BLESS").is_some() {
            fs_err::write(&file, &told).unwrap();
        }
        let before = fs_err::read_to_string(&file).unwrap_or_default();
        assert_eq!(told, before, "{}: what is told has changed", recording.name);
    }
}

#[test]
fn a_subagent_s_answer_is_not_the_parent_s() {
    for recording in Recording::all().into_iter().filter(|it| it.scene() == "subagent") {
        let played = Played::of(&recording, recording.events());
        let told = story::of(&played);
        assert!(told.contains("The parent is done."), "{told}");
        assert!(!told.contains("text \"The child is done.\""), "{told}");
    }
}
