//! From the model to a frame: pure functions.

mod detail;
mod table;
mod theme;
mod words;

pub(super) use theme::Theme;

use super::model::{LogPage, Mode, Model, Verb};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Clear, Paragraph, Widget as _};
use repod_proto::{BackendState, RepoActivity, RepoId};
use table::Columns;
use words::{count, cut, size};

/// The least there can be shown in.
pub(super) const LEAST: (u16, u16) = (40, 8);
/// The least lines for the repo that is selected, beside the table.
const DETAIL_LEAST: u16 = 6;

const HELP: [(&str, &str); 13] = [
    ("↑ ↓ j k", "select a repo; PgUp PgDn Home End too"),
    ("Enter", "all of it: sessions, leases, who waits"),
    ("a", "attach: OpenCode's terminal interface on it"),
    ("l", "the end of its backend's log"),
    ("h", "hibernate it (asks first)"),
    ("s", "stop it (asks first)"),
    ("r", "restart it (asks first)"),
    ("/", "filter by id, path, state or session; Esc: all"),
    ("o  O", "sort by the next column; the other way round"),
    ("^Z  ^L", "suspend; draw anew"),
    ("q  ^C", "quit"),
    ("BUSY 2!1", "two turns in flight, one waits for a person"),
    ("LEASE 1+2", "one branch is held, two wait for it"),
];

/// Draws everything.
pub(super) fn draw(model: &Model, theme: &Theme, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (wide, high) = LEAST;
        let text = format!("{}×{} is too small: {wide}×{high} at least", area.width, area.height);
        return Paragraph::new(text)
            .wrap(ratatui::widgets::Wrap { trim: true })
            .render(area, buffer);
    }
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(area);
    put(vec![header(model, usize::from(area.width), theme)], top, buffer);
    match &model.mode {
        Mode::Log(page) => log(page, middle, theme, buffer),
        Mode::Detail(from) => whole(model, *from, middle, theme, buffer),
        _ => list(model, middle, theme, buffer),
    }
    put(vec![footer(model, usize::from(area.width), theme)], bottom, buffer);
    match &model.mode {
        Mode::Help => dialog("keys", &help(theme), middle, buffer),
        Mode::Confirm(verb, repo) => {
            dialog("sure?", &question(model, *verb, repo, theme), middle, buffer);
        }
        _ => {}
    }
}

/// One frame as text, with all there is in it.
pub(super) fn text(model: &Model, width: u16) -> Vec<String> {
    let theme = Theme::plain();
    let wide = usize::from(width.max(LEAST.0));
    let mut lines = vec![header(model, wide, &theme)];
    let rows = model.rows();
    if rows.is_empty() {
        lines.extend(empty(model));
    } else if let Some(snapshot) = &model.snapshot {
        let columns = Columns::of(&rows, wide);
        lines.push(columns.head(model.sort, model.reverse, &theme));
        for repo in &rows {
            lines.push(columns.row(repo, &rows, &snapshot.at, &theme));
            lines.extend(detail::activity(repo, snapshot, wide, &theme));
        }
    }
    lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect()
}

fn put(lines: Vec<Line<'static>>, area: Rect, buffer: &mut Buffer) {
    Paragraph::new(Text::from(lines)).render(area, buffer);
}

fn header(model: &Model, width: usize, theme: &Theme) -> Line<'static> {
    let mut spans = vec![Span::styled("repod top", theme.title)];
    if let Some(trouble) = &model.trouble {
        let old = if model.snapshot.is_some() { " (what follows is old)" } else { "" };
        spans.push(Span::styled(cut(&format!("  {trouble}{old}"), width - 9), theme.bad));
        return Line::from(spans);
    }
    let Some(snapshot) = &model.snapshot else {
        spans.push(Span::styled("  asks the daemon …", theme.dim));
        return Line::from(spans);
    };
    let all = &snapshot.repos;
    let of = |state: BackendState| {
        all.iter().filter(|repo| repo.summary.endpoint.state == state).count()
    };
    let sum = |of: fn(&RepoActivity) -> Option<u64>| all.iter().filter_map(of).sum::<u64>();
    let mut facts = vec![count(all.len(), "repo"), format!("{} ready", of(BackendState::Ready))];
    let asleep = of(BackendState::Hibernated);
    let failed = of(BackendState::Failed);
    let (busy, waiting) = (sum(|it| it.summary.busy), sum(|it| it.summary.waiting));
    for (number, what) in [(failed as u64, "failed"), (waiting, "waiting"), (busy, "busy")] {
        if number > 0 {
            facts.push(format!("{number} {what}"));
        }
    }
    if asleep > 0 {
        facts.push(format!("{asleep} asleep"));
    }
    facts.push(size(sum(|it| it.summary.rss_bytes)));
    let events = table::per_second(sum(|it| it.summary.recent_events));
    facts.push(format!("{events} events/s"));
    if !model.filter.is_empty() {
        facts.push(format!("{} shown", model.rows().len()));
    }
    spans.push(Span::raw(cut(&format!("  {}", facts.join(" · ")), width - 9)));
    Line::from(spans)
}

/// The table, and below it the repo that is selected.
fn list(model: &Model, area: Rect, theme: &Theme, buffer: &mut Buffer) {
    let rows = model.rows();
    let (Some(snapshot), Some((at, current))) = (&model.snapshot, model.current()) else {
        return put(empty(model), area, buffer);
    };
    let wanted = u16::try_from(rows.len() + 1).unwrap_or(u16::MAX);
    let has_detail = area.height >= DETAIL_LEAST + 7;
    let room = if has_detail { area.height - DETAIL_LEAST - 1 } else { area.height };
    let [table, rule, below] = Layout::vertical([
        Constraint::Length(wanted.min(room)),
        Constraint::Length(1),
        Constraint::Min(0),
    ])
    .areas(area);
    let columns = Columns::of(&rows, usize::from(area.width));
    let shown = usize::from(table.height).saturating_sub(1);
    let first = (at + 1).saturating_sub(shown);
    let mut lines = vec![columns.head(model.sort, model.reverse, theme)];
    for (index, repo) in rows.iter().enumerate().skip(first).take(shown) {
        let line = columns.row(repo, &rows, &snapshot.at, theme);
        lines.push(if index == at { line.patch_style(theme.selected) } else { line });
    }
    put(lines, table, buffer);
    if has_detail {
        put(vec![Line::styled("─".repeat(usize::from(area.width)), theme.dim)], rule, buffer);
        put(detail::lines(current, snapshot, usize::from(area.width), theme), below, buffer);
    }
}

/// The selected repo alone.
fn whole(model: &Model, from: usize, area: Rect, theme: &Theme, buffer: &mut Buffer) {
    let (Some(snapshot), Some((_, repo))) = (&model.snapshot, model.current()) else {
        return put(empty(model), area, buffer);
    };
    let width = usize::from(area.width);
    let columns = Columns::of(&[repo], width);
    let mut lines = vec![
        columns.head(model.sort, model.reverse, theme),
        columns.row(repo, &[repo], &snapshot.at, theme),
    ];
    lines.extend(detail::lines(repo, snapshot, width, theme));
    let first = from.min(lines.len().saturating_sub(usize::from(area.height)));
    put(lines.split_off(first), area, buffer);
}

fn log(page: &LogPage, area: Rect, theme: &Theme, buffer: &mut Buffer) {
    let high = usize::from(area.height.saturating_sub(1));
    let wide = usize::from(area.width);
    let mut shown = vec![Line::styled(cut(&format!("log of {}", page.repo), wide), theme.title)];
    match &page.lines {
        None => shown.push(Line::styled("reading …", theme.dim)),
        Some(lines) if lines.is_empty() => {
            shown.push(Line::styled("nothing has been written yet", theme.dim));
        }
        Some(lines) => {
            let last = lines.len().saturating_sub(page.above).max(high.min(lines.len()));
            let first = last.saturating_sub(high);
            shown.extend(lines[first..last].iter().map(|line| Line::raw(cut(line, wide))));
        }
    }
    put(shown, area, buffer);
}

/// What is said where there is nothing to show.
fn empty(model: &Model) -> Vec<Line<'static>> {
    let text: &[&str] = match &model.snapshot {
        Some(snapshot) if !snapshot.repos.is_empty() => {
            &["", "  no repo matches the filter", "", "  Esc shows all again"]
        }
        Some(_) => &[
            "",
            "  no repos yet",
            "",
            "  repod up PATH…       starts the backends of repositories",
            "  repod attach PATH    OpenCode's interface on one",
        ],
        None if model.trouble.is_some() => {
            &["", "  nothing to show yet", "", "  repod up PATH…       starts repod and a backend"]
        }
        None => &[],
    };
    text.iter().map(|line| Line::raw(*line)).collect()
}

fn footer(model: &Model, width: usize, theme: &Theme) -> Line<'static> {
    if let Mode::Filter(_) = &model.mode {
        let room = width.saturating_sub(9);
        let all: Vec<char> = model.filter.chars().collect();
        let end: String = all[all.len().saturating_sub(room)..].iter().collect();
        return Line::from(vec![Span::styled("filter: ", theme.key), Span::raw(format!("{end}▏"))]);
    }
    if let Some(notice) = &model.notice {
        let style = if notice.bad { theme.bad } else { theme.title };
        return Line::styled(cut(&notice.text, width), style);
    }
    let keys: &[(&str, &str)] = match &model.mode {
        Mode::Log(_) => &[("↑↓", "scroll"), ("g G", "begin, end"), ("Esc", "back")],
        Mode::Confirm(..) => &[("y", "yes"), ("n", "no")],
        Mode::Help => &[("any key", "back")],
        Mode::Detail(_) => {
            &[("Esc", "back"), ("a", "attach"), ("l", "log"), ("h s r", "sleep, stop, restart")]
        }
        _ => &[
            ("?", "help"),
            ("q", "quit"),
            ("a", "attach"),
            ("l", "log"),
            ("h", "hibernate"),
            ("s", "stop"),
            ("r", "restart"),
            ("/", "filter"),
            ("o", "sort"),
        ],
    };
    let mut line = Line::default();
    for (key, what) in keys {
        let more = [Span::styled(*key, theme.key), Span::raw(format!(" {what}  "))];
        if line.width() + more.iter().map(Span::width).sum::<usize>() > width + 2 {
            break;
        }
        line.extend(more);
    }
    line
}

fn help(theme: &Theme) -> Vec<Line<'static>> {
    let line = |(keys, what): &(&'static str, &'static str)| {
        Line::from(vec![
            Span::styled(words::fit(keys, 10, false), theme.key),
            Span::raw((*what).to_owned()),
        ])
    };
    HELP.iter().map(line).collect()
}

fn question(model: &Model, verb: Verb, repo: &RepoId, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(format!("{} {repo}?", verb.name()), theme.title)];
    let known = model.repo(repo).map(|repo| &repo.summary);
    let busy = known.and_then(|it| it.busy).unwrap_or(0);
    if busy > 0 {
        let turns = count(usize::try_from(busy).unwrap_or(usize::MAX), "turn");
        lines.push(match verb {
            Verb::Hibernate => Line::styled(format!("{turns} in flight keep it awake"), theme.warn),
            _ => Line::styled(format!("{turns} in flight will be lost"), theme.warn),
        });
    }
    lines.push(Line::raw(match verb {
        Verb::Stop => "It and all it started end; `repod up` starts it again.",
        Verb::Restart => "It ends and starts anew; clients stay connected.",
        Verb::Hibernate => "It ends until the next request wakes it.",
    }));
    lines.push(Line::from(vec![
        Span::styled("y", theme.key),
        Span::raw(" yes   "),
        Span::styled("n", theme.key),
        Span::raw(" no"),
    ]));
    lines
}

/// A box in the middle, as large as what is in it and the room allow.
fn dialog(title: &'static str, lines: &[Line<'static>], room: Rect, buffer: &mut Buffer) {
    let wide = lines.iter().map(Line::width).max().unwrap_or(0) + 4;
    let wide = u16::try_from(wide).unwrap_or(u16::MAX).min(room.width);
    let high = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(room.height);
    let area = Rect {
        x: room.x + (room.width - wide) / 2,
        y: room.y + (room.height - high) / 2,
        width: wide,
        height: high,
    };
    Clear.render(area, buffer);
    let block = Block::bordered().title(title).padding(ratatui::widgets::Padding::horizontal(1));
    Paragraph::new(Text::from(lines.to_vec())).block(block).render(area, buffer);
}

/// The id of the repo on a line of the table, for tests.
#[cfg(test)]
pub(super) fn ids(model: &Model) -> Vec<&str> {
    model.rows().into_iter().map(|repo| super::model::id(repo).as_str()).collect()
}
