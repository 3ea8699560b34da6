//! The whole of it without a terminal or a daemon: messages in, frames out. Frames are kept in
//! `snapshots/`; `INSTA_UPDATE=always` writes them anew.

use super::model::{Effect, Mode, Model, Msg, Sort, Verb};
use super::view::{self, Theme};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use repod_proto::{
    Activity, ApiError, BackendInfo, BackendState, CallInfo, CallState, Doing, Endpoint, ErrorCode,
    Generation, LeaseInfo, LeaseOwner, LeaseState, MemorySample, OwnerKind, RepoActivity,
    RepoSummary, SessionActivity, SessionStatus, ToolActivity, TreeUsage, WaiterInfo,
};

const NOW: &str = "2026-11-21T09:10:00.000Z";
const MIB: u64 = 1 << 20;

/// A repo whose every figure is made of its number.
fn repo(n: u64, name: &str, state: BackendState) -> RepoActivity {
    let live = state.is_live();
    let rss = (300 + n * 40) * MIB;
    let usage = TreeUsage { rss, pss: rss - 20 * MIB, processes: 3, fds: 60, ..Default::default() };
    let memory =
        MemorySample { at: NOW.to_owned(), generation: Generation(n), usage, growing: None };
    RepoActivity {
        summary: RepoSummary {
            endpoint: Endpoint {
                repo_id: format!("{name}-{n:012x}").parse().unwrap(),
                root: format!("/src/{name}"),
                directory: format!("/src/{name}"),
                branch: None,
                url: Some(format!("http://127.0.0.1:{}", 28000 + n)),
                username: "opencode".to_owned(),
                password: None,
                capability_url: None,
                state,
                generation: Generation(n + 1),
                backend: live.then(|| BackendInfo {
                    pid: 4000 + u32::try_from(n).unwrap(),
                    port: 40000,
                    version: Some("1.18.33".to_owned()),
                    started_at: "2026-11-21T09:00:00Z".to_owned(),
                }),
                warnings: Vec::new(),
            },
            rss_bytes: live.then_some(rss),
            sessions: None,
            busy: live.then_some(0),
            clients: Some(n % 3),
            idle_seconds: (live && n.is_multiple_of(3)).then_some(n * 70),
            waiting: live.then_some(0),
            readers: Some(1),
            events: Some(n * 1000),
            recent_events: Some(n * 7),
            leases: Some(0),
            lease_waiters: Some(0),
            memory: live.then_some(memory),
            error: None,
        },
        rss_history: if live { (0..40).map(|i| (200 + i * n) * MIB).collect() } else { Vec::new() },
        active: Vec::new(),
        more: 0,
    }
}

fn session(id: &str, title: &str, status: SessionStatus, doing: Option<Doing>) -> SessionActivity {
    SessionActivity {
        session_id: id.to_owned(),
        parent_session_id: None,
        title: Some(title.to_owned()),
        directory: "/src/api".to_owned(),
        status,
        since: Some("2026-11-21T09:07:30Z".to_owned()),
        doing,
        tool: None,
    }
}

/// One that builds, one that waits for its leave, one that is idle.
fn at_work(repo: &mut RepoActivity) {
    let waits = session("ses_1", "Mend the door", SessionStatus::Waiting, Some(Doing::Permission));
    let tool = |name: &str, title: &str| {
        Some(ToolActivity { name: name.to_owned(), title: Some(title.to_owned()), more: 0 })
    };
    let builds = session("ses_2", "Paint the fence", SessionStatus::Busy, Some(Doing::Tool));
    repo.active = vec![
        SessionActivity { tool: tool("bash", "rm -rf build"), ..waits },
        SessionActivity {
            tool: tool("edit", "src/fence.rs"),
            directory: "/src/api/worktrees/fence".to_owned(),
            ..builds
        },
        SessionActivity {
            parent_session_id: Some("ses_2".to_owned()),
            ..session("ses_4", "Look for paint", SessionStatus::Busy, Some(Doing::Thinking))
        },
        session("ses_3", "An old tale", SessionStatus::Idle, None),
    ];
    repo.more = 3;
    repo.summary.busy = Some(3);
    repo.summary.waiting = Some(1);
    repo.summary.idle_seconds = None;
}

fn lease(repo: &RepoActivity) -> LeaseInfo {
    let waiter = |n: u32, title: &str| WaiterInfo {
        session_id: format!("ses_w{n}"),
        root_session_id: format!("ses_w{n}"),
        title: title.to_owned(),
        since: "2026-11-21T09:09:20Z".to_owned(),
        position: n,
        calls: n,
    };
    LeaseInfo {
        repo_id: repo.summary.endpoint.repo_id.clone(),
        branch: "main".to_owned(),
        fence: 7,
        since: "2026-11-21T09:08:00Z".to_owned(),
        state: LeaseState::Held,
        blocked_by: None,
        owner: LeaseOwner {
            session_id: "ses_2".to_owned(),
            root_session_id: "ses_2".to_owned(),
            title: "Paint the fence".to_owned(),
            directory: "/src/api".to_owned(),
            kind: OwnerKind::Session,
            repo_id: None,
            generation: None,
            pid: None,
        },
        calls: vec![CallInfo {
            call_id: "call_1".to_owned(),
            session_id: "ses_2".to_owned(),
            what: "edit src/fence.rs".to_owned(),
            worktree: None,
            state: CallState::Running,
            permission: None,
            since: NOW.to_owned(),
        }],
        waiters: vec![waiter(1, "Mend the door"), waiter(2, "")],
    }
}

const NAMES: [&str; 12] = [
    "api",
    "billing",
    "web",
    "docs",
    "infrastructure-as-code",
    "mobile",
    "search",
    "worker",
    "auth",
    "metrics",
    "tools",
    "zoo",
];

fn twelve() -> Activity {
    let state = |n| match n {
        3 => BackendState::Hibernated,
        5 => BackendState::Starting,
        7 => BackendState::Unresponsive,
        9 => BackendState::Failed,
        11 => BackendState::Stopped,
        _ => BackendState::Ready,
    };
    let mut repos: Vec<_> =
        (0..12).map(|n| repo(n, NAMES[usize::try_from(n).unwrap()], state(n))).collect();
    at_work(&mut repos[0]);
    repos[0].summary.leases = Some(1);
    repos[0].summary.lease_waiters = Some(2);
    let error =
        ApiError::new(ErrorCode::StartFailed, "OpenCode ended before it was ready: status 1")
            .hint("`repod logs` shows what it printed");
    repos[9].summary.error = Some(error);
    let leases = vec![lease(&repos[0])];
    repos.sort_by(|a, b| a.summary.endpoint.repo_id.cmp(&b.summary.endpoint.repo_id));
    Activity { at: NOW.to_owned(), repos, leases }
}

fn showing(activity: Activity) -> Model {
    let mut model = Model::new(Sort::Name, String::new());
    model.update(Msg::Snapshot(Box::new(activity)));
    model
}

fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    model.update(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn type_in(model: &mut Model, keys: &str) -> Vec<Effect> {
    keys.chars().flat_map(|key| press(model, KeyCode::Char(key))).collect()
}

fn frame(model: &Model, theme: &Theme, wide: u16, high: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(wide, high)).unwrap();
    terminal.draw(|frame| view::draw(model, theme, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let wide = usize::from(buffer.area.width);
    let lines = buffer.content.chunks(wide).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn shown(model: &Model, wide: u16, high: u16) -> String {
    text(&frame(model, &Theme::colourful(), wide, high))
}

/// Nobody waits for an update of a name by hand: a picture that is not there yet fails.
macro_rules! picture {
    ($name:literal, $text:expr) => {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

#[test]
fn twelve_repos_in_a_terminal_of_the_usual_sizes() {
    let model = showing(twelve());
    picture!("twelve_80x24", shown(&model, 80, 24));
    picture!("twelve_120x40", shown(&model, 120, 40));
    picture!("twelve_200x50", shown(&model, 200, 50));
    picture!("twelve_40x10", shown(&model, 40, 10));
}

#[test]
fn no_repos_and_no_daemon_are_said_kindly() {
    let none = Activity { at: NOW.to_owned(), ..Activity::default() };
    picture!("none", shown(&showing(none), 80, 10));
    let mut model = Model::new(Sort::Name, String::new());
    picture!("first_moment", shown(&model, 80, 10));
    model.update(Msg::Unreachable("no daemon is running".to_owned()));
    picture!("no_daemon", shown(&model, 80, 10));
    let mut model = showing(twelve());
    model.update(Msg::Unreachable("no daemon is running".to_owned()));
    assert!(shown(&model, 80, 24).contains("no daemon is running (what follows is old)"));
    assert!(shown(&model, 80, 24).contains("billing"));
}

#[test]
fn a_terminal_too_small_is_told_what_it_takes() {
    let model = showing(twelve());
    picture!("too_small", shown(&model, 39, 7));
    for (wide, high) in [(1, 1), (40, 7), (39, 8), (5, 50), (300, 2)] {
        assert!(!shown(&model, wide, high).contains("repod top"));
    }
    assert!(shown(&model, 40, 8).contains("repod top"));
}

#[test]
fn a_failed_repo_says_why_and_what_helps() {
    let mut model = showing(twelve());
    press(&mut model, KeyCode::Char('o'));
    assert_eq!(model.sort, Sort::State);
    press(&mut model, KeyCode::Home);
    picture!("failed", shown(&model, 100, 30));
    let buffer = frame(&model, &Theme::colourful(), 100, 30);
    assert!(buffer.content.iter().any(|cell| cell.fg == Color::Red));
}

#[test]
fn leases_are_shown_with_their_queue() {
    let mut model = showing(twelve());
    // By id: api comes first.
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.mode, Mode::Detail(0));
    picture!("leases", shown(&model, 90, 20));
    press(&mut model, KeyCode::PageDown);
    press(&mut model, KeyCode::PageDown);
    picture!("leases_scrolled", shown(&model, 90, 8));
}

#[test]
fn nothing_is_done_to_a_backend_without_a_yes() {
    let mut model = showing(twelve());
    let api = model.current().unwrap().1.summary.endpoint.repo_id.clone();
    for (key, verb) in [('s', Verb::Stop), ('r', Verb::Restart), ('h', Verb::Hibernate)] {
        for no in ['n', 'q', 'N'] {
            assert_eq!(type_in(&mut model, &format!("{key}{no}")), []);
            assert_eq!(model.mode, Mode::List);
        }
        assert_eq!(type_in(&mut model, &format!("{key}xj{key}")), []);
        assert_eq!(type_in(&mut model, "y"), [Effect::Act(verb, api.clone())]);
    }
    type_in(&mut model, "s");
    picture!("confirmation", shown(&model, 80, 24));
    picture!("confirmation_40x10", shown(&model, 40, 10));
    press(&mut model, KeyCode::Esc);
    model.update(Msg::Done(Verb::Stop, api.clone(), Err("it is busy".to_owned())));
    assert!(shown(&model, 80, 24).contains("stop: it is busy"));
    model.update(Msg::Done(Verb::Hibernate, api, Ok(())));
    assert!(shown(&model, 80, 24).contains("sleeps"));
}

#[test]
fn a_filter_narrows_the_list_while_it_is_typed() {
    let mut model = showing(twelve());
    type_in(&mut model, "/doo");
    picture!("filter", shown(&model, 80, 16));
    // A title of api's session; the keys of the list are text here.
    assert_eq!(view::ids(&model), ["api-000000000000"]);
    press(&mut model, KeyCode::Esc);
    assert_eq!(view::ids(&model).len(), 12);
    type_in(&mut model, "/ready bil");
    press(&mut model, KeyCode::Enter);
    assert_eq!(view::ids(&model), ["billing-000000000001"]);
    type_in(&mut model, "/zzz");
    press(&mut model, KeyCode::Enter);
    assert!(shown(&model, 80, 16).contains("no repo matches"));
    press(&mut model, KeyCode::Esc);
    assert_eq!(view::ids(&model).len(), 12);
}

#[test]
fn without_colours_nothing_has_one() {
    let mut model = showing(twelve());
    for key in ["", "?", "x", "s"] {
        type_in(&mut model, key);
        let buffer = frame(&model, &Theme::plain(), 100, 30);
        let plain = |color| color == Color::Reset;
        assert!(buffer.content.iter().all(|cell| plain(cell.fg) && plain(cell.bg)));
    }
    let buffer = frame(&model, &Theme::colourful(), 100, 30);
    assert!(buffer.content.iter().any(|cell| cell.fg != Color::Reset));
}

#[test]
fn the_help_names_the_keys() {
    let mut model = showing(twelve());
    type_in(&mut model, "?");
    picture!("help", shown(&model, 80, 24));
    assert_eq!(type_in(&mut model, "q"), []);
    assert_eq!(type_in(&mut model, "q"), [Effect::Quit]);
}

#[test]
fn the_log_is_read_from_its_end() {
    let mut model = showing(twelve());
    let effects = type_in(&mut model, "l");
    let [Effect::ReadLog(repo)] = &effects[..] else { panic!("{effects:?}") };
    let lines = |to: usize| (1..=to).map(|n| format!("line {n}")).collect::<Vec<_>>();
    model.update(Msg::Log(repo.clone(), lines(50)));
    picture!("log", shown(&model, 80, 10));
    press(&mut model, KeyCode::Up);
    assert!(!shown(&model, 80, 10).contains("line 50"));
    // Who has scrolled stays where they are while it grows.
    model.update(Msg::Log(repo.clone(), lines(60)));
    assert!(
        shown(&model, 80, 10).contains("line 49") && !shown(&model, 80, 10).contains("line 50")
    );
    press(&mut model, KeyCode::Char('g'));
    assert!(shown(&model, 80, 10).contains("line 1\n"));
    assert_eq!(model.update(Msg::Snapshot(Box::new(twelve()))), [Effect::ReadLog(repo.clone())]);
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.mode, Mode::List);
    assert_eq!(model.update(Msg::Snapshot(Box::new(twelve()))), []);
}

#[test]
fn the_selection_stays_with_its_repo() {
    let mut model = showing(twelve());
    type_in(&mut model, "jj");
    let chosen = model.selected.clone().unwrap();
    assert_eq!(chosen.as_str(), "billing-000000000001");
    type_in(&mut model, "oooO");
    model.update(Msg::Snapshot(Box::new(twelve())));
    assert_eq!(model.selected, Some(chosen.clone()));
    assert_eq!(type_in(&mut model, "a"), [Effect::Attach("/src/billing".to_owned())]);
    let mut fewer = twelve();
    fewer.repos.retain(|repo| repo.summary.endpoint.repo_id != chosen);
    model.update(Msg::Snapshot(Box::new(fewer)));
    assert!(model.selected.is_some() && model.selected != Some(chosen));
}

#[test]
fn one_frame_as_text_has_everything() {
    let text = view::text(&showing(twelve()), 100).join("\n");
    picture!("once", &text);
}

#[test]
fn what_others_wrote_does_not_reach_the_terminal() {
    let mut activity = twelve();
    activity.repos[0].active[0].title = Some("a\u{1b}]0;owned\u{7}\u{1b}[2J".to_owned());
    let model = showing(activity);
    let shown = shown(&model, 80, 24) + &view::text(&model, 80).join("\n");
    assert!(!shown.contains(['\u{1b}', '\u{7}']));
}

/// Anything that may come.
fn messages() -> impl Strategy<Value = Msg> {
    let code = prop_oneof![
        proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        any::<char>().prop_map(KeyCode::Char),
        prop::sample::select(vec![
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::PageUp,
            KeyCode::PageDown,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Backspace,
            KeyCode::Tab,
            KeyCode::F(1),
        ]),
    ];
    let control = prop::bool::weighted(0.1);
    let key = (code, control).prop_map(|(code, control)| {
        let with = if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        Msg::Key(KeyEvent::new(code, with))
    });
    let snapshot = (0usize..13, any::<bool>()).prop_map(|(count, leases)| {
        let mut activity = twelve();
        activity.repos.truncate(count);
        if !leases {
            activity.leases.clear();
        }
        Msg::Snapshot(Box::new(activity))
    });
    let id = |n: usize| twelve().repos[n].summary.endpoint.repo_id.clone();
    let log = (0usize..12, 0usize..40).prop_map(move |(repo, count)| {
        Msg::Log(id(repo), (0..count).map(|n| "é日\t".repeat(n)).collect())
    });
    prop_oneof![
        20 => key,
        3 => snapshot,
        2 => log,
        1 => ".*".prop_map(Msg::Unreachable),
        1 => ".*".prop_map(Msg::Notice),
        1 => (0usize..12).prop_map(move |n| Msg::Done(Verb::Stop, id(n), Ok(()))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_pressed_in_whatever_size_it_is_drawn(
        steps in prop::collection::vec((messages(), 1u16..220, 1u16..60), 1..60),
    ) {
        let mut model = Model::new(Sort::Name, String::new());
        for (msg, wide, high) in steps {
            let asked = matches!(model.mode, Mode::Confirm(..));
            let effects = model.update(msg);
            let acts = effects.iter().any(|effect| matches!(effect, Effect::Act(..)));
            prop_assert!(asked || !acts);
            frame(&model, &Theme::colourful(), wide, high);
        }
        view::text(&model, 80);
    }
}
