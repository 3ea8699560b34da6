//! Who wrote which file, seen from outside: the kernel's own account (fanotify), which nobody who writes
//! can get around or make up.
//!
//! An opener is held until it has been looked at, so that one that is gone right after its write is
//! known all the same. Needs root.

use crate::proc;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags,
    Response,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsRawFd as _, OwnedFd};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

/// A process that opened a watched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Process id.
    pub pid: u32,
    /// Command line when it opened the file.
    pub cmdline: String,
    /// Its environment, as `NAME=value`.
    pub environ: Vec<String>,
}

impl Writer {
    fn of(pid: u32) -> Self {
        Self { pid, cmdline: proc::cmdline(pid), environ: proc::environ(pid) }
    }

    /// The value of a variable of its environment.
    pub fn env(&self, name: &str) -> Option<&str> {
        let mut values = self.environ.iter().filter_map(|entry| entry.split_once('='));
        values.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// A file that was open for writing and has been closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its name then; with ` (deleted)` behind it if it had none any more.
    pub path: PathBuf,
    /// Its inode: one that was renamed later is known by it.
    pub inode: u64,
    /// When its writer last asked to open it, before it was let.
    pub opened: SystemTime,
    /// Who closed it; absent when it was never seen to open a file, and is gone.
    pub writer: Option<Writer>,
}

/// Watches files right below some directories.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<OwnedFd>,
    watching: Option<JoinHandle<io::Result<Vec<Write>>>>,
}

impl Writers {
    /// Watches from now on. Directories below these are not watched.
    ///
    /// # Errors
    /// Without root (`CAP_SYS_ADMIN`), or on a kernel without `CONFIG_FANOTIFY_ACCESS_PERMISSIONS`.
    pub fn watch<P: AsRef<Path>>(directories: impl IntoIterator<Item = P>) -> io::Result<Self> {
        let needs = |error: nix::errno::Errno| {
            io::Error::other(format!(
                "writers are watched by fanotify with permission events, which needs root and a kernel \
                 with CONFIG_FANOTIFY_ACCESS_PERMISSIONS: {error}"
            ))
        };
        let flags = InitFlags::FAN_CLASS_CONTENT
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_QUEUE;
        let events = EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC;
        let group = Fanotify::init(flags, events).map_err(needs)?;
        let mask =
            MaskFlags::FAN_OPEN_PERM | MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_EVENT_ON_CHILD;
        for directory in directories {
            let (add, path) = (MarkFlags::FAN_MARK_ADD, directory.as_ref());
            group.mark(add, mask, rustix::fs::CWD, Some(path)).map_err(needs)?;
        }
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let watching = std::thread::spawn(move || run(&group, &stopped));
        Ok(Self { stop, watching: Some(watching) })
    }

    /// Ends the watch; what was written, in its order.
    ///
    /// # Errors
    /// When something could have been missed.
    pub fn finish(mut self) -> io::Result<Vec<Write>> {
        self.end().unwrap_or_else(|| Ok(Vec::new()))
    }

    fn end(&mut self) -> Option<io::Result<Vec<Write>>> {
        let watching = self.watching.take()?;
        let told = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let watched =
            watching.join().unwrap_or_else(|_| Err(io::Error::other("the watch panicked")));
        Some(told.map_err(io::Error::from).and(watched))
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    openers: HashMap<u32, Writer>,
    opened: HashMap<(u32, PathBuf), SystemTime>,
    writes: Vec<Write>,
}

/// Whoever waits for leave has it when this returns, however it does: the group is closed then.
fn run(group: &Fanotify, stop: &OwnedFd) -> io::Result<Vec<Write>> {
    let mut seen = Seen::default();
    loop {
        let mut fds = [PollFd::new(group, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let stops = !fds[1].revents().is_empty();
        loop {
            match group.read_events() {
                Ok(events) => {
                    for event in events {
                        seen.look(group, &event)?;
                    }
                }
                Err(nix::errno::Errno::EAGAIN) => break,
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if stops {
            return Ok(seen.writes);
        }
    }
}

impl Seen {
    fn look(&mut self, group: &Fanotify, event: &FanotifyEvent) -> io::Result<()> {
        let Some(fd) = event.fd() else {
            return Err(io::Error::other("the kernel has dropped events"));
        };
        let pid = u32::try_from(event.pid()).unwrap_or_default();
        let named = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let path = fs_err::read_link(&named)?;
        if event.mask().contains(MaskFlags::FAN_OPEN_PERM) {
            // It waits for the answer, so it is still what it was; a pid that is used again is new here.
            self.openers.insert(pid, Writer::of(pid));
            self.opened.insert((pid, path.clone()), SystemTime::now());
            group.write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW))?;
        }
        if event.mask().contains(MaskFlags::FAN_CLOSE_WRITE) {
            let writer = self.openers.get(&pid).cloned();
            let writer =
                writer.or_else(|| Some(Writer::of(pid)).filter(|it| !it.environ.is_empty()));
            let inode = std::fs::metadata(&named)?.ino();
            let opened = self.opened.get(&(pid, path.clone())).copied();
            let opened = opened.unwrap_or_else(SystemTime::now);
            self.writes.push(Write { path, inode, opened, writer });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_that_is_gone_right_after_its_write_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs_err::write(root.join("mine"), "before the watch").unwrap();
        let writers = Writers::watch([&root]).unwrap();
        let script = "echo x >new; echo y >>mine; cat mine >/dev/null; echo z >tmp; mv tmp moved";
        let ran =
            Command::new("sh").args(["-c", script]).env("WHO", "me").current_dir(&root).status();
        assert!(ran.unwrap().success());
        fs_err::write(root.join("own"), "").unwrap();
        let writes = writers.finish().unwrap();
        let seen = |name: &str| {
            let write = writes.iter().find(|write| write.path.ends_with(name)).unwrap();
            write.writer.as_ref().unwrap()
        };
        for name in ["new", "mine", "tmp"] {
            assert_eq!(seen(name).env("WHO"), Some("me"), "{writes:?}");
            assert!(seen(name).cmdline.starts_with("sh -c"));
        }
        assert_eq!(seen("own").pid, std::process::id());
        let moved = std::fs::metadata(root.join("moved")).unwrap().ino();
        assert!(writes.iter().any(|write| write.inode == moved), "renamed ones are known too");
        assert_eq!(writes.len(), 4, "reading is no write: {writes:?}");
    }
}
