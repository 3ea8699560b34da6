//! `repod top` in a terminal, as a person has it: what it shows, what its keys do, and that the terminal
//! is as it was whatever ends it.

use crate::{BOUND, ensure, oc, ps, world};
use repod_proto::{Activity, BackendState, Doing, SessionStatus};
use repod_testkit::terminal::Screen;
use repod_testkit::{Script, Terminal, World, proc, wait_until};
use rustix::process::Signal;
use std::path::PathBuf;

const REPOD: &str = env!("CARGO_BIN_EXE_repod");

/// A shell in a terminal, in which `repod top` is started and ends.
struct Desk<'a> {
    world: &'a World,
    terminal: Terminal,
    runs: u32,
}

impl<'a> Desk<'a> {
    fn new(world: &'a World) -> Self {
        let terminal = Terminal::start(world, "desk", "sh", ["-i"]);
        Self { world, terminal, runs: 0 }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.root().join(format!("{name}-{}", self.runs))
    }

    /// Starts it; what it answers is seen later, in [`ended`](Self::ended).
    fn top(&mut self) {
        self.runs += 1;
        let (before, after) = (self.file("before"), self.file("after"));
        self.terminal.enter(&format!(
            "clear; stty -a > {}; {REPOD} top --interval 200ms; echo ended-{}-$?; stty -a > {}; echo looked-{}",
            before.display(),
            self.runs,
            after.display(),
            self.runs,
        ));
        self.see("its list", |screen| screen.text.contains("repod top") && has(screen, "alpha"));
    }

    fn see(&self, what: &str, wanted: impl Fn(&Screen) -> bool) -> Screen {
        self.terminal.wait(what, BOUND, wanted)
    }

    /// It has ended with this code, and the terminal is what it was before.
    fn ended(&self, code: i32) -> Screen {
        self.see("its end", |screen| has(screen, &format!("ended-{}-{code}", self.runs)));
        let screen = self.see("the shell", |screen| has(screen, &format!("looked-{}", self.runs)));
        let read = |name| fs_err::read_to_string(self.file(name)).unwrap();
        assert_eq!(read("before"), read("after"));
        assert!(read("after").contains(" echo "), "{}", read("after"));
        screen
    }

    fn process(&self) -> proc::Handle {
        let is_top = |cmdline: &str| cmdline.contains(" top --interval");
        let all = self.world.processes();
        let top =
            all.iter().find(|process| is_top(&process.cmdline) && !process.cmdline.contains("sh"));
        proc::Handle::open(top.expect("repod top").pid).unwrap()
    }
}

fn has(screen: &Screen, wanted: &str) -> bool {
    screen.text.contains(wanted)
}

fn state(world: &World, name: &str) -> BackendState {
    let rows = ps(world);
    let of = rows.iter().find(|row| row.endpoint.repo_id.as_str().starts_with(name));
    of.expect("the repo").endpoint.state
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repos_are_shown_and_one_is_put_to_sleep_by_key() {
    let world = world();
    for name in ["alpha", "beta"] {
        ensure(&world, &world.git_repo(name));
    }
    let mut desk = Desk::new(&world);
    desk.top();
    desk.see("both", |screen| has(screen, "2 repos · 2 ready") && has(screen, "beta"));
    // Not without a yes.
    desk.terminal.keys(&["Down", "h"]);
    desk.see("the question", |screen| has(screen, "hibernate beta"));
    desk.terminal.keys(&["n"]);
    desk.see("no question", |screen| !has(screen, "hibernate beta"));
    assert_eq!(state(&world, "beta"), BackendState::Ready);
    desk.terminal.keys(&["h", "y"]);
    desk.see("its sleep", |screen| has(screen, "hibernated") && has(screen, "1 asleep"));
    assert_eq!(state(&world, "beta"), BackendState::Hibernated);
    assert_eq!(state(&world, "alpha"), BackendState::Ready);
    // A repo's log, and back.
    desk.terminal.keys(&["Up", "l"]);
    desk.see("the log", |screen| has(screen, "log of alpha") && has(screen, "listening"));
    desk.terminal.keys(&["Escape"]);
    desk.see("the list", |screen| has(screen, "REPO") && has(screen, "beta"));
    // Whatever the size, and back again.
    desk.terminal.resize(80, 24);
    desk.see("it in 80x24", |screen| has(screen, "2 repos") && screen.text.lines().count() <= 24);
    desk.terminal.resize(39, 7);
    desk.see("that it is too small", |screen| has(screen, "too small"));
    desk.terminal.resize(110, 110);
    desk.see("it again", |screen| has(screen, "2 repos") && has(screen, "OpenCode 1."));
    desk.terminal.keys(&["q"]);
    let shell = desk.ended(0);
    assert!(!has(&shell, "2 repos"), "{}", shell.text);
    drop(desk);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_as_it_was_whatever_ends_it() {
    let world = world();
    ensure(&world, &world.git_repo("alpha"));
    let mut desk = Desk::new(&world);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        desk.top();
        desk.process().signal(signal).unwrap();
        desk.ended(130);
    }
    desk.top();
    desk.terminal.keys(&["C-c"]);
    desk.ended(0);
    // A panic says what it is, on a terminal on which it can be read.
    desk.top();
    let fault = world.repod_home().join("fault-panic-top");
    fs_err::write(&fault, "").unwrap();
    let shell = desk.ended(101);
    assert!(has(&shell, "on purpose"), "{}", shell.text);
    fs_err::remove_file(&fault).unwrap();
    // Suspended by key and by signal; the shell works meanwhile, and it comes back whole.
    desk.top();
    let process = desk.process();
    for round in 0..2 {
        if round == 0 {
            desk.terminal.keys(&["C-z"]);
        } else {
            process.signal(Signal::TSTP).unwrap();
        }
        desk.see("the shell's word", |screen| has(screen, "Stopped"));
        desk.terminal.enter(&format!("clear; stty -a | grep -c ' echo '; echo shell-{round}"));
        desk.see("a shell that works", |screen| screen.has_line(&format!("shell-{round}")));
        desk.terminal.enter("fg");
        desk.see("it again", |screen| has(screen, "1 repo ·") && has(screen, "quit"));
    }
    desk.terminal.keys(&["q"]);
    desk.see("the shell", |screen| !has(screen, "1 repo ·"));
    drop(desk);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_does_is_shown_and_attach_takes_the_terminal_and_gives_it_back() {
    let world = world();
    let repo = world.git_repo("alpha");
    let client = oc(&ensure(&world, &repo));
    let session = client.create_session(&repo).await.unwrap();
    let script = Script::new().bash("sleep 1000").text("x").to_string();
    client.start_turn(&session, script).await.unwrap();
    let doing = wait_until("the tool", BOUND, async || {
        let activity: Activity = world.repod(["top", "--json", "--once"]).json();
        let [repo] = &activity.repos[..] else { panic!("{activity:?}") };
        repo.active.iter().find(|it| it.tool.is_some()).cloned()
    });
    let doing = doing.await;
    assert_eq!((doing.status, doing.doing), (SessionStatus::Busy, Some(Doing::Tool)));
    assert_eq!(doing.session_id, session);
    let tool = doing.tool.unwrap();
    assert_eq!((&*tool.name, tool.title.as_deref()), ("bash", Some("sleep 1000")));
    let once = world.repod(["top", "--once"]).ok().stdout;
    assert!(once.contains("● busy") && once.contains("bash sleep 1000"), "{once}");
    let mut desk = Desk::new(&world);
    desk.top();
    desk.see("the tool", |screen| has(screen, "bash sleep 1000"));
    // Events are heard, so there is a pace.
    desk.terminal.keys(&["a"]);
    desk.see("OpenCode", |screen| has(screen, "commands") && !has(screen, "repod top"));
    desk.terminal.keys(&["C-c"]);
    desk.see("the list again", |screen| has(screen, "1 repo ·") && has(screen, "bash sleep 1000"));
    client.abort(&session).await.unwrap();
    desk.see("its end", |screen| has(screen, "○ idle"));
    desk.terminal.keys(&["q"]);
    desk.ended(0);
    drop(desk);
    world.finish();
}

#[test]
fn without_a_daemon_it_only_looks() {
    let world = world();
    let looked = world.repod(["top", "--json", "--no-start"]).run();
    assert_eq!(looked.code, 3);
    assert_eq!(world.repod(["top", "--once", "--no-start"]).run().code, 3);
    assert!(world.processes().is_empty());
    let terminal = Terminal::start(&world, "desk", REPOD, ["top", "--no-start"]);
    terminal.wait("a kind word", BOUND, |screen| has(screen, "nothing to show yet"));
    assert_eq!(
        world.repod(["version", "--json"]).json::<serde_json::Value>()["daemon"].as_object(),
        None
    );
    terminal.keys(&["C-c"]);
    drop(terminal);
    // Not a terminal: says what to do instead.
    let refused = world.repod(["top"]).run();
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--once"), "{refused:?}");
    // Starts one where that is not forbidden; nobody has a repo yet.
    let once = world.repod(["top", "--once"]).ok().stdout;
    assert!(once.contains("no repos yet"), "{once}");
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_a_document_a_line_until_nobody_reads_it() {
    let world = world();
    ensure(&world, &world.git_repo("alpha"));
    let mut running = world.repod(["top", "--json", "--interval", "100ms"]).spawn();
    running.close_stdin();
    let third = wait_until("three documents", BOUND, async || {
        let stdout = running.stdout();
        stdout.lines().nth(2).filter(|_| stdout.matches('\n').count() > 2).map(str::to_owned)
    });
    let third = third.await;
    let activity: Activity = serde_json::from_str(&third).unwrap();
    assert_eq!(activity.repos.len(), 1);
    let summary = &activity.repos[0].summary;
    assert!(summary.endpoint.password.is_none() && summary.endpoint.capability_url.is_none());
    assert!(summary.events.is_some() && summary.leases == Some(0));
    running.handle().terminate().unwrap();
    running.wait(BOUND);
    let piped =
        world.command("sh").args(["-c", &format!("{REPOD} top --json --interval 100ms | head -1")]);
    let piped = piped.bound(BOUND).ok().stdout;
    assert_eq!(piped.lines().count(), 1);
    world.finish();
}
