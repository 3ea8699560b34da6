//! Signals, as what they mean to a program that has the terminal.

use rustix::process::Signal as Number;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// To end.
    End,
    /// To give the terminal back and stop.
    Suspend,
    /// To go on after that.
    Resume,
    /// The terminal's size is another one.
    Resized,
}

/// All of them.
pub(super) struct Signals {
    ends: [Signal; 3],
    suspend: Signal,
    resume: Signal,
    resized: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let of = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self {
            ends: [of(Number::TERM)?, of(Number::INT)?, of(Number::HUP)?],
            suspend: of(Number::TSTP)?,
            resume: of(Number::CONT)?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    /// The next. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Told {
        let [term, int, hup] = &mut self.ends;
        tokio::select! {
            biased;
            _ = term.recv() => Told::End,
            _ = int.recv() => Told::End,
            _ = hup.recv() => Told::End,
            _ = self.suspend.recv() => Told::Suspend,
            _ = self.resume.recv() => Told::Resume,
            _ = self.resized.recv() => Told::Resized,
        }
    }

    /// The same while another program has the terminal, which is meant by what the terminal sends: only
    /// what asks this very program to end.
    pub(super) async fn end(&mut self) {
        let [term, int, hup] = &mut self.ends;
        loop {
            tokio::select! {
                _ = term.recv() => return,
                _ = hup.recv() => return,
                _ = int.recv() => {}
                _ = self.suspend.recv() => stop_self(),
            }
        }
    }
}

/// Stops this process until somebody continues it.
pub(super) fn stop_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Number::STOP);
}

/// The same for all that the terminal has in front, as its own key does. Whether that was done: not
/// where no shell would be left to continue them.
pub(super) fn stop_all() -> bool {
    let shell = rustix::process::getppid();
    let session = |pid| rustix::process::getsid(pid).ok();
    if shell.is_none() || session(shell) != session(None) {
        return false;
    }
    rustix::process::kill_current_process_group(Number::STOP).is_ok()
}
