//! Keys. They are read only when there are some, by a thread of their own, and only when asked: so a
//! half-typed sequence holds nobody up, and while another program has the terminal nothing is taken
//! from it.
//!
//! crossterm 0.29 waits by edge: a key that comes with a change of size stays unread until the next. So
//! its feature `use-dev-tty` is on, which waits by level.

use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, stdin};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events taken at once.
const AT_ONCE: usize = 256;
/// How long one more is waited for. In no time at all crossterm doesn't even look.
const MOMENT: Duration = Duration::from_millis(1);

type Batch = io::Result<Vec<Event>>;

/// See the module.
pub(super) struct Input {
    ask: SyncSender<()>,
    got: mpsc::Receiver<Batch>,
    /// Whether the thread was asked and has not answered.
    asked: bool,
}

impl Input {
    pub(super) fn new() -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let (tell, got) = mpsc::channel(1);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || keys(&asked, &tell))?;
        Ok(Self { ask, got, asked: false })
    }

    /// The next events; an error when there will be none. Nothing is lost when this is dropped. Between
    /// its answer and the next call, nobody reads.
    pub(super) async fn next(&mut self) -> Batch {
        if !self.asked {
            self.ask.try_send(()).map_err(|_| gone())?;
            self.asked = true;
        }
        let batch = self.got.recv().await.ok_or_else(gone)?;
        self.asked = false;
        batch
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is gone")
}

/// Reads whenever asked; ends with who asks. What is beyond one batch may wait where no poll sees it,
/// so then nothing is waited for.
fn keys(asked: &Receiver<()>, tell: &mpsc::Sender<Batch>) {
    let mut more = false;
    while asked.recv().is_ok() {
        let batch = if more { waiting() } else { readable().and_then(|()| waiting()) };
        more = batch.as_ref().is_ok_and(|events| events.len() == AT_ONCE);
        if tell.blocking_send(batch).is_err() {
            return;
        }
    }
}

/// Returns when something was typed; costs nothing until then.
fn readable() -> io::Result<()> {
    let stdin = stdin();
    loop {
        let mut terminal = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut terminal, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            // Reading on would tell of nothing but this, for ever.
            Ok(_) if terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
                return Err(gone());
            }
            Ok(_) => return Ok(()),
        }
    }
}

fn waiting() -> Batch {
    let mut events = Vec::new();
    while events.len() < AT_ONCE && event::poll(MOMENT)? {
        events.push(event::read()?);
    }
    Ok(events)
}
