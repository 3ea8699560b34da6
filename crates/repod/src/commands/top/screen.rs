//! The terminal, taken and given back: on every way out, a panic's too, it is as it was.

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::io::{self, BufWriter, Stdout, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is taken just now: what a panic has to give back.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// The panic hook is the process's, as the terminal is.
static HOOK: Once = Once::new();

/// See the module.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // First of all, or nobody could read what the panic says.
                give_back();
                before(panic);
            }));
        });
        enter()?;
        let made = Terminal::new(CrosstermBackend::new(BufWriter::new(stdout())));
        made.map(|terminal| Self { terminal }).inspect_err(|_| give_back())
    }

    /// Gives the terminal to somebody else, until [`again`](Self::again).
    pub(super) fn leave(&mut self) {
        give_back();
    }

    /// Takes it again, whatever is on it.
    pub(super) fn again(&mut self) -> io::Result<()> {
        enter()?;
        self.terminal.clear()
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(render).map(|_| ())
    }

    /// Draws all of it anew.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide)
}

/// Once, whoever comes first. A terminal that is gone needs nothing.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
