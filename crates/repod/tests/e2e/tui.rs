//! OpenCode's own terminal interface on an endpoint, through the death of what is behind it.
#![expect(clippy::print_stdout, reason = "what a run saw is its figures")]

use crate::{BOUND, daemon_pid, ensure, oc, pid, world};
use repod_proto::Endpoint;
use repod_testkit::terminal::Screen;
use repod_testkit::{Oc, Script, Terminal, World, proc, wait_until};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the first turn of each transcript says; it has to stay on the screen.
const BEFORE: &str = "said before all this";

/// A repo with a session that has had one turn, and a person who looks at it.
struct Desk {
    repo: PathBuf,
    endpoint: Endpoint,
    client: Oc,
    session: String,
    terminal: Arc<Terminal>,
}

impl Desk {
    async fn new(world: &World, name: &str) -> Self {
        let repo = world.git_repo(name);
        let endpoint = ensure(world, &repo);
        let client = oc(&endpoint);
        let session = client.create_session(&repo).await.unwrap();
        say(&client, &session, BEFORE).await;
        let args = [&*repo, Path::new("--"), Path::new("--session"), Path::new(&session)];
        let program = env!("CARGO_BIN_EXE_repod");
        let attach = std::iter::once(Path::new("attach")).chain(args);
        let terminal = Arc::new(Terminal::start(world, name, program, attach));
        terminal.wait("the transcript", BOUND, |screen| {
            screen.has_line(BEFORE) && screen.text.contains("commands")
        });
        Self { repo, endpoint, client, session, terminal }
    }

    /// Types a prompt and waits for its answer on the screen.
    fn prompt(&self, answer: &str) {
        self.terminal.enter(&Script::new().text(answer).to_string());
        self.terminal.wait("the answer", BOUND, |screen| screen.has_line(answer));
    }

    fn kill_backend(&self, world: &World) -> Instant {
        let process = proc::Handle::open(pid(&ensure(world, &self.repo))).unwrap();
        process.kill().unwrap();
        let killed = Instant::now();
        assert!(process.wait_exit(BOUND));
        killed
    }
}

async fn say(client: &Oc, session: &str, text: &str) {
    let turn = client.turn_in(session, Script::new().text(text).to_string()).await.unwrap();
    assert_eq!(turn.succeeded().text, text);
}

/// The footer's sign of a turn in flight, or a tool's.
fn is_busy(screen: &Screen) -> bool {
    let spins = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
    screen.text.contains("interrupt") && screen.text.contains("esc ") || screen.text.contains(spins)
}

/// Never fewer than half of the cells there were, never without what was said before.
fn never_blank(screens: &[Screen]) {
    let first = screens.first().unwrap().cells();
    let least = screens.iter().min_by_key(|screen| screen.cells()).unwrap();
    println!("{} screens, {} to {} cells", screens.len(), least.cells(), first);
    assert!(least.cells() * 2 >= first, "of {first} cells:\n{}", least.text);
    for screen in screens {
        assert!(screen.has_line_from(BEFORE), "the transcript went away:\n{}", screen.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_lives_through_the_death_of_its_idle_backend() {
    let world = world();
    let desk = Desk::new(&world, "web").await;
    let watch = desk.terminal.watch();
    desk.kill_backend(&world);
    // Another client writes while there is no backend.
    say(&desk.client, &desk.session, "written meanwhile").await;
    desk.terminal.wait("what the other client wrote", BOUND, |s| s.has_line("written meanwhile"));
    desk.prompt("after the death");
    never_blank(&watch.end());
    drop(desk);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_sees_the_end_of_a_turn_whose_backend_died() {
    let world = world();
    let desk = Desk::new(&world, "web").await;
    desk.terminal.enter(&Script::new().gate("never").text("x").to_string());
    desk.terminal.wait("the begin of the turn", BOUND, is_busy);
    end_is_seen(&world, &desk).await;
    desk.terminal.enter(&Script::new().bash("echo running; sleep 1000").text("x").to_string());
    desk.terminal.wait("the tool", BOUND, |s| is_busy(s) && s.has_line("running"));
    end_is_seen(&world, &desk).await;
    // What was written of an answer stays written.
    let pace = Duration::from_secs(1);
    let story = Script::new().paced("once upon a time there was never an end", 300, pace);
    desk.terminal.enter(&story.to_string());
    desk.terminal.wait("some of the story", BOUND, |s| s.has_line_from("once"));
    end_is_seen(&world, &desk).await;
    let messages = desk.client.messages(&desk.session).await.unwrap();
    let texts = messages.iter().flat_map(|message| message["parts"].as_array().unwrap());
    let mut texts = texts.filter_map(|part| part["text"].as_str());
    let kept = texts.find(|text| text.starts_with("once"));
    println!("kept of the story: {kept:?}");
    assert!(kept.is_some(), "{messages:#?}");
    drop(desk);
    world.finish();
}

async fn end_is_seen(world: &World, desk: &Desk) {
    let watch = desk.terminal.watch();
    let killed = desk.kill_backend(world);
    let generation = ensure(world, &desk.repo).generation.0;
    let ready = Instant::now();
    let ended = desk.terminal.wait("the end of the turn", BOUND, |screen| !is_busy(screen));
    let late = ended.at - ready;
    println!("a cold start: {:?}; then the end is seen within {late:?}", ready - killed);
    assert!(late < Duration::from_secs(1), "{late:?} after the backend was back");
    let text = format!("written to {generation}");
    say(&desk.client, &desk.session, &text).await;
    desk.terminal.wait("what the other client wrote", BOUND, |screen| screen.has_line(&text));
    desk.prompt(&format!("typed to {generation}"));
    let last = desk.terminal.wait("no spinner", BOUND, |screen| !is_busy(screen));
    println!("{}", last.text);
    never_blank(&watch.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_work_on_when_the_daemon_was_killed() {
    let world = world();
    let desks = [Desk::new(&world, "a").await, Desk::new(&world, "b").await];
    let watches = desks.each_ref().map(|desk| desk.terminal.watch());
    let frozen = terminals(&world);
    assert_eq!(frozen.len(), 4);
    frozen.iter().for_each(|process| process.stop().unwrap());
    proc::Handle::open(daemon_pid(&world)).unwrap().kill().unwrap();
    let killed = Instant::now();
    for desk in &desks {
        wait_until("the endpoint", BOUND, async || desk.client.health().await.ok()).await;
    }
    let took = killed.elapsed();
    println!("two endpoints back after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    // A turn by somebody else that is over before the terminals are back, however slow it is here:
    // OpenCode's comes back after a second, and does not ask what it has missed.
    for desk in &desks {
        say(&desk.client, &desk.session, "written meanwhile").await;
    }
    println!("written meanwhile after {:?}", killed.elapsed());
    frozen.iter().for_each(|process| process.cont().unwrap());
    for desk in &desks {
        desk.terminal.wait("what the other client wrote", BOUND, |screen| {
            screen.has_line("written meanwhile")
        });
        desk.terminal.wait("no spinner", BOUND, |screen| !is_busy(screen));
        desk.prompt("after the daemon's death");
        desk.terminal.wait("no spinner", BOUND, |screen| !is_busy(screen));
    }
    watches.into_iter().for_each(|watch| never_blank(&watch.end()));
    let after = desks.each_ref().map(|desk| ensure(&world, &desk.repo).url);
    assert_eq!(after, desks.each_ref().map(|desk| desk.endpoint.url.clone()));
    drop(desks);
    world.finish();
}

/// The terminals' tmux servers, which would continue what they see stopped, then the terminals.
fn terminals(world: &World) -> Vec<proc::Handle> {
    let of = |what: &str| {
        let processes = world.processes().into_iter();
        let found = processes.filter(|process| process.cmdline.contains(what));
        found.map(|process| proc::Handle::open(process.pid).unwrap()).collect::<Vec<_>>()
    };
    of(" new-session ").into_iter().chain(of(" attach http")).collect()
}
