//! What each session is doing, for people who look: made anew for each of them out of what is
//! known anyway, so that it costs nothing while nobody looks.

use super::core::Core;
use super::track::{Session, Track};
use jiff::Timestamp;
use repod_opencode::v1_18::agent::Step;
use repod_opencode::v1_18::event::Ask;
use repod_proto::{Doing, SessionActivity, SessionStatus, ToolActivity};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Steps of sessions, by session.
type Steps<'a> = HashMap<&'a str, Vec<Step>>;

impl Core {
    /// The most urgent sessions, so many at most, and how many more there are.
    pub(super) fn doing(&self, most: usize) -> (Vec<SessionActivity>, u64) {
        let track = &self.track;
        let asks: HashMap<&str, Ask> =
            track.pending.values().map(|it| (it.session.as_str(), it.what)).collect();
        let mut sessions: Vec<_> =
            track.sessions.iter().filter(|(_, session)| session.listed).collect();
        sessions.sort_by_key(|(id, session)| urgency(id, session, &asks));
        let more = sessions.len().saturating_sub(most) as u64;
        sessions.truncate(most);
        let steps = steps(track, &sessions);
        let tell = |(id, session): (&String, &Session)| {
            let steps = steps.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            activity(id, session, asks.get(id.as_str()).copied(), steps)
        };
        (sessions.into_iter().map(tell).collect(), more)
    }
}

/// Who waits for a person, then who works, each the longest first; then who was heard of last.
fn urgency<'a>(
    id: &'a str,
    session: &Session,
    asks: &HashMap<&str, Ask>,
) -> (u8, Option<Timestamp>, Reverse<u64>, &'a str) {
    match (asks.contains_key(id), session.busy) {
        (true, _) => (0, session.since, Reverse(0), id),
        (false, true) => (1, session.since, Reverse(0), id),
        (false, false) => (2, None, Reverse(session.touched), id),
    }
}

/// What the turns of these sessions have begun and not ended.
fn steps<'a>(track: &'a Track, sessions: &[(&'a String, &Session)]) -> Steps<'a> {
    let mut steps: Steps<'a> =
        sessions.iter().filter(|it| it.1.busy).map(|it| (it.0.as_str(), Vec::new())).collect();
    for (session, json) in track.open.all() {
        if let Some(of_session) = steps.get_mut(session) {
            of_session.extend(Step::read(json));
        }
    }
    steps
}

fn activity(id: &str, session: &Session, ask: Option<Ask>, steps: &[Step]) -> SessionActivity {
    let tools: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Tool { .. })).collect();
    // Whichever was told first is not known: the same each time will do.
    let tool = tools.iter().filter_map(|step| match step {
        Step::Tool { name, title } => Some((name, title)),
        _ => None,
    });
    let tool = tool.min().map(|(name, title)| ToolActivity {
        name: name.clone(),
        title: title.clone(),
        more: tools.len() as u64 - 1,
    });
    let doing = match ask {
        Some(Ask::Permission) => Some(Doing::Permission),
        Some(Ask::Question) => Some(Doing::Question),
        None if !session.busy => None,
        None if tool.is_some() => Some(Doing::Tool),
        None if steps.contains(&Step::Answering) => Some(Doing::Answering),
        None if steps.contains(&Step::Thinking) => Some(Doing::Thinking),
        None => Some(Doing::Working),
    };
    SessionActivity {
        session_id: id.to_owned(),
        parent_session_id: session.parent.clone(),
        title: session.title.clone(),
        directory: session.directory.clone(),
        status: match (ask, session.busy) {
            (Some(_), _) => SessionStatus::Waiting,
            (None, true) => SessionStatus::Busy,
            (None, false) => SessionStatus::Idle,
        },
        since: session.since.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        doing,
        tool,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    fn core(events: &[&str]) -> Core {
        let mut core = Core::new(Limits::default());
        for event in events {
            core.publish(format!(r#"{{"directory":"/r","payload":{event}}}"#));
        }
        core
    }

    fn status(session: &str, status: &str) -> String {
        format!(
            r#"{{"type":"session.status","properties":{{"sessionID":"{session}","status":{{"type":"{status}"}}}}}}"#
        )
    }

    #[test]
    fn who_waits_comes_before_who_works_and_each_says_what_it_does() {
        let named = r#"{"type":"session.updated","properties":{"info":{"id":"ses_1","title":"Mend the door","parentID":"ses_0"}}}"#;
        let tool = r#"{"type":"message.part.updated","properties":{"part":{"id":"prt_1","sessionID":"ses_1","type":"tool","callID":"c","tool":"bash","state":{"status":"running","input":{"command":"make"}}}}}"#;
        let asked = r#"{"type":"permission.asked","properties":{"id":"per_1","sessionID":"ses_2","permission":"bash"}}"#;
        let core = core(&[
            &status("ses_3", "idle"),
            named,
            &status("ses_1", "busy"),
            tool,
            &status("ses_2", "busy"),
            asked,
            &status("ses_4", "busy"),
        ]);
        let (active, more) = core.doing(3);
        let told: Vec<_> =
            active.iter().map(|it| (it.session_id.as_str(), it.status, it.doing)).collect();
        assert_eq!(told[0], ("ses_2", SessionStatus::Waiting, Some(Doing::Permission)));
        assert!(told.contains(&("ses_1", SessionStatus::Busy, Some(Doing::Tool))));
        assert!(told.contains(&("ses_4", SessionStatus::Busy, Some(Doing::Working))));
        assert_eq!(more, 1);
        let one = active.iter().find(|it| it.session_id == "ses_1").unwrap();
        assert_eq!(one.title.as_deref(), Some("Mend the door"));
        assert_eq!(one.parent_session_id.as_deref(), Some("ses_0"));
        let tool = one.tool.as_ref().unwrap();
        assert_eq!(
            (tool.name.as_str(), tool.title.as_deref(), tool.more),
            ("bash", Some("make"), 0)
        );
        assert!(one.since.is_some());
    }

    #[test]
    fn a_deleted_session_is_not_told_of() {
        let deleted = r#"{"type":"session.deleted","properties":{"sessionID":"ses_1"}}"#;
        let sync = r#"{"type":"sync","syncEvent":{"id":"evt_2","seq":7,"aggregateID":"ses_1"}}"#;
        let core = core(&[&status("ses_1", "busy"), deleted, sync]);
        assert_eq!(core.doing(9), (Vec::new(), 0));
    }
}
