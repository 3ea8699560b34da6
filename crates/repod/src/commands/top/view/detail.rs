//! One repo in full: its backend, its sessions, its leases and who waits for them.

use super::table::{per_second, step};
use super::theme::Theme;
use super::words::{between, count, cut, fit, size};
use crate::commands::top::model::id;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use repod_proto::{Activity, LeaseInfo, LeaseState, RepoActivity, SessionActivity, SessionStatus};

/// All lines there are of it.
pub(super) fn lines(
    repo: &RepoActivity,
    snapshot: &Activity,
    width: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let mut lines = backend(repo, width, theme);
    lines.extend(activity(repo, snapshot, width, theme));
    lines
}

/// Its sessions and leases.
pub(super) fn activity(
    repo: &RepoActivity,
    snapshot: &Activity,
    width: usize,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for session in &repo.active {
        lines.push(self::session(session, repo, &snapshot.at, width, theme));
    }
    if repo.more > 0 {
        lines.push(Line::styled(format!("  … and {} more sessions", repo.more), theme.dim));
    }
    for lease in snapshot.leases.iter().filter(|lease| lease.repo_id == *id(repo)) {
        lines.extend(self::lease(lease, &snapshot.at, width, theme));
    }
    lines
}

fn backend(repo: &RepoActivity, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let summary = &repo.summary;
    let endpoint = &summary.endpoint;
    let mut facts = Vec::new();
    if let Some(url) = &endpoint.url {
        facts.push(url.clone());
    }
    if let Some(backend) = &endpoint.backend {
        facts.push(format!("pid {}", backend.pid));
        if let Some(version) = &backend.version {
            facts.push(format!("OpenCode {version}"));
        }
    }
    if let Some(usage) = summary.memory.as_ref().map(|memory| memory.usage) {
        let processes = usize::try_from(usage.processes).unwrap_or(0);
        facts.push(format!("{} fair", size(usage.pss)));
        facts.push(format!("{processes} processes, {} files", usage.fds));
    }
    if let Some(events) = summary.recent_events.filter(|_| endpoint.state.is_live()) {
        facts.push(format!("{} events/s", per_second(events)));
    }
    let root = cut(&endpoint.root, width);
    let mut lines = vec![Line::styled(root, theme.title)];
    lines.push(Line::styled(cut(&facts.join(" · "), width), theme.dim));
    if let Some(growth) = summary.memory.as_ref().and_then(|memory| memory.growing) {
        let text = format!(
            "its memory keeps growing: {} an hour, {} so far",
            size(growth.bytes_per_hour),
            size(growth.grown_bytes)
        );
        lines.push(Line::styled(cut(&text, width), theme.warn));
    }
    for warning in &endpoint.warnings {
        lines.push(Line::styled(cut(warning, width), theme.warn));
    }
    if let Some(error) = &summary.error {
        lines.push(Line::styled(cut(&error.message, width), theme.bad));
        if let Some(hint) = &error.hint {
            lines.push(Line::styled(cut(&format!("hint: {hint}"), width), theme.key));
        }
    }
    lines
}

fn session(
    session: &SessionActivity,
    repo: &RepoActivity,
    now: &str,
    width: usize,
    theme: &Theme,
) -> Line<'static> {
    let (mark, name) = match session.status {
        SessionStatus::Busy => ("●", "busy"),
        SessionStatus::Waiting => ("!", "waits"),
        _ => ("○", "idle"),
    };
    let age = session.since.as_deref().and_then(|since| between(since, now)).unwrap_or_default();
    let state = format!("  {mark} {} ", fit(&format!("{name} {age}"), 10, false));
    let title = session.title.as_deref().unwrap_or(&session.session_id);
    let title = match session.parent_session_id {
        Some(_) => format!("↳ {title}"),
        None => title.to_owned(),
    };
    let root = &repo.summary.endpoint.root;
    let place = match session.directory.strip_prefix(root.as_str()) {
        _ if session.directory.is_empty() => String::new(),
        Some("") => String::new(),
        Some(below) => format!("  in {}", below.trim_start_matches('/')),
        None => format!("  in {}", session.directory),
    };
    let room = width.saturating_sub(Span::raw(state.as_str()).width());
    let for_title = if session.doing.is_some() { room / 2 } else { room };
    let title = cut(&title, for_title);
    let left = room.saturating_sub(Span::raw(title.as_str()).width());
    let doing = match step(session) {
        doing if doing.is_empty() => cut(&place, left),
        doing => cut(&format!("  {doing}{place}"), left),
    };
    let style = theme.session(session.status);
    let title_style = if session.doing.is_some() { Style::new() } else { theme.dim };
    Line::from(vec![
        Span::styled(state, style),
        Span::styled(title, title_style),
        Span::styled(doing, style),
    ])
}

fn lease(lease: &LeaseInfo, now: &str, width: usize, theme: &Theme) -> Vec<Line<'static>> {
    let state = match lease.state {
        LeaseState::Taking => "is taken by",
        LeaseState::Held => "held by",
        LeaseState::Closing => "let go by",
    };
    let age = between(&lease.since, now).unwrap_or_default();
    let calls = match lease.calls.first() {
        Some(call) if lease.calls.len() > 1 => {
            format!(": {} (+{})", call.what, lease.calls.len() - 1)
        }
        Some(call) => format!(": {}", call.what),
        None => String::new(),
    };
    let title = titled(&lease.owner.title, &lease.owner.session_id);
    let text = format!("  ▪ {} {state} {title} for {age}{calls}", lease.branch);
    let mut lines = vec![Line::raw(cut(&text, width))];
    if let Some(other) = &lease.blocked_by {
        lines.push(Line::styled(cut(&format!("    kept from it by {other}"), width), theme.warn));
    }
    for waiter in &lease.waiters {
        let age = between(&waiter.since, now).unwrap_or_default();
        let title = titled(&waiter.title, &waiter.session_id);
        let calls = usize::try_from(waiter.calls).unwrap_or(0);
        let text =
            format!("    {}. {title} waits for {age} ({})", waiter.position, count(calls, "call"));
        lines.push(Line::styled(cut(&text, width), theme.warn));
    }
    lines
}

fn titled<'a>(title: &'a str, id: &'a str) -> &'a str {
    if title.is_empty() { id } else { title }
}
