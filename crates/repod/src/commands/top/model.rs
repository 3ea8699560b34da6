//! What is shown and what is asked for: a pure `(state, message) -> (state, effects)`.

use clap::ValueEnum;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use repod_proto::{Activity, BackendState, RepoActivity, RepoId};
use std::cmp::Reverse;

/// Characters of a filter.
const FILTER_MAX: usize = 100;

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// The daemon answered.
    Snapshot(Box<Activity>),
    /// It did not; why.
    Unreachable(String),
    /// What was asked for is done, or why it could not be.
    Done(Verb, RepoId, Result<(), String>),
    /// The end of a backend's log.
    Log(RepoId, Vec<String>),
    /// Something to tell.
    Notice(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Quit,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Draw everything anew: something else wrote on the terminal.
    Redraw,
    /// OpenCode's interface of the repo with this root.
    Attach(String),
    Act(Verb, RepoId),
    /// Read the log of this repo, from the beginning of the page on or as it grows.
    ReadLog(RepoId),
}

/// What can be done to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Stop,
    Restart,
    Hibernate,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Hibernate => "hibernate",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Stop => "has stopped",
            Self::Restart => "has been restarted",
            Self::Hibernate => "sleeps",
        }
    }
}

/// What the repos are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Their id
    #[default]
    Name,
    /// The state, those that need somebody first
    State,
    /// Resident memory, the largest first
    Memory,
    /// Sessions that are busy or wait, the most first
    Busy,
    /// Events of the last seconds, the most first
    Events,
    /// How long nobody has used them, the shortest first
    Idle,
}

impl Sort {
    fn next(self) -> Self {
        let all = Self::value_variants();
        let at = all.iter().position(|it| *it == self).unwrap_or_default();
        all[(at + 1) % all.len()]
    }
}

/// What has the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    List,
    /// One repo on the whole screen, from this line on.
    Detail(usize),
    /// A filter is being typed; what it was before.
    Filter(String),
    Help,
    Confirm(Verb, RepoId),
    Log(LogPage),
}

/// The end of a log, so many lines above its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogPage {
    pub(super) repo: RepoId,
    pub(super) lines: Option<Vec<String>>,
    pub(super) above: usize,
}

/// What was last to tell, and whether it is a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) snapshot: Option<Activity>,
    /// Why what is shown is not what is.
    pub(super) trouble: Option<String>,
    pub(super) selected: Option<RepoId>,
    pub(super) sort: Sort,
    pub(super) reverse: bool,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) notice: Option<Notice>,
}

impl Model {
    pub(super) fn new(sort: Sort, filter: String) -> Self {
        Self { sort, filter, ..Self::default() }
    }

    /// The repos as they are shown.
    pub(super) fn rows(&self) -> Vec<&RepoActivity> {
        let repos = self.snapshot.iter().flat_map(|snapshot| &snapshot.repos);
        let mut rows: Vec<_> = repos.filter(|repo| matches(repo, &self.filter)).collect();
        rows.sort_by(|a, b| {
            let (a_id, b_id) = (id(a), id(b));
            let by = match self.sort {
                Sort::Name => a_id.cmp(b_id),
                Sort::State => urgency(a).cmp(&urgency(b)),
                Sort::Memory => Reverse(a.summary.rss_bytes).cmp(&Reverse(b.summary.rss_bytes)),
                Sort::Busy => Reverse(work(a)).cmp(&Reverse(work(b))),
                Sort::Events => {
                    Reverse(a.summary.recent_events).cmp(&Reverse(b.summary.recent_events))
                }
                Sort::Idle => idle(a).cmp(&idle(b)),
            };
            let by = if self.reverse { by.reverse() } else { by };
            by.then_with(|| a_id.cmp(b_id))
        });
        rows
    }

    /// The repo the keys are about, and its place among those shown.
    pub(super) fn current(&self) -> Option<(usize, &RepoActivity)> {
        let rows = self.rows();
        let wanted = self.selected.as_ref();
        let at = rows.iter().position(|repo| Some(id(repo)) == wanted).unwrap_or(0);
        rows.get(at).map(|repo| (at, *repo))
    }

    pub(super) fn repo(&self, wanted: &RepoId) -> Option<&RepoActivity> {
        self.snapshot.iter().flat_map(|it| &it.repos).find(|repo| id(repo) == wanted)
    }

    /// Takes in what happened; what is to be done about it.
    pub(super) fn update(&mut self, msg: Msg) -> Vec<Effect> {
        match msg {
            Msg::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
            Msg::Key(key) => self.key(key),
            Msg::Snapshot(snapshot) => {
                self.snapshot = Some(*snapshot);
                self.trouble = None;
                self.stay();
                self.refresh_log()
            }
            Msg::Unreachable(why) => {
                self.trouble = Some(why);
                self.refresh_log()
            }
            Msg::Done(verb, repo, result) => {
                let (text, bad) = match result {
                    Ok(()) => (format!("{repo} {}", verb.done()), false),
                    Err(why) => (format!("{}: {why}", verb.name()), true),
                };
                self.notice = Some(Notice { text, bad });
                Vec::new()
            }
            Msg::Log(repo, lines) => {
                if let Mode::Log(page) = &mut self.mode
                    && page.repo == repo
                {
                    // Who reads further up goes on reading there.
                    let more = lines.len().saturating_sub(page.lines.as_ref().map_or(0, Vec::len));
                    page.above = if page.above == 0 { 0 } else { page.above + more };
                    page.above = page.above.min(lines.len());
                    page.lines = Some(lines);
                }
                Vec::new()
            }
            Msg::Notice(text) => {
                self.notice = Some(Notice { text, bad: true });
                Vec::new()
            }
        }
    }

    fn refresh_log(&self) -> Vec<Effect> {
        match &self.mode {
            Mode::Log(page) => vec![Effect::ReadLog(page.repo.clone())],
            _ => Vec::new(),
        }
    }

    /// Keeps the selection where it is; where that repo is no longer shown, on the first.
    fn stay(&mut self) {
        self.selected = self.current().map(|(_, repo)| id(repo).clone());
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => vec![Effect::Quit],
                KeyCode::Char('z') => vec![Effect::Suspend],
                KeyCode::Char('l') => vec![Effect::Redraw],
                _ => Vec::new(),
            };
        }
        self.notice = None;
        match std::mem::take(&mut self.mode) {
            Mode::List => self.list_key(key.code),
            Mode::Detail(at) => self.detail_key(key.code, at),
            Mode::Filter(before) => self.filter_key(key.code, before),
            // Any key closes it.
            Mode::Help => Vec::new(),
            Mode::Confirm(verb, repo) => self.confirm_key(key.code, verb, repo),
            Mode::Log(page) => self.log_key(key.code, page),
        }
    }

    fn list_key(&mut self, code: KeyCode) -> Vec<Effect> {
        match code {
            KeyCode::Char('q') => return vec![Effect::Quit],
            KeyCode::Char('?') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter(self.filter.clone()),
            KeyCode::Char('o') => self.sort = self.sort.next(),
            KeyCode::Char('O') => self.reverse = !self.reverse,
            KeyCode::Esc => {
                self.filter.clear();
                self.stay();
            }
            KeyCode::Enter if self.current().is_some() => self.mode = Mode::Detail(0),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::PageUp => self.step(-10),
            KeyCode::PageDown => self.step(10),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            other => return self.repo_key(other),
        }
        Vec::new()
    }

    /// Keys about the repo that is selected.
    fn repo_key(&mut self, code: KeyCode) -> Vec<Effect> {
        let Some((_, repo)) = self.current() else { return Vec::new() };
        let (id, root) = (id(repo).clone(), repo.summary.endpoint.root.clone());
        match code {
            // The root of one whose record can't be used is not known.
            KeyCode::Char('a') if !root.is_empty() => return vec![Effect::Attach(root)],
            KeyCode::Char('s') => self.mode = Mode::Confirm(Verb::Stop, id),
            KeyCode::Char('r') => self.mode = Mode::Confirm(Verb::Restart, id),
            KeyCode::Char('h') => self.mode = Mode::Confirm(Verb::Hibernate, id),
            KeyCode::Char('l') => {
                self.mode = Mode::Log(LogPage { repo: id.clone(), lines: None, above: 0 });
                return vec![Effect::ReadLog(id)];
            }
            _ => {}
        }
        Vec::new()
    }

    fn detail_key(&mut self, code: KeyCode, at: usize) -> Vec<Effect> {
        self.mode = Mode::Detail(at);
        match code {
            KeyCode::Char('q') | KeyCode::Esc | KeyCode::Enter => self.mode = Mode::List,
            KeyCode::Char('?') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Up | KeyCode::Char('k') => self.mode = Mode::Detail(at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.mode = Mode::Detail(at.saturating_add(1)),
            KeyCode::PageUp => self.mode = Mode::Detail(at.saturating_sub(10)),
            KeyCode::PageDown => self.mode = Mode::Detail(at.saturating_add(10)),
            KeyCode::Home | KeyCode::Char('g') => self.mode = Mode::Detail(0),
            other => return self.repo_key(other),
        }
        Vec::new()
    }

    fn filter_key(&mut self, code: KeyCode, before: String) -> Vec<Effect> {
        match code {
            KeyCode::Enter => {}
            KeyCode::Esc => self.filter = before,
            other => {
                match other {
                    KeyCode::Backspace => drop(self.filter.pop()),
                    KeyCode::Char(c) if self.filter.chars().count() < FILTER_MAX => {
                        self.filter.push(c);
                    }
                    _ => {}
                }
                self.mode = Mode::Filter(before);
            }
        }
        self.stay();
        Vec::new()
    }

    fn confirm_key(&mut self, code: KeyCode, verb: Verb, repo: RepoId) -> Vec<Effect> {
        match code {
            KeyCode::Char('y' | 'Y') => {
                let text = format!("{} {repo} …", verb.name());
                self.notice = Some(Notice { text, bad: false });
                vec![Effect::Act(verb, repo)]
            }
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Vec::new(),
            _ => {
                self.mode = Mode::Confirm(verb, repo);
                Vec::new()
            }
        }
    }

    fn log_key(&mut self, code: KeyCode, mut page: LogPage) -> Vec<Effect> {
        let most = page.lines.as_ref().map_or(0, Vec::len);
        page.above = match code {
            KeyCode::Char('q' | 'l') | KeyCode::Esc => return Vec::new(),
            KeyCode::Up | KeyCode::Char('k') => page.above + 1,
            KeyCode::Down | KeyCode::Char('j') => page.above.saturating_sub(1),
            KeyCode::PageUp => page.above + 10,
            KeyCode::PageDown => page.above.saturating_sub(10),
            KeyCode::Home | KeyCode::Char('g') => most,
            KeyCode::End | KeyCode::Char('G') => 0,
            _ => page.above,
        };
        page.above = page.above.min(most);
        self.mode = Mode::Log(page);
        Vec::new()
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else { return };
        let at = self.current().map_or(0, |(at, _)| at);
        let at = at.saturating_add_signed(by).min(last);
        self.selected = rows.get(at).map(|repo| id(repo).clone());
    }
}

pub(super) fn id(repo: &RepoActivity) -> &RepoId {
    &repo.summary.endpoint.repo_id
}

/// Every word of the filter, in the id, the root, the state or the title of a session.
fn matches(repo: &RepoActivity, filter: &str) -> bool {
    let endpoint = &repo.summary.endpoint;
    let holds = |text: &str, word: &str| text.to_lowercase().contains(word);
    filter.to_lowercase().split_whitespace().all(|word| {
        holds(endpoint.repo_id.as_str(), word)
            || holds(&endpoint.root, word)
            || holds(endpoint.state.as_str(), word)
            || repo.active.iter().any(|it| it.title.as_ref().is_some_and(|it| holds(it, word)))
    })
}

fn urgency(repo: &RepoActivity) -> u8 {
    match repo.summary.endpoint.state {
        BackendState::Failed => 0,
        BackendState::Unresponsive => 1,
        BackendState::Starting => 2,
        BackendState::Stopping => 3,
        BackendState::Ready => 4,
        BackendState::Hibernated => 5,
        BackendState::Stopped => 6,
    }
}

fn work(repo: &RepoActivity) -> u64 {
    repo.summary.busy.unwrap_or(0) + repo.summary.waiting.unwrap_or(0)
}

/// One at work first, one that does not run last.
fn idle(repo: &RepoActivity) -> u64 {
    match repo.summary.idle_seconds {
        Some(seconds) => seconds + 1,
        None if repo.summary.busy.is_some() => 0,
        None => u64::MAX,
    }
}
