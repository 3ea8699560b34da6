//! Whether a backend may be put to sleep: a pure rule over what is known of it.

use super::activity::Clients;
use crate::hub;
use std::fmt;
use std::time::Duration;

/// A prompt that is answered at once makes its session busy a moment later. So long is waited
/// after a request that may have been one, before a session that seems idle is believed.
pub(crate) const STIR: Duration = Duration::from_secs(2);

/// What counts against sleep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Whether a program that keeps a backend awake on purpose counts.
    pub(crate) handles: bool,
    /// Whether somebody who only listens to events does.
    pub(crate) listeners: bool,
    /// How long it must have been quiet.
    pub(crate) quiet: Duration,
}

impl Rule {
    /// Somebody asked for it by name: only work that would be lost counts.
    pub(crate) const BY_HAND: Self =
        Self { handles: false, listeners: false, quiet: Duration::ZERO };
}

/// All that is known of a backend's use.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) clients: Clients,
    pub(crate) events: hub::Activity,
}

/// Why it has to stay awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awake {
    /// Nobody has found out yet what it does. Unknown is not idle.
    Unknown,
    /// Sessions have a turn in flight.
    Busy(usize),
    /// Somebody has to answer a permission or a question.
    Waiting(usize),
    /// Terminals are open in it.
    Terminals(usize),
    /// Requests are in flight.
    Requests(usize),
    /// Clients are connected.
    Clients(usize),
    /// It was used just now; it may be asked again after this time.
    Recent(Duration),
}

impl Awake {
    /// Whether it is used by somebody, as opposed to: will be idle in a moment unless it is used.
    pub(crate) fn is_used(self) -> bool {
        !matches!(self, Self::Unknown | Self::Requests(_) | Self::Recent(_))
    }
}

impl Standing {
    /// What keeps it awake; nothing when it may sleep. What weighs most comes first.
    pub(crate) fn awake(&self, rule: Rule) -> Option<Awake> {
        let Self { clients, events } = self;
        let waiting = events.permissions + events.questions;
        let mut connected = 0;
        if rule.listeners {
            connected += clients.listeners;
        }
        if rule.handles {
            connected += clients.handles;
        }
        let quiet = self.quiet();
        if !events.known {
            Some(Awake::Unknown)
        } else if waiting > 0 {
            // Its session is busy too; but this is what has to be done about it.
            Some(Awake::Waiting(waiting))
        } else if !events.busy.is_empty() {
            Some(Awake::Busy(events.busy.len()))
        } else if events.terminals > 0 {
            Some(Awake::Terminals(events.terminals))
        } else if connected > 0 {
            Some(Awake::Clients(connected))
        } else if clients.requests > 0 {
            Some(Awake::Requests(clients.requests))
        } else if clients.unstirred < STIR {
            Some(Awake::Recent(STIR.saturating_sub(clients.unstirred)))
        } else if quiet < rule.quiet {
            Some(Awake::Recent(rule.quiet.saturating_sub(quiet)))
        } else {
            None
        }
    }

    /// How long nobody has used it and it has told nothing.
    pub(crate) fn quiet(&self) -> Duration {
        let told = self.events.last_event.map_or(Duration::MAX, |at| at.elapsed());
        self.clients.untouched.min(told)
    }
}

impl fmt::Display for Awake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |count: usize| if count == 1 { "" } else { "s" };
        match self {
            Self::Unknown => f.write_str("what it is doing is not known yet"),
            Self::Busy(n) => write!(f, "{n} session{} busy", if *n == 1 { " is" } else { "s are" }),
            Self::Waiting(n) => write!(f, "{n} question{} waiting for an answer", s(*n)),
            Self::Terminals(n) => write!(f, "{n} terminal{} open in it", s(*n)),
            Self::Requests(n) => write!(f, "{n} request{} in flight", s(*n)),
            Self::Clients(n) => write!(f, "{n} client{} connected", s(*n)),
            Self::Recent(_) => f.write_str("it was used a moment ago"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const RULE: Rule = Rule { handles: true, listeners: true, quiet: Duration::from_mins(30) };

    fn idle() -> Standing {
        let clients = Clients { untouched: HOUR, unstirred: HOUR, ..Clients::default() };
        Standing { clients, events: hub::Activity { known: true, ..hub::Activity::default() } }
    }

    fn with(change: impl FnOnce(&mut Standing)) -> Standing {
        let mut standing = idle();
        change(&mut standing);
        standing
    }

    #[test]
    fn everything_that_would_be_lost_keeps_it_awake_also_by_hand() {
        assert_eq!(idle().awake(RULE), None);
        let cases = [
            (with(|s| s.events.known = false), Awake::Unknown),
            (with(|s| s.events.busy = vec!["ses_1".into()]), Awake::Busy(1)),
            (with(|s| s.events.permissions = 1), Awake::Waiting(1)),
            (with(|s| s.events.questions = 2), Awake::Waiting(2)),
            (with(|s| s.events.terminals = 1), Awake::Terminals(1)),
            (with(|s| s.clients.requests = 1), Awake::Requests(1)),
            (with(|s| s.clients.unstirred = Duration::ZERO), Awake::Recent(STIR)),
        ];
        for (standing, why) in cases {
            assert_eq!(standing.awake(RULE), Some(why));
            assert_eq!(standing.awake(Rule::BY_HAND), Some(why));
        }
    }

    #[test]
    fn who_only_listens_counts_where_the_rule_says_so() {
        let listener = with(|s| s.clients.listeners = 1);
        assert_eq!(listener.awake(RULE), Some(Awake::Clients(1)));
        assert_eq!(listener.awake(Rule { listeners: false, ..RULE }), None);
        let handle = with(|s| s.clients.handles = 1);
        assert_eq!(handle.awake(Rule { listeners: false, ..RULE }), Some(Awake::Clients(1)));
        assert_eq!(handle.awake(Rule::BY_HAND), None);
    }

    #[test]
    fn quiet_is_counted_from_the_last_client_and_the_last_event() {
        let touched = with(|s| s.clients.untouched = Duration::from_mins(10));
        assert_eq!(touched.awake(RULE), Some(Awake::Recent(Duration::from_mins(20))));
        let told = with(|s| s.events.last_event = Some(std::time::Instant::now()));
        assert!(matches!(told.awake(RULE), Some(Awake::Recent(_))));
        assert_eq!(told.awake(Rule::BY_HAND), None);
    }
}
