//! How far an operation is, told from the files themselves, and what is to be done next.
//!
//! ```text
//!            all as wanted ──────────────────────────────► applied
//!  looked at ─ some still as before ─► apply those, look again
//!            └ somebody else's content, or refused by a backend:
//!                 nothing of ours there ─► refused
//!                 something of ours ─────► undo it, look again ─► rolled back
//!                 ours from before a crash ► conflict: a person has to look
//! ```
//!
//! A pure decision: the caller reads the files, and carries out what is decided.

use super::patch::{Change, Content};
use repod_store::journal::{Operation, State};

/// Where one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Before,
    After,
    /// It holds something else, or can't be read.
    Elsewhere,
}

impl At {
    /// `now`: what is there, if that could be found out.
    pub(crate) fn of(
        now: Option<&Option<Content>>,
        before: &Option<Content>,
        after: &Option<Content>,
    ) -> Self {
        match now {
            Some(now) if now == after => Self::After,
            Some(now) if now == before => Self::Before,
            _ => Self::Elsewhere,
        }
    }
}

/// How the operation came here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// It was on record already: a daemon died while it was carried out.
    pub(crate) resumed: bool,
    /// Why it can't be finished.
    pub(crate) refused: Option<String>,
    /// Something of it had been applied and was put back.
    pub(crate) undone: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Have these changes made, by part.
    Apply(Vec<(usize, Vec<Change>)>),
    /// Have these taken back, by part, for this reason.
    Undo(Vec<(usize, Vec<Change>)>, String),
    /// It has come to this.
    Settle(State, Option<String>),
}

/// Decides, from where each file of each part is.
pub(crate) fn next(op: &Operation, standing: &[Vec<At>], past: &Past) -> Next {
    let elsewhere = || {
        let names = op.parts.iter().zip(standing).flat_map(|(part, at)| {
            let files = part.files.iter().zip(at);
            files.filter(|(_, at)| **at == At::Elsewhere).map(|(file, _)| file.path.display())
        });
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>()
    };
    let changed = elsewhere();
    let reason = past.refused.clone().or_else(|| {
        (!changed.is_empty()).then(|| format!("somebody else has changed {}", changed.join(", ")))
    });
    let ours = select(op, standing, At::After, |file| Change {
        path: file.path.clone(),
        renamed_from: None,
        before: file.after.clone(),
        after: file.before.clone(),
    });
    let Some(reason) = reason else {
        let left = select(op, standing, At::Before, |file| Change {
            path: file.path.clone(),
            renamed_from: None,
            before: file.before.clone(),
            after: file.after.clone(),
        });
        return match left.is_empty() {
            true => Next::Settle(State::Applied, None),
            false => Next::Apply(left),
        };
    };
    if past.resumed && past.refused.is_none() {
        // Whether ours was there before theirs can't be told any more.
        let message = format!("{reason}, after a crash in the middle of this write");
        return Next::Settle(State::Conflict, Some(message));
    }
    if !ours.is_empty() {
        return Next::Undo(ours, reason);
    }
    let state = if past.undone { State::RolledBack } else { State::Refused };
    Next::Settle(state, Some(reason))
}

fn select(
    op: &Operation,
    standing: &[Vec<At>],
    wanted: At,
    change: impl Fn(&repod_store::journal::FileChange) -> Change,
) -> Vec<(usize, Vec<Change>)> {
    let parts = op.parts.iter().zip(standing).enumerate().map(|(index, (part, at))| {
        // What is to be as it was is both, and needs nothing.
        let moves = part.files.iter().zip(at).filter(|(file, _)| file.before != file.after);
        let changes: Vec<_> =
            moves.filter(|(_, at)| **at == wanted).map(|(file, _)| change(file)).collect();
        (index, changes)
    });
    parts.filter(|(_, changes)| !changes.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Kind;
    use repod_store::journal::{FileChange, Part};

    fn text(text: &str) -> Option<Content> {
        Some(Content { kind: Kind::Plain, bytes: text.as_bytes().to_vec() })
    }

    fn operation(parts: &[&[&str]]) -> Operation {
        let file =
            |name: &&str| FileChange { path: name.into(), before: text("old"), after: text("new") };
        let part = |files: &&[&str]| Part {
            repo: "web-3f2a9c1b04de".into(),
            directory: "/src/web".into(),
            branch: "main".into(),
            fence: 1,
            files: files.iter().map(file).collect(),
        };
        Operation {
            id: "op".into(),
            at_ms: 0,
            from_repo: None,
            from_session: String::new(),
            from_root: String::new(),
            title: String::new(),
            tool: "write".into(),
            parts: parts.iter().map(part).collect(),
            state: State::Pending,
            message: None,
        }
    }

    fn parts(changes: &[(usize, Vec<Change>)]) -> Vec<(usize, usize)> {
        changes.iter().map(|(part, changes)| (*part, changes.len())).collect()
    }

    #[test]
    fn what_is_left_is_applied_and_then_it_is_done() {
        let op = operation(&[&["a", "b"], &["c"]]);
        let standing = [vec![At::Before, At::After], vec![At::Before]];
        for resumed in [false, true] {
            let past = Past { resumed, ..Past::default() };
            let Next::Apply(left) = next(&op, &standing, &past) else { panic!() };
            assert_eq!(parts(&left), [(0, 1), (1, 1)]);
            let done = [vec![At::After, At::After], vec![At::After]];
            assert_eq!(next(&op, &done, &past), Next::Settle(State::Applied, None));
        }
    }

    #[test]
    fn what_was_refused_leaves_nothing_of_it_behind() {
        let op = operation(&[&["a"], &["c"]]);
        let standing = [vec![At::After], vec![At::Elsewhere]];
        let Next::Undo(ours, reason) = next(&op, &standing, &Past::default()) else { panic!() };
        assert_eq!(parts(&ours), [(0, 1)]);
        assert_eq!((&ours[0].1[0].before, &ours[0].1[0].after), (&text("new"), &text("old")));
        assert!(reason.contains("`c`"), "{reason}");
        let past = Past { refused: Some(reason), undone: true, ..Past::default() };
        let back = [vec![At::Before], vec![At::Elsewhere]];
        let settled = next(&op, &back, &past);
        assert!(matches!(settled, Next::Settle(State::RolledBack, Some(_))), "{settled:?}");
        let first = next(&op, &back, &Past::default());
        assert!(matches!(first, Next::Settle(State::Refused, Some(_))), "{first:?}");
    }

    #[test]
    fn what_a_crash_left_and_somebody_changed_is_for_a_person() {
        let op = operation(&[&["a", "b"]]);
        let past = Past { resumed: true, ..Past::default() };
        for other in [At::Before, At::After, At::Elsewhere] {
            let settled = next(&op, &[vec![At::Elsewhere, other]], &past);
            assert!(matches!(settled, Next::Settle(State::Conflict, Some(_))), "{settled:?}");
        }
    }
}
