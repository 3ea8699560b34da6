//! OpenCode as it comes, without repod: to check the testkit itself, and as the baseline.

use crate::oc::Oc;
use crate::world::{Running, World};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const START_BOUND: Duration = Duration::from_mins(1);
const DISPOSE_BOUND: Duration = Duration::from_secs(10);
const TERM_BOUND: Duration = Duration::from_secs(2);

/// A bare `opencode serve` on a port of its own choice. Dropping it disposes of its instances
/// first: SIGTERM alone would leave the commands of its turns behind (OpenCode 1.18.33).
#[derive(Debug)]
pub struct Bare {
    url: String,
    process: Running,
}

impl Bare {
    /// Starts it in `directory` and waits until it says that it listens.
    ///
    /// # Panics
    /// When it doesn't within a minute, with all it printed.
    pub(crate) fn start(world: &World, directory: &Path) -> Self {
        let process = world
            .command(world.opencode())
            .args(["serve", "--hostname", "127.0.0.1", "--port", "0"])
            .env("OPENCODE_DISABLE_MODELS_FETCH", "1")
            .env("OPENCODE_DISABLE_AUTOUPDATE", "1")
            .dir(directory)
            .spawn();
        let line =
            process.wait_line("ready line", START_BOUND, |l| l.starts_with("opencode server "));
        let url = line.split_whitespace().last().unwrap_or_default().to_owned();
        Self { url, process }
    }

    /// A client for it.
    pub fn oc(&self) -> Oc {
        Oc::new(&self.url)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process, for signals and output.
    pub fn process(&self) -> &Running {
        &self.process
    }

    /// Blocking, because it runs in `Drop`.
    fn dispose(&self) -> std::io::Result<()> {
        let authority = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(DISPOSE_BOUND))?;
        write!(
            stream,
            "POST /global/dispose HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        )?;
        // The answer's first bytes mean that it is done. OpenCode 1.18.33 doesn't always close the
        // connection afterwards, whatever the request says.
        stream.read(&mut [0; 256]).map(drop)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may be gone or stopped already; the world's last look finds what is left then.
        let _ = self.process.handle().cont();
        let _ = self.dispose();
        let _ = self.process.handle().terminate();
        // Seen on OpenCode 1.18.33: a SIGTERM soon after a dispose is swallowed now and then. The
        // drop of `process` kills what is still there.
        self.process.handle().wait_exit(TERM_BOUND);
    }
}
