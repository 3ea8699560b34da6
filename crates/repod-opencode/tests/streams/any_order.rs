//! Streams as they never should come: cut anywhere, twice, out of order, with holes. What is told may
//! be less then; after a reconciliation it is what is stored.

use crate::recording::{Played, Recording, decoded};
use proptest::prelude::*;
use repod_opencode::v1_18::agent::{Stand, TranslateOptions, transcripts};
use repod_proto::agent::{AgentEvent, Transcript};
use serde_json::Value;

const NAMES: [&str; 6] = [
    "1.18.33/text",
    "1.18.33/tools",
    "1.18.33/abort",
    "1.18.33/subagent",
    "1.18.33/permission",
    "1.18.33/error",
];

fn recording() -> impl Strategy<Value = Recording> {
    prop::sample::select(NAMES.to_vec()).prop_map(Recording::read)
}

fn told(played: &Played) -> Vec<Vec<AgentEvent>> {
    played.turns.iter().map(|(events, _)| events.clone()).collect()
}

/// A recording's first turn alone, stored and streamed.
fn first_turn(recording: &Recording) -> (Vec<Value>, Transcript) {
    let next = recording.prompts().get(1).cloned();
    let messages = recording.messages.iter();
    let first = messages
        .take_while(|message| Some(message["info"]["id"].as_str().unwrap()) != next.as_deref());
    let first: Vec<Value> = first.cloned().collect();
    let stored = transcripts(&first, &TranslateOptions::default()).remove(0).1;
    (first, stored)
}

/// The events before the second prompt, which is not sent before the first turn has ended.
fn first_events(recording: &Recording) -> Vec<Vec<u8>> {
    let second = recording.prompts().get(1).cloned();
    let is_before = |event: &Vec<u8>| {
        let text = String::from_utf8_lossy(event);
        second.as_ref().is_none_or(|second| !text.contains(second))
    };
    recording.events().into_iter().take_while(is_before).collect()
}

/// The first turn as these events tell it, and then what the server has: all that is told.
fn reconciled(recording: &Recording, events: &[Vec<u8>]) -> (Played, Vec<AgentEvent>, Stand) {
    let (messages, _) = first_turn(recording);
    let mut played = Played::first_turn(recording);
    for event in events {
        played.hear(event);
    }
    let mut told = played.told();
    let reconciled = played.reconcile(&messages);
    told.extend(reconciled.events);
    (played, told, reconciled.stand)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_it_is_the_same_stream(
        recording in recording(),
        cuts in prop::collection::vec(1..2000usize, 1..50),
    ) {
        let mut pieces = Vec::new();
        let (mut rest, mut cuts) = (recording.bytes.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let events = decoded(pieces);
        prop_assert_eq!(&events, &recording.events());
    }

    #[test]
    fn what_comes_twice_is_told_once(
        recording in recording(),
        again in prop::collection::vec((any::<prop::sample::Index>(), 0..12usize), 0..40),
    ) {
        let events = recording.events();
        let once = told(&Played::of(&recording, &events));
        let mut twice: Vec<(usize, &Vec<u8>)> = events.iter().enumerate().map(|(at, event)| (at * 16, event)).collect();
        for (which, later) in &again {
            let at = which.index(events.len());
            twice.push((at * 16 + later * 16 + 1, &events[at]));
        }
        twice.sort_by_key(|(at, _)| *at);
        let twice = told(&Played::of(&recording, twice.iter().map(|(_, event)| event)));
        prop_assert_eq!(once.len(), twice.len());
        for (once, twice) in once.iter().zip(&twice) {
            prop_assert_eq!(Transcript::of(once), Transcript::of(twice));
            let replaced = twice.iter().any(|event| matches!(event, AgentEvent::Text(chunk) if chunk.replace));
            prop_assert!(!replaced);
        }
    }

    #[test]
    fn out_of_order_the_truth_is_told_in_the_end(
        recording in recording(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), 1..8usize), 0..30),
    ) {
        let mut events = first_events(&recording);
        for (which, by) in &moves {
            let at = which.index(events.len());
            let to = (at + by).min(events.len() - 1);
            events.swap(at, to);
        }
        let (_, told, stand) = reconciled(&recording, &events);
        prop_assert_eq!(Transcript::of(&told), first_turn(&recording).1);
        prop_assert!(matches!(stand, Stand::Finished(_)), "{:?}", stand);
    }

    #[test]
    fn with_holes_the_truth_is_told_in_the_end(
        recording in recording(),
        first in any::<prop::sample::Index>(),
        length in 1..30usize,
    ) {
        let mut events = first_events(&recording);
        let from = first.index(events.len());
        let after = events.split_off((from + length).min(events.len()));
        events.truncate(from);
        let (mut played, told, stand) = reconciled(&recording, &events);
        prop_assert_eq!(Transcript::of(&told), first_turn(&recording).1);
        prop_assert!(matches!(stand, Stand::Finished(_)), "{:?}", stand);
        // What was in the stream behind the gap comes after the server was asked, and says nothing new.
        played.open.clear();
        for event in &after {
            played.hear(event);
        }
        prop_assert!(played.open.is_empty(), "told again: {:?}", played.open);
    }

    #[test]
    fn events_that_are_lost_one_by_one_are_made_up_for(
        recording in recording(),
        lost in prop::collection::vec(any::<bool>(), 400),
    ) {
        let events = first_events(&recording).into_iter();
        let kept: Vec<Vec<u8>> =
            events.zip(&lost).filter(|(_, lost)| !**lost).map(|(event, _)| event).collect();
        let (_, told, stand) = reconciled(&recording, &kept);
        prop_assert_eq!(Transcript::of(&told), first_turn(&recording).1);
        prop_assert!(matches!(stand, Stand::Finished(_)), "{:?}", stand);
    }
}
