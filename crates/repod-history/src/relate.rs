//! How two copies of one session stand to each other: a pure function.
//!
//! OpenCode numbers what happens to a session in its event log, so the log tells which copy went on. Sessions
//! from before there was a log are told apart by when they were last changed.

/// What of a copy is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Number of the last event; none for a session without a log.
    pub(crate) seq: Option<i64>,
    /// Id of that event.
    pub(crate) last: Option<String>,
    /// When the session's own row was changed last.
    pub(crate) updated: i64,
    /// How many rows belong to it, and when the newest was changed.
    pub(crate) rows: i64,
    pub(crate) newest: i64,
}

/// How the copy that is read stands to the one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Same,
    /// It went on from where the other is.
    Ahead,
    /// The other went on from where it is.
    Behind,
    /// Both went on.
    Diverged,
}

/// `from` beside `to`. The two functions look an event's id up by its number, in the log of either.
pub(crate) fn relate(
    from: &Mark,
    to: &Mark,
    id_in_from: Option<&str>,
    id_in_to: Option<&str>,
) -> Relation {
    match (from.seq, to.seq) {
        (Some(_), Some(_)) if from.last.is_some() && to.last.is_some() => {
            let to_is_within = to.last.as_deref() == id_in_from;
            let from_is_within = from.last.as_deref() == id_in_to;
            match (from_is_within, to_is_within) {
                (true, true) if same_rows(from, to) => Relation::Same,
                // Todos and shares are not in the log.
                (true, true) => by_time(from, to),
                (false, true) => Relation::Ahead,
                (true, false) => Relation::Behind,
                (false, false) => Relation::Diverged,
            }
        }
        // The log begins with the first change since there are logs.
        (Some(_), None) if from.updated >= to.updated => Relation::Ahead,
        (None, Some(_)) if to.updated >= from.updated => Relation::Behind,
        (None, None) | (Some(_), Some(_)) if same_rows(from, to) => Relation::Same,
        (None, None) | (Some(_), Some(_)) => by_time(from, to),
        _ => Relation::Diverged,
    }
}

fn same_rows(from: &Mark, to: &Mark) -> bool {
    (from.updated, from.rows, from.newest) == (to.updated, to.rows, to.newest)
}

fn by_time(from: &Mark, to: &Mark) -> Relation {
    let (one, other) = (from.updated.max(from.newest), to.updated.max(to.newest));
    match one.cmp(&other) {
        std::cmp::Ordering::Greater => Relation::Ahead,
        std::cmp::Ordering::Less => Relation::Behind,
        std::cmp::Ordering::Equal => Relation::Diverged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A log of `shared` events and then `own` ones of this copy.
    fn mark(shared: i64, own: i64, copy: &str) -> (Mark, impl Fn(i64) -> Option<String>) {
        let copy = copy.to_owned();
        let id = move |seq: i64| match seq {
            _ if seq < 0 || seq >= shared + own => None,
            _ if seq < shared => Some(format!("shared-{seq}")),
            _ => Some(format!("{copy}-{seq}")),
        };
        let seq = (shared + own - 1).max(-1);
        let seq = (seq >= 0).then_some(seq);
        let last = seq.and_then(&id);
        let rows = shared + own;
        (Mark { seq, last, updated: rows, rows, newest: rows }, id)
    }

    proptest! {
        #[test]
        fn the_log_tells_who_went_on(shared in 1_i64..9, mine in 0_i64..5, theirs in 0_i64..5) {
            let (from, from_id) = mark(shared, mine, "mine");
            let (to, to_id) = mark(shared, theirs, "theirs");
            let in_from = to.seq.and_then(&from_id);
            let in_to = from.seq.and_then(&to_id);
            let expected = match (mine, theirs) {
                (0, 0) => Relation::Same,
                (_, 0) => Relation::Ahead,
                (0, _) => Relation::Behind,
                _ => Relation::Diverged,
            };
            prop_assert_eq!(relate(&from, &to, in_from.as_deref(), in_to.as_deref()), expected);
        }
    }

    #[test]
    fn without_a_log_the_later_change_counts() {
        let old = Mark { updated: 1, rows: 2, newest: 1, ..Mark::default() };
        let new = Mark { updated: 5, rows: 4, newest: 5, ..Mark::default() };
        assert_eq!(relate(&new, &old, None, None), Relation::Ahead);
        assert_eq!(relate(&old, &new, None, None), Relation::Behind);
        assert_eq!(relate(&old, &old, None, None), Relation::Same);
    }
}
