//! Commands of a world: hermetic, bounded, and with everything they printed at hand.
#![expect(clippy::panic, reason = "a command that fails or hangs fails the test")]

use crate::proc::Handle;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a command may take unless told otherwise.
const BOUND: Duration = Duration::from_mins(2);
/// How long output may stay open after the command's end. A daemon that keeps it open is a bug.
const OUTPUT_GRACE: Duration = Duration::from_secs(5);
/// Output kept of each stream; what comes after is read and forgotten.
const OUTPUT_MAX: usize = 32 << 20;

/// A command to be run.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    stdin: Option<Vec<u8>>,
    bound: Duration,
}

impl Cmd {
    pub(super) fn new(command: Command) -> Self {
        Self { command, stdin: None, bound: BOUND }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// A variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable out of the environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The working directory.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What it reads; without this, nothing.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// How long it may take; two minutes by default.
    pub fn bound(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it can't be started or takes too long.
    pub fn run(self) -> Output {
        let bound = self.bound;
        self.spawn().wait(bound)
    }

    /// Runs it and makes sure it succeeds.
    ///
    /// # Panics
    /// When it fails, with all it printed.
    pub fn ok(self) -> Output {
        self.run().ok()
    }

    /// Runs it, makes sure it succeeds, and reads its output.
    ///
    /// # Panics
    /// When it fails or prints something else.
    pub fn json<T: DeserializeOwned>(self) -> T {
        self.ok().json()
    }

    /// Runs it and returns its exit code, 128 and more for a signal.
    ///
    /// # Panics
    /// When it takes too long.
    pub fn code(self) -> i32 {
        self.run().code
    }

    /// Starts it. Its input stays open when [`stdin`](Self::stdin) wasn't called.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn spawn(mut self) -> Running {
        let args: Vec<_> = self.command.get_args().map(OsStr::to_string_lossy).collect();
        let program = Path::new(self.command.get_program()).file_name().unwrap_or_default();
        let label = format!("{} {}", program.to_string_lossy(), args.join(" "));
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.command.spawn().unwrap_or_else(|source| panic!("can't start `{label}`: {source}"));
        let handle = Handle::open(child.id()).expect("a child that wasn't waited for has a pid");
        let stdout = Captured::of(child.stdout.take());
        let stderr = Captured::of(child.stderr.take());
        if let Some(text) = self.stdin {
            let pipe = child.stdin.take();
            // A command that doesn't read its input must not block the test.
            std::thread::spawn(move || pipe.map(|mut pipe| pipe.write_all(&text)));
        }
        Running { label, child, handle, stdout, stderr, started: Instant::now() }
    }
}

/// A command that runs. Dropping it kills it (itself, not what it started).
#[derive(Debug)]
pub struct Running {
    label: String,
    child: Child,
    handle: Handle,
    stdout: Arc<Captured>,
    stderr: Arc<Captured>,
    started: Instant,
}

impl Running {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process, for signals.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it printed to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Writes to its input.
    ///
    /// # Panics
    /// When it doesn't take it.
    pub fn send(&mut self, text: &str) {
        let pipe = self.child.stdin.as_mut().expect("the input wasn't given at the start");
        pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush()).expect("the command reads");
    }

    /// Closes its input.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for a line of its output that is `wanted` and returns it. Looks at all lines from the
    /// start.
    ///
    /// # Panics
    /// At the bound, or when the output ends without such a line.
    pub fn wait_line(&self, what: &str, bound: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let find = |text: &str| {
            let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
            whole.lines().find(|line| wanted(line)).map(str::to_owned)
        };
        self.stdout.wait(bound, find).unwrap_or_else(|| {
            let (out, err) = (self.stdout(), self.stderr());
            panic!("`{}`: no {what} within {bound:?}\n{}", self.label, printed(&out, &err))
        })
    }

    /// Waits for its end, `bound` from now.
    ///
    /// # Panics
    /// At the bound (it is killed first), or when somebody keeps its output open after its end.
    pub fn wait(mut self, bound: Duration) -> Output {
        self.child.stdin = None;
        if !self.handle.wait_exit(bound) {
            let _ = self.handle.kill();
            let (out, err) = (self.stdout(), self.stderr());
            panic!("`{}` did not end within {bound:?}\n{}", self.label, printed(&out, &err));
        }
        let status = self.child.wait().expect("the child is ours");
        let whole = self.stdout.wait_end(OUTPUT_GRACE) && self.stderr.wait_end(OUTPUT_GRACE);
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let label = self.label.clone();
        assert!(
            whole,
            "`{label}` has ended but something it started keeps its output open\n{}",
            printed(&stdout, &stderr)
        );
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Output { label, code, stdout, stderr, elapsed: self.started.elapsed() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.handle.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Output {
    /// Program and arguments.
    pub label: String,
    /// Exit code; 128 plus the signal's number when one ended it.
    pub code: i32,
    /// Its output.
    pub stdout: String,
    /// Its error output.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Output {
    /// The same, after making sure that it succeeded.
    ///
    /// # Panics
    /// When it didn't, with all it printed.
    #[must_use]
    pub fn ok(self) -> Self {
        assert!(
            self.code == 0,
            "`{}` ended with {}\n{}",
            self.label,
            self.code,
            printed(&self.stdout, &self.stderr)
        );
        self
    }

    /// Its output as one JSON document.
    ///
    /// # Panics
    /// When it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|source| {
            let all = printed(&self.stdout, &self.stderr);
            panic!("`{}` printed no such JSON: {source}\n{all}", self.label)
        })
    }

    /// Its output as one JSON document per line.
    ///
    /// # Panics
    /// When a line is something else.
    pub fn ndjson<T: DeserializeOwned>(&self) -> Vec<T> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|source| panic!("`{}` printed `{line}`: {source}", self.label))
        };
        self.stdout.lines().filter(|line| !line.is_empty()).map(parse).collect()
    }
}

fn printed(stdout: &str, stderr: &str) -> String {
    format!("--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    ended: bool,
}

/// One output stream, read by a thread of its own so that the command never blocks on it.
#[derive(Debug, Default)]
struct Captured {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

impl Captured {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Arc<Self> {
        let captured = Arc::new(Self::default());
        let Some(mut pipe) = pipe else {
            return captured;
        };
        let writer = Arc::clone(&captured);
        std::thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            loop {
                let read = pipe.read(&mut chunk).unwrap_or(0);
                let mut buffer = writer.buffer.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_MAX.saturating_sub(buffer.bytes.len());
                buffer.bytes.extend_from_slice(&chunk[..read.min(room)]);
                buffer.ended = read == 0;
                writer.changed.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        captured
    }

    fn text(&self) -> String {
        let buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&buffer.bytes).into_owned()
    }

    /// Waits until `find` finds something; `None` at the bound or at the stream's end.
    fn wait<T>(&self, bound: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + bound;
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let found = find(&String::from_utf8_lossy(&buffer.bytes));
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || buffer.ended || left.is_zero() {
                return found;
            }
            let woken = self.changed.wait_timeout(buffer, left);
            buffer = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_end(&self, bound: Duration) -> bool {
        self.wait(bound, |_| None::<()>);
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner).ended
    }
}
