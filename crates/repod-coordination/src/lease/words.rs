//! What a refused model, or person, reads: who has it, since when, and what to do instead.

use super::snapshot::owner_info;
use super::{Branch, Hold, Holder, Refusal, RefusalKind, Why};
use repod_proto::{ApiError, ErrorCode};
use std::path::Path;

/// The error for a refusal.
pub fn refusal(refusal: &Refusal) -> ApiError {
    let branch = format!("`{}` of {}", refusal.branch(), refusal.key.repo);
    let waited = age(refusal.waited);
    let mut retry = true;
    let (code, message) = match &refusal.kind {
        RefusalKind::Busy => {
            let text = format!("{branch} is being written{}", by(refusal.holder.as_ref()));
            (ErrorCode::LeaseBusy, text + &line(refusal.position, "you would be"))
        }
        RefusalKind::LeaseTimeout => {
            let by = by(refusal.holder.as_ref());
            let text = format!("{branch} did not come free within {waited}: it is written{by}");
            (ErrorCode::LeaseTimeout, text + &line(refusal.position, "you were"))
        }
        RefusalKind::TicketTimeout => {
            let running = refusal.holder.as_ref().map(running).unwrap_or_default();
            let text =
                format!("earlier calls on this worktree did not end within {waited}{running}");
            (ErrorCode::LeaseTimeout, text)
        }
        RefusalKind::Deadlock(circle) => {
            let others: Vec<String> =
                circle.iter().skip(1).map(|t| format!("`{}`", one_line(t, 80))).collect();
            let others = others.join(", that one for ");
            let text = format!(
                "waiting for {branch} would never end: you would wait for {others}, and that one for you"
            );
            (ErrorCode::LeaseDeadlock, text)
        }
        RefusalKind::Stale => {
            retry = false;
            let text = format!("the backend that asks for {branch} has been replaced");
            (ErrorCode::LeaseStale, text)
        }
        RefusalKind::Revoked(why) => (
            ErrorCode::LeaseRevoked,
            format!("the lease of {branch} was taken away: {}", cause(why)),
        ),
        RefusalKind::Overloaded(what) => (ErrorCode::Overloaded, format!("too many {what}")),
        RefusalKind::Withdrawn => {
            retry = false;
            let text =
                "the call was aborted, or its turn ended, before it ran; nothing was written";
            (ErrorCode::Stopped, text.to_owned())
        }
        RefusalKind::SameName => {
            retry = false;
            let text = "another call of the same name is at work; nothing was written";
            (ErrorCode::InvalidRequest, text.to_owned())
        }
        RefusalKind::NotSecured(error) => {
            let text = format!("the lease of {branch} could not be put on record: {error}");
            let hint = error.hint.clone().unwrap_or_else(|| "try again".to_owned());
            return ApiError::new(error.code, text).hint(hint);
        }
    };
    let mut error = ApiError::new(code, message);
    if retry {
        error = error.hint(hint(refusal));
    }
    with_details(error, refusal)
}

fn hint(refusal: &Refusal) -> String {
    let first = match refusal.kind {
        RefusalKind::Deadlock(_) => "end this turn so that the others can go on",
        RefusalKind::TicketTimeout => return "wait for that call, then try again".to_owned(),
        _ => "try again later",
    };
    let Branch::Named(branch) = refusal.branch() else { return first.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let directory = refusal.worktree.as_deref().and_then(|path| Path::new(path).file_name());
    match directory.and_then(|name| name.to_str()) {
        // Into a shell goes only what means nothing to it.
        Some(name) if branch.chars().chain(name.chars()).all(plain) => format!(
            "{first}, or work in a worktree: `git worktree add -b {branch}-2 ../{name}-2 {branch}`"
        ),
        _ => format!("{first}, or work in a worktree of your own"),
    }
}

fn by(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else { return " by another".to_owned() };
    if let Some(by) = &holder.blocked_by {
        return format!(" by {by}, which holds its lock file");
    }
    let party = &holder.party;
    let until = match holder.hold {
        Hold::Turn => " to the end of its turn",
        Hold::Call => "",
    };
    let (title, session, age) = (one_line(&party.title, 80), &party.session_id, age(holder.age));
    format!(" by `{title}` ({session}, for {age}){until}{}", running(holder))
}

fn running(holder: &Holder) -> String {
    let Some(call) = &holder.running else { return String::new() };
    let (what, age) = (one_line(&call.what, 80), age(call.age));
    match &call.permission {
        Some(_) => format!("; its call `{what}` waits for a person's permission"),
        None => format!("; `{what}` has been running for {age}"),
    }
}

fn line(position: u32, verb: &str) -> String {
    if position == 0 { String::new() } else { format!("; {verb} number {position} in line") }
}

fn cause(why: &Why) -> String {
    match why {
        Why::Forced { by } => format!("by {}", one_line(by, 80)),
        Why::TooLong => "a command ran for too long while others waited".to_owned(),
        Why::Overdue => "its turn had ended".to_owned(),
        Why::Done | Why::Gone | Why::NotSecured => "its owner is gone".to_owned(),
    }
}

fn with_details(error: ApiError, refusal: &Refusal) -> ApiError {
    let error = error
        .detail("repo_id", refusal.key.repo.as_str())
        .detail("branch", refusal.branch().to_string())
        .detail("waited_seconds", refusal.waited / 1000);
    let error = match refusal.position {
        0 => error,
        position => error.detail("position", position),
    };
    let Some(holder) = &refusal.holder else { return error };
    let owner = owner_info(&holder.party);
    let error = error
        .detail("owner_session_id", owner.session_id)
        .detail("owner_root_session_id", owner.root_session_id)
        .detail("owner_title", owner.title)
        .detail("owner_directory", owner.directory)
        .detail("age_seconds", holder.age / 1000);
    match &holder.running {
        Some(call) => error.detail("running", call.what.as_str()),
        None => error,
    }
}

/// How long, in the two largest units.
fn age(ms: u64) -> String {
    let s = ms / 1000;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Text of others inside a message: on one line, without backticks, so long at most.
pub fn one_line(text: &str, most: usize) -> String {
    let clean = |c: char| match c {
        c if c.is_control() => ' ',
        '`' => '\'',
        c => c,
    };
    let mut line: String = text.chars().take(most).map(clean).collect();
    if text.chars().nth(most).is_some() {
        line.pop();
        line.push('…');
    }
    line
}
