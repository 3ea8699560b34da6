//! Turns whose agent does what it wants: they end, once, with what is known.

use super::*;
use proptest::prelude::*;

fn ended(outcome: TurnOutcome) -> TurnEnd {
    TurnEnd { outcome, error: None }
}

fn open(waiting: bool) -> Event {
    Event::Heard { says: Says::Open, waiting }
}

fn settled(effects: &[Effect]) -> Option<&Settled> {
    effects.iter().find_map(|effect| match effect {
        Effect::Settle(settled) => Some(settled),
        _ => None,
    })
}

/// A turn that runs.
fn running() -> Turn {
    let (mut turn, effects) = Turn::begin(Begin::Send);
    assert!(effects.is_empty());
    assert_eq!(turn.on(Event::Sent), [Effect::Wait(Patience::Silence)]);
    turn
}

/// Goes through these events; what the last one leads to.
fn after(turn: &mut Turn, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
    events.into_iter().map(|event| turn.on(event)).last().unwrap_or_default()
}

#[test]
fn a_turn_is_over_when_the_agent_says_so_and_what_comes_later_changes_nothing() {
    let mut turn = running();
    let end = ended(TurnOutcome::Completed);
    let effects = turn.on(Event::Heard { says: Says::Over(end.clone()), waiting: false });
    assert_eq!(settled(&effects).unwrap().end, end);
    assert!(turn.on(Event::Gone).is_empty() && turn.on(Event::Abort).is_empty());
}

#[test]
fn an_end_that_was_lost_is_found_when_it_is_silent_for_long() {
    let mut turn = running();
    assert_eq!(turn.on(Event::Elapsed), [Effect::Look]);
    let effects = turn.on(Event::Looked(Look::Finished(ended(TurnOutcome::Completed))));
    assert!(!settled(&effects).unwrap().crashed);
}

#[test]
fn one_that_waits_for_a_person_is_not_hung_and_says_so_once() {
    let mut turn = running();
    let wait = Effect::Wait(Patience::Silence);
    assert_eq!(turn.on(open(true)), [wait.clone(), Effect::TellWaiting]);
    assert_eq!(turn.on(open(true)), std::slice::from_ref(&wait));
    for _ in 0..10 {
        assert_eq!(turn.on(Event::Elapsed), [Effect::Look]);
        assert_eq!(turn.on(Event::Looked(Look::Waiting)), std::slice::from_ref(&wait));
    }
    turn.on(open(false));
    assert_eq!(turn.on(Event::Elapsed), [Effect::Look]);
    // The request itself was lost.
    assert_eq!(turn.on(Event::Looked(Look::Waiting)), [wait, Effect::TellWaiting]);
}

#[test]
fn one_that_still_runs_is_kept_and_one_whose_agent_does_not_answer_is_given_up() {
    let mut turn = running();
    turn.on(Event::Elapsed);
    assert_eq!(turn.on(Event::Looked(Look::Running)), [Effect::Wait(Patience::Silence)]);
    turn.on(Event::Elapsed);
    let effects = turn.on(Event::Looked(Look::Unanswered));
    assert_eq!(effects[0], Effect::Abort, "it must not go on unseen");
    let settled = settled(&effects).unwrap();
    assert!(settled.crashed && settled.end.outcome == TurnOutcome::Failed);
}

#[test]
fn what_speaks_against_a_turn_is_looked_at_twice() {
    let mut turn = running();
    turn.on(Event::Missed);
    assert_eq!(turn.on(Event::Looked(Look::Crashed)), [Effect::Wait(Patience::Moment)]);
    turn.on(open(false));
    turn.on(Event::Missed);
    assert_eq!(turn.on(Event::Looked(Look::Crashed)), [Effect::Wait(Patience::Moment)]);
    assert_eq!(turn.on(Event::Elapsed), [Effect::Look]);
    // After a gap it may not have begun yet; after a silence it would have.
    assert_eq!(turn.on(Event::Looked(Look::Crashed)), [Effect::Wait(Patience::Silence)]);
    let effects = after(
        &mut turn,
        [
            Event::Elapsed,
            Event::Looked(Look::Crashed),
            Event::Elapsed,
            Event::Looked(Look::Crashed),
        ],
    );
    assert!(settled(&effects).unwrap().crashed);
}

#[test]
fn a_prompt_that_never_arrived_is_not_sent_again() {
    let (mut turn, _) = Turn::begin(Begin::Send);
    assert_eq!(turn.on(Event::SendLost), [Effect::Look]);
    let looks = [Event::Looked(Look::Absent), Event::Elapsed];
    let effects = after(&mut turn, looks.iter().cycle().take(7).cloned());
    assert_eq!(effects[0], Effect::Abort, "it must not run if it arrives late");
    let settled = settled(&effects).unwrap();
    assert_eq!(settled.end.error.as_ref().unwrap().name, "NotSent");
    assert!(!settled.crashed);
}

#[test]
fn an_end_whose_last_parts_do_not_come_is_looked_up() {
    let mut turn = running();
    let end = ended(TurnOutcome::Interrupted);
    let says = Says::Ending(end.clone());
    let effects = turn.on(Event::Heard { says, waiting: false });
    assert_eq!(effects, [Effect::Wait(Patience::Moment)]);
    assert_eq!(turn.on(Event::Elapsed), [Effect::Look]);
    assert_eq!(settled(&turn.on(Event::Looked(Look::Unanswered))).unwrap().end, end);
}

#[test]
fn a_turn_is_interrupted_with_its_backend_and_what_it_had_said_before_counts() {
    let mut turn = running();
    assert_eq!(turn.on(Event::Gone), [Effect::Wait(Patience::Moment)]);
    let effects = after(&mut turn, [Event::Elapsed, Event::Looked(Look::Unanswered)]);
    assert!(settled(&effects).unwrap().lost);
    let mut turn = running();
    turn.on(Event::Gone);
    let finished = Look::Finished(ended(TurnOutcome::Completed));
    let effects = after(&mut turn, [Event::Elapsed, Event::Looked(finished)]);
    assert_eq!(settled(&effects).unwrap().end.outcome, TurnOutcome::Completed);
}

#[test]
fn an_end_made_up_after_its_backend_s_death_is_a_loss_unless_it_was_wanted() {
    let made_up = || ended(TurnOutcome::Interrupted);
    let over = || Event::Heard { says: Says::Over(made_up()), waiting: false };
    let ways = [vec![over()], vec![Event::Elapsed, Event::Looked(Look::Finished(made_up()))]];
    for way in ways {
        let mut turn = running();
        turn.on(Event::Gone);
        assert!(settled(&after(&mut turn, way)).unwrap().lost);
    }
    let mut turn = running();
    let effects = after(&mut turn, [Event::Abort, Event::Gone, over()]);
    assert!(!settled(&effects).unwrap().lost);
}

#[test]
fn an_end_after_a_gap_waits_for_what_was_missed() {
    let over = || Event::Heard { says: Says::Over(ended(TurnOutcome::Completed)), waiting: false };
    let finished = || Event::Looked(Look::Finished(ended(TurnOutcome::Completed)));
    let mut turn = running();
    assert_eq!(turn.on(Event::Missed), [Effect::Look]);
    assert!(turn.on(over()).is_empty());
    assert!(settled(&turn.on(finished())).is_some());
    // The look was begun before the end came.
    let mut turn = running();
    let effects = after(&mut turn, [Event::Missed, over(), Event::Looked(Look::Running)]);
    assert_eq!(effects, [Effect::Wait(Patience::Moment)]);
    assert_eq!(turn.on(Event::Elapsed), [Effect::Look]);
    assert!(settled(&turn.on(finished())).is_some());
    // Nobody answers: what was heard is the end.
    let mut turn = running();
    let unanswered = || Event::Looked(Look::Unanswered);
    let effects =
        after(&mut turn, [Event::Missed, over(), unanswered(), Event::Elapsed, unanswered()]);
    assert_eq!(settled(&effects).unwrap().end.outcome, TurnOutcome::Completed);
    // What was missed before the prompt was known to be taken is looked up too.
    let (mut turn, _) = Turn::begin(Begin::Send);
    assert!(turn.on(Event::Missed).is_empty());
    assert_eq!(turn.on(Event::Sent), [Effect::Look]);
    let (mut turn, _) = Turn::begin(Begin::Send);
    assert_eq!(after(&mut turn, [Event::Missed, over()]), [Effect::Look]);
}

#[test]
fn an_abort_is_repeated_until_it_is_heeded_or_given_up() {
    let mut turn = running();
    assert_eq!(turn.on(Event::Abort), [Effect::Abort, Effect::Wait(Patience::Moment)]);
    for _ in 1..ABORTS {
        turn.on(Event::Elapsed);
        assert_eq!(turn.on(Event::Looked(Look::Running))[0], Effect::Abort);
    }
    turn.on(Event::Elapsed);
    let effects = turn.on(Event::Looked(Look::Running));
    let settled = settled(&effects).unwrap();
    assert_eq!((settled.end.outcome, settled.crashed), (TurnOutcome::Interrupted, true));
}

#[test]
fn an_abort_before_the_prompt_was_taken_follows_it() {
    let (mut turn, _) = Turn::begin(Begin::Send);
    assert!(turn.on(Event::Abort).is_empty());
    assert_eq!(turn.on(Event::Sent), [Effect::Abort, Effect::Wait(Patience::Moment)]);
}

#[test]
fn what_an_earlier_daemon_left_is_ended_or_gone_on_with_and_its_end_believed() {
    let recover = |go_on, look| {
        let (mut turn, effects) = Turn::begin(Begin::Recover { go_on });
        assert_eq!(effects, [Effect::Look]);
        turn.on(Event::Looked(look))
    };
    assert_eq!(recover(false, Look::Running)[0], Effect::Abort);
    assert_eq!(recover(false, Look::Waiting)[0], Effect::Abort);
    assert_eq!(recover(true, Look::Running), [Effect::Wait(Patience::Silence)]);
    let end = ended(TurnOutcome::Completed);
    assert_eq!(settled(&recover(false, Look::Finished(end.clone()))).unwrap().end, end);
}

fn looks() -> impl Strategy<Value = Look> {
    prop_oneof![
        Just(Look::Finished(ended(TurnOutcome::Completed))),
        Just(Look::Waiting),
        Just(Look::Running),
        Just(Look::Crashed),
        Just(Look::Absent),
        Just(Look::Unanswered),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::Sent),
        1 => Just(Event::Refused(error("x", "y"))),
        1 => Just(Event::SendLost),
        4 => any::<bool>().prop_map(open),
        1 => Just(Event::Heard {
            says: Says::Ending(ended(TurnOutcome::Interrupted)),
            waiting: false,
        }),
        4 => Just(Event::Elapsed),
        1 => Just(Event::Missed),
        1 => Just(Event::Gone),
        4 => looks().prop_map(Event::Looked),
        1 => Just(Event::Abort),
    ]
}

/// What is under way, and will bring the next event.
#[derive(Debug, Default)]
struct UnderWay {
    sending: bool,
    looking: bool,
    timer: bool,
}

impl UnderWay {
    /// Only what is under way can happen.
    fn can(&self, event: &Event) -> bool {
        match event {
            Event::Sent | Event::Refused(_) | Event::SendLost => self.sending,
            Event::Looked(_) => self.looking,
            Event::Elapsed => self.timer,
            _ => true,
        }
    }

    fn note(&mut self, event: Option<&Event>, effects: &[Effect]) {
        match event {
            Some(Event::Sent | Event::Refused(_) | Event::SendLost) => self.sending = false,
            Some(Event::Looked(_)) => self.looking = false,
            Some(Event::Elapsed) => self.timer = false,
            _ => {}
        }
        for effect in effects {
            match effect {
                Effect::Wait(_) => self.timer = true,
                Effect::Look => self.looking = true,
                _ => {}
            }
        }
    }
}

fn begins() -> impl Strategy<Value = Begin> {
    prop_oneof![Just(Begin::Send), any::<bool>().prop_map(|go_on| Begin::Recover { go_on }),]
}

proptest! {
    #[test]
    fn a_turn_settles_once_and_until_then_something_is_under_way(
        begin in begins(),
        events in prop::collection::vec(events(), 0..60),
    ) {
        let (mut turn, first) = Turn::begin(begin);
        let mut under_way = UnderWay { sending: begin == Begin::Send, ..UnderWay::default() };
        under_way.note(None, &first);
        let mut settled = 0;
        let mut aborts = 0;
        for event in &events {
            if !under_way.can(event) { continue; }
            let effects = turn.on(event.clone());
            under_way.note(Some(event), &effects);
            settled += effects.iter().filter(|effect| matches!(effect, Effect::Settle(_))).count();
            aborts += effects.iter().filter(|effect| matches!(effect, Effect::Abort)).count();
            for effect in &effects {
                if let Effect::Settle(settled) = effect {
                    let completed = settled.end.outcome == TurnOutcome::Completed;
                    prop_assert!(!(completed && (settled.crashed || settled.lost)));
                }
            }
            prop_assert_eq!(turn.is_settled(), settled == 1);
            prop_assert!(
                turn.is_settled() || under_way.sending || under_way.looking || under_way.timer,
                "nothing would ever end it: {:?}", turn
            );
        }
        prop_assert!(settled <= 1);
        prop_assert!(aborts <= ABORTS as usize + 1);
    }

    #[test]
    fn a_silent_agent_s_turn_ends_within_a_few_looks(
        begin in begins(),
        events in prop::collection::vec(events(), 0..30),
        look in prop_oneof![Just(Look::Crashed), Just(Look::Absent), Just(Look::Unanswered)],
    ) {
        let (mut turn, first) = Turn::begin(begin);
        let mut under_way = UnderWay { sending: begin == Begin::Send, ..UnderWay::default() };
        under_way.note(None, &first);
        for event in events {
            if under_way.can(&event) {
                let effects = turn.on(event.clone());
                under_way.note(Some(&event), &effects);
            }
        }
        for _ in 0..16 {
            if turn.is_settled() { break; }
            let event = if under_way.sending { Event::SendLost }
                else if under_way.looking { Event::Looked(look.clone()) }
                else { Event::Elapsed };
            let effects = turn.on(event.clone());
            under_way.note(Some(&event), &effects);
        }
        prop_assert!(turn.is_settled(), "{:?}", turn);
    }
}
