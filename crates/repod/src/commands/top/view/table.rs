//! The table of repos: which columns there is room for, and a line for each repo.

use super::theme::Theme;
use super::words::{between, cut, fit, size, span, spark};
use crate::commands::top::model::{Sort, id};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use repod_proto::{Doing, RepoActivity, RepoId, SessionActivity};

/// Between two columns.
const GAP: usize = 1;
/// The least that is worth saying of what a repo does.
const DOING_LEAST: usize = 12;
const NAME_LEAST: usize = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Generation,
    Memory,
    Trend,
    Busy,
    Leases,
    Events,
    Clients,
    Idle,
    Doing,
}

/// The columns in the order they are given room in.
const BY_WEIGHT: [(Column, usize); 10] = [
    (Column::State, 12),
    (Column::Memory, 6),
    (Column::Busy, 4),
    (Column::Trend, 8),
    (Column::Events, 6),
    (Column::Doing, DOING_LEAST),
    (Column::Generation, 4),
    (Column::Leases, 5),
    (Column::Idle, 4),
    (Column::Clients, 4),
];
/// And in the order they are shown in.
const IN_ORDER: [Column; 11] = [
    Column::Name,
    Column::State,
    Column::Generation,
    Column::Memory,
    Column::Trend,
    Column::Busy,
    Column::Leases,
    Column::Events,
    Column::Clients,
    Column::Idle,
    Column::Doing,
];

/// The columns there is room for, with their widths.
pub(super) struct Columns(Vec<(Column, usize)>);

impl Columns {
    /// Columns for these repos in so much room.
    pub(super) fn of(rows: &[&RepoActivity], width: usize) -> Self {
        let longest = rows.iter().map(|repo| id(repo).as_str().len()).max().unwrap_or(0);
        let mut chosen = vec![(Column::Name, NAME_LEAST)];
        let mut left = width.saturating_sub(NAME_LEAST);
        for (column, wide) in BY_WEIGHT {
            if left >= wide + GAP {
                left -= wide + GAP;
                chosen.push((column, wide));
            }
        }
        // What is left is the name's, as far as it needs it, then the trend's, then for what it does.
        let mut grow = |column: Column, most: usize| {
            if let Some((_, wide)) = chosen.iter_mut().find(|it| it.0 == column) {
                let more = most.saturating_sub(*wide).min(left);
                *wide += more;
                left -= more;
            }
        };
        let has_room = width >= 100;
        grow(Column::Name, if has_room { longest } else { longest.min(20) });
        grow(Column::Trend, if width >= 140 { 30 } else { 12 });
        grow(Column::Doing, usize::MAX);
        let wide = |column: &Column| chosen.iter().find(|it| it.0 == *column).copied();
        Self(IN_ORDER.iter().filter_map(wide).collect())
    }

    /// The head, with a mark at what the rows are sorted by.
    pub(super) fn head(&self, sort: Sort, reverse: bool, theme: &Theme) -> Line<'static> {
        let cell = |(column, wide): &(Column, usize)| {
            let sorted = sorted_by(*column) == Some(sort);
            let mark = if reverse { "▲" } else { "▼" };
            let name = format!("{}{}", head(*column), if sorted { mark } else { "" });
            let style = if sorted { theme.title } else { theme.dim };
            Span::styled(fit(&name, *wide, is_right(*column)), style)
        };
        joined(self.0.iter().map(cell))
    }

    /// A repo's line.
    pub(super) fn row(
        &self,
        repo: &RepoActivity,
        all: &[&RepoActivity],
        now: &str,
        theme: &Theme,
    ) -> Line<'static> {
        let cell = |(column, wide): &(Column, usize)| {
            let (text, style) = match column {
                Column::Name => (name(id(repo), all, *wide), Style::new()),
                column => cell(*column, repo, now, *wide, theme),
            };
            Span::styled(fit(&text, *wide, is_right(*column)), style)
        };
        joined(self.0.iter().map(cell))
    }
}

fn joined(cells: impl Iterator<Item = Span<'static>>) -> Line<'static> {
    let mut spans = Vec::new();
    for cell in cells {
        if !spans.is_empty() {
            spans.push(Span::raw(" ".repeat(GAP)));
        }
        spans.push(cell);
    }
    Line::from(spans)
}

fn head(column: Column) -> &'static str {
    match column {
        Column::Name => "REPO",
        Column::State => "STATE",
        Column::Generation => "GEN",
        Column::Memory => "MEM",
        Column::Trend => "TREND",
        Column::Busy => "BUSY",
        Column::Leases => "LEASE",
        Column::Events => "EV/s",
        Column::Clients => "CLI",
        Column::Idle => "IDLE",
        Column::Doing => "DOING",
    }
}

fn sorted_by(column: Column) -> Option<Sort> {
    Some(match column {
        Column::Name => Sort::Name,
        Column::State => Sort::State,
        Column::Memory => Sort::Memory,
        Column::Busy => Sort::Busy,
        Column::Events => Sort::Events,
        Column::Idle => Sort::Idle,
        _ => return None,
    })
}

fn is_right(column: Column) -> bool {
    !matches!(column, Column::Name | Column::State | Column::Trend | Column::Doing)
}

fn cell(
    column: Column,
    repo: &RepoActivity,
    now: &str,
    wide: usize,
    theme: &Theme,
) -> (String, Style) {
    let summary = &repo.summary;
    let state = summary.endpoint.state;
    let live = state.is_live();
    let number = |value: Option<u64>| value.filter(|it| live && *it > 0).map(|it| it.to_string());
    let plain = |text: Option<String>| (text.unwrap_or_default(), Style::new());
    match column {
        Column::Name => (id(repo).to_string(), Style::new()),
        Column::State => (state.as_str().to_owned(), theme.state(state)),
        Column::Generation => plain(Some(summary.endpoint.generation.to_string())),
        Column::Memory => {
            let growing = summary.memory.as_ref().is_some_and(|memory| memory.growing.is_some());
            let style = if growing { theme.warn } else { Style::new() };
            (summary.rss_bytes.map(size).unwrap_or_default(), style)
        }
        Column::Trend => (spark(&repo.rss_history, wide), theme.dim),
        Column::Busy => match (summary.busy, summary.waiting) {
            (_, Some(waiting)) if waiting > 0 => {
                (format!("{}!{waiting}", summary.busy.unwrap_or(0)), theme.warn)
            }
            (busy, _) => (number(busy).unwrap_or_default(), theme.good),
        },
        Column::Leases => match (summary.leases.unwrap_or(0), summary.lease_waiters.unwrap_or(0)) {
            (0, 0) => plain(None),
            (held, 0) => plain(Some(held.to_string())),
            (held, waiting) => (format!("{held}+{waiting}"), theme.warn),
        },
        Column::Events => plain(summary.recent_events.filter(|it| live && *it > 0).map(per_second)),
        Column::Clients => plain(number(summary.clients)),
        Column::Idle => plain(summary.idle_seconds.filter(|_| live).map(span)),
        Column::Doing => doing(repo, now, theme),
    }
}

/// Events of ten seconds, by the second.
pub(super) fn per_second(recent: u64) -> String {
    if recent < 100 {
        format!("{}.{}", recent / 10, recent % 10)
    } else {
        (recent / 10).to_string()
    }
}

/// The id, without its digits where there is no room; two of one name keep some.
fn name(of: &RepoId, all: &[&RepoActivity], wide: usize) -> String {
    let whole = of.as_str();
    let Some((slug, digits)) = whole.rsplit_once('-').filter(|_| whole.len() > wide) else {
        return whole.to_owned();
    };
    let same = |repo: &&&RepoActivity| {
        id(repo).as_str().rsplit_once('-').is_some_and(|other| other.0 == slug)
    };
    if all.iter().filter(same).count() < 2 {
        return slug.to_owned();
    }
    let digits = digits.get(..4).unwrap_or(digits);
    format!("{}-{digits}", cut(slug, wide.saturating_sub(5)))
}

/// The most urgent thing to be said of a repo.
fn doing(repo: &RepoActivity, now: &str, theme: &Theme) -> (String, Style) {
    if let Some(error) = &repo.summary.error {
        return (error.message.clone(), theme.bad);
    }
    match repo.active.first() {
        Some(session) if session.doing.is_some() => {
            let age = session.since.as_deref().and_then(|since| between(since, now));
            let age = age.map(|age| format!(" {age}")).unwrap_or_default();
            (format!("{}{age}", step(session)), theme.session(session.status))
        }
        _ => (String::new(), Style::new()),
    }
}

/// What a session is doing, in a few words.
pub(super) fn step(session: &SessionActivity) -> String {
    let tool = session.tool.as_ref().map(|tool| {
        let more = if tool.more > 0 { format!(" (+{})", tool.more) } else { String::new() };
        let title = tool.title.as_deref().map(|title| format!(" {title}")).unwrap_or_default();
        format!("{}{title}{more}", tool.name)
    });
    match (session.doing, tool) {
        (Some(Doing::Permission), Some(tool)) => format!("waits for permission: {tool}"),
        (Some(Doing::Permission), None) => "waits for permission".to_owned(),
        (Some(Doing::Question), _) => "asks a question".to_owned(),
        (Some(Doing::Tool), Some(tool)) => tool,
        (Some(Doing::Answering), _) => "answering".to_owned(),
        (Some(Doing::Thinking), _) => "thinking".to_owned(),
        (Some(_), _) => "working".to_owned(),
        (None, _) => String::new(),
    }
}
