//! A terminal with a program in it, as a person has it: what is typed, and what is on the screen.
//!
//! The terminal is a tmux server of its own (its socket lies in the world), so that nothing of the
//! user's tmux is used, seen or ended.
#![expect(clippy::panic, reason = "a terminal that can't be had fails the test that wants it")]

use crate::world::World;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Columns and lines.
const SIZE: (&str, &str) = ("110", "110");
/// Between two looks at the screen.
const TICK: Duration = Duration::from_millis(30);

/// What is on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// When it was looked at.
    pub at: Instant,
    /// Line by line.
    pub text: String,
}

impl Screen {
    /// How many cells are not blank.
    pub fn cells(&self) -> usize {
        self.text.chars().filter(|cell| !cell.is_whitespace()).count()
    }

    /// Whether one line is just this, frames and blanks aside.
    pub fn has_line(&self, wanted: &str) -> bool {
        self.text.lines().any(|line| line.trim_matches(is_frame) == wanted)
    }

    /// Whether one line begins with this, whatever lies over the rest of it.
    pub fn has_line_from(&self, wanted: &str) -> bool {
        self.text.lines().any(|line| line.trim_start_matches(is_frame).starts_with(wanted))
    }
}

fn is_frame(c: char) -> bool {
    c.is_whitespace() || ('\u{2500}'..='\u{259f}').contains(&c)
}

/// See the module. Dropping it ends the program with its terminal.
#[derive(Debug)]
pub struct Terminal {
    world: Vec<(OsString, OsString)>,
    socket: PathBuf,
}

impl Terminal {
    /// Runs `program` with `args` in a terminal named `name`; a name is used once in a world.
    ///
    /// # Panics
    /// When there is no tmux.
    pub fn start<A: AsRef<OsStr>>(
        world: &World,
        name: &str,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let socket = world.root().join(format!("tmux-{name}"));
        let terminal = Self { world: world.environment().to_vec(), socket };
        // No configuration of anybody's.
        let mut command = terminal.tmux();
        command.args(["-f", "/dev/null", "new-session", "-d", "-x", SIZE.0, "-y", SIZE.1, "--"]);
        command.arg(program).args(args);
        let output = command.output().unwrap_or_else(|error| panic!("can't run tmux: {error}"));
        assert!(output.status.success(), "{output:?}");
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.env_clear().envs(self.world.iter().cloned());
        // Full colours and no hint of "dumb", as in a person's terminal.
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.arg("-u").arg("-S").arg(&self.socket).stdin(Stdio::null());
        command
    }

    /// Types `text` and then presses Enter.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn enter(&self, text: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, as tmux names them.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn keys(&self, keys: &[&str]) {
        let output = self.tmux().arg("send-keys").args(keys).output();
        assert!(output.as_ref().is_ok_and(|o| o.status.success()), "the terminal: {output:?}");
    }

    /// Gives it another size.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let output = self.tmux().args(["resize-window", "-x", &columns, "-y", &lines]).output();
        assert!(output.as_ref().is_ok_and(|o| o.status.success()), "the terminal: {output:?}");
    }

    /// What is on the screen now.
    ///
    /// # Panics
    /// When the terminal is gone, which it is when its program has ended.
    pub fn screen(&self) -> Screen {
        let output = self.tmux().args(["capture-pane", "-p"]).output();
        let output = output.unwrap_or_else(|error| panic!("can't run tmux: {error}"));
        assert!(output.status.success(), "the terminal's program has ended: {output:?}");
        Screen { at: Instant::now(), text: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    /// Waits until the screen is as `wanted`, and returns it.
    ///
    /// # Panics
    /// At the bound, with the screen.
    pub fn wait(&self, what: &str, bound: Duration, wanted: impl Fn(&Screen) -> bool) -> Screen {
        let deadline = Instant::now() + bound;
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(
                Instant::now() < deadline,
                "waited {bound:?} in vain for {what}; the screen:\n{}",
                screen.text
            );
            #[expect(clippy::disallowed_methods, reason = "a screen tells nobody that it changed")]
            std::thread::sleep(TICK);
        }
    }

    /// Looks at the screen again and again until [`Watch::end`].
    pub fn watch(self: &Arc<Self>) -> Watch {
        let (terminal, ended) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new(Mutex::new(Vec::<Screen>::new()));
        let (stop, all) = (Arc::clone(&ended), Arc::clone(&seen));
        let looking = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let screen = terminal.screen();
                all.lock().unwrap_or_else(PoisonError::into_inner).push(screen);
                #[expect(clippy::disallowed_methods, reason = "as above")]
                std::thread::sleep(TICK);
            }
        });
        Watch { ended, seen, looking: Some(looking) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// The screens seen since [`Terminal::watch`].
#[derive(Debug)]
pub struct Watch {
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Screen>>>,
    looking: Option<JoinHandle<()>>,
}

impl Watch {
    /// Stops looking; all that was seen.
    ///
    /// # Panics
    /// When the terminal was gone meanwhile.
    pub fn end(mut self) -> Vec<Screen> {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            assert!(looking.join().is_ok(), "the terminal went away");
        }
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            let _ = looking.join();
        }
    }
}
