//! What was seen: plain data, made by the reader, read by the rules.

use repod_proto::{Growth, LeaseInfo};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One look at the machine.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The user's processes, by pid.
    pub processes: BTreeMap<u32, Process>,
    /// Kernel settings and the like.
    pub machine: Machine,
    /// repod's home.
    pub home: PathBuf,
    /// What the markers of this home's backends begin with; empty where its registry can't be read.
    pub home_mark: String,
    /// Registry entries.
    pub records: Vec<Record>,
    /// Backends on record whose repos are not what is audited.
    pub elsewhere: Vec<Backend>,
    /// Registry entries that can't be read.
    pub unreadable: Vec<Unreadable>,
    /// Files of repod's home with the wrong owner or mode.
    pub loose: Vec<Loose>,
    /// Databases that were looked into.
    pub databases: Vec<Database>,
    /// Unpacked libraries in temporary directories.
    pub libraries: Vec<Library>,
    /// OpenCode's logs in which a locked database is spoken of, with the last line that does.
    pub lock_failures: Vec<(PathBuf, String)>,
    /// Logs in which a port that was taken is spoken of, with the last line that does.
    pub port_failures: Vec<(PathBuf, String)>,
    /// Configuration files that give every server one port.
    pub fixed_ports: Vec<(PathBuf, u16)>,
    /// What OpenCode has piled up: directory and bytes, at least.
    pub piles: Vec<(PathBuf, u64)>,
    /// Branches that somebody may write on, as the daemon tells it.
    pub leases: Vec<LeaseInfo>,
    /// What could not be looked at, and why.
    pub skipped: Vec<String>,
}

/// What holds for all processes.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// `fs.inotify.max_user_watches`.
    pub max_user_watches: Option<u64>,
    /// `fs.inotify.max_user_instances`.
    pub max_user_instances: Option<u64>,
    /// Open files that repod's settings want for every backend.
    pub wanted_nofile: u64,
    /// Free bytes where state is kept.
    pub free: Vec<(PathBuf, u64)>,
    /// The boot, as identities name it.
    pub boot_id: String,
    /// Memory: in all, and still to be had without swapping. In bytes.
    pub memory: Option<(u64, u64)>,
    /// Swap: in all, and free. In bytes.
    pub swap: Option<(u64, u64)>,
    /// The OpenCode a backend would be started with, and its version, where that is known without running
    /// it.
    pub installed: Option<(PathBuf, String)>,
}

/// What an OpenCode process was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `serve`, `web`.
    Server,
    /// `acp`: a server as well.
    Acp,
    /// `attach`: a client, which has no state of its own.
    Client,
    /// The terminal interface with a server inside, `run` and the rest.
    Whole,
}

/// One process of the user.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Parent.
    pub ppid: u32,
    /// Session id: the pid of the session's leader.
    pub session: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// `R`, `S`, `Z` …
    pub state: char,
    /// The kernel's name for it.
    pub comm: String,
    /// What it runs; unknown for a zombie.
    pub exe: Option<PathBuf>,
    /// The file it runs was removed or replaced.
    pub is_exe_deleted: bool,
    /// Command line.
    pub args: Vec<String>,
    /// What an audit reads of the environment.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// The worktree that lies in.
    pub checkout: Option<Checkout>,
    /// OpenCode's directories; only of OpenCode processes.
    pub homes: Option<Homes>,
    /// Soft and hard limit of open files.
    pub nofile: Option<(u64, u64)>,
    /// Soft limit of the user's processes and threads; none where it doesn't hold, as of a superuser.
    pub nproc: Option<u64>,
    /// Its threads.
    pub threads: u64,
    /// Number of open descriptors.
    pub fds: u64,
    /// Named files among them.
    pub files: Vec<PathBuf>,
    /// Use of inotify.
    pub inotify: Inotify,
    /// Where it listens (TCP).
    pub listens: Vec<SocketAddr>,
    /// Control groups it counts in that have a limit of processes: directory, in use, limit.
    pub groups: Vec<(PathBuf, u64, u64)>,
    /// Control groups it counts in that limit memory.
    pub memory_groups: Vec<MemoryGroup>,
    /// It is a unit of systemd's: its parent is the manager for good reason.
    pub in_service: bool,
    /// The mount namespace it lives in, when that isn't ours: its paths are not our paths then.
    pub mounts: Option<PathBuf>,
    /// Whether it belongs to what is audited.
    pub in_scope: bool,
}

/// A control group with a limit of memory, of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryGroup {
    /// Its directory.
    pub dir: PathBuf,
    /// Bytes it may use.
    pub limit: u64,
    /// Bytes it uses, without files that the kernel would drop first.
    pub used: u64,
    /// The file that has the limit.
    pub file: &'static str,
}

/// A worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its root.
    pub root: PathBuf,
    /// The repository's common directory, by which all its worktrees are known.
    pub common: PathBuf,
}

/// The four directories of an OpenCode process, links resolved, each with the variable that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Homes {
    /// Database, logins, log, snapshots.
    pub data: (PathBuf, &'static str),
    /// Configuration and what npm installs for it.
    pub config: (PathBuf, &'static str),
    /// Downloads.
    pub cache: (PathBuf, &'static str),
    /// Locks, recent models.
    pub state: (PathBuf, &'static str),
}

/// How much of inotify a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inotify {
    /// Instances.
    pub instances: u64,
    /// Watches in all of them.
    pub watches: u64,
}

/// One registry entry.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The repo's id.
    pub repo_id: String,
    /// The entry itself.
    pub file: PathBuf,
    /// The repository's root.
    pub root: PathBuf,
    /// Its common directory.
    pub identity: PathBuf,
    /// Its backend, if one is on record.
    pub backend: Option<Backend>,
    /// Logins in the user's own database that are not in the repo's: what they are called.
    pub logged_out: Vec<String>,
    /// How its backend's memory grows, by the memory log, if it grows steadily.
    pub growing: Option<Growth>,
}

/// A backend on record.
#[derive(Clone, Debug, Default)]
pub struct Backend {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot in which it started.
    pub boot_id: String,
    /// Its port.
    pub port: u16,
    /// What its processes carry in their environment.
    pub marker: String,
    /// The version it reported; nothing until it has.
    pub version: Option<String>,
}

impl Backend {
    /// Which start of its repo's it is.
    pub fn generation(&self) -> Option<u64> {
        self.marker.split('/').nth(2)?.parse().ok()
    }
}

/// A file that could not be understood.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub cause: String,
}

/// A file of repod's home that is not its owner's alone.
#[derive(Clone, Debug)]
pub struct Loose {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong.
    pub cause: String,
    /// The mode it should have, where it is this user's to change.
    pub mode: Option<u32>,
}

/// A database that was looked into.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// The file.
    pub path: PathBuf,
    /// What `PRAGMA quick_check` says, when it isn't `ok`.
    pub damage: Option<String>,
    /// Recent turns that wrote files.
    pub turns: Vec<Turn>,
    /// Directories of recent sessions, each with the worktree of another repository that it is filed under.
    pub misfiled: Vec<(PathBuf, PathBuf)>,
    /// Worktrees of recent sessions, each with the other one of its repository that it is filed under.
    pub worktrees: Vec<(PathBuf, PathBuf)>,
}

/// A turn in which files were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The session, or the topmost one it is a subagent of.
    pub root_session: String,
    /// Its title.
    pub title: String,
    /// The worktree (or directory) it works in.
    pub checkout: PathBuf,
    /// From when, in milliseconds since 1970.
    pub from: i64,
    /// Until when; the moment of the look, when it is still running.
    pub to: i64,
}

/// A library that OpenCode unpacked.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Snapshot {
    /// OpenCode processes in scope that live.
    pub fn opencode(&self) -> impl Iterator<Item = &Process> {
        self.processes
            .values()
            .filter(|p| p.in_scope && p.state != 'Z' && p.is_opencode() && !self.is_fork(p))
    }

    /// Those with a state of their own that aren't repod's.
    pub fn plain(&self) -> impl Iterator<Item = &Process> {
        self.opencode().filter(|p| p.role() != Role::Client && !self.is_managed(p))
    }

    /// Backends of this home.
    pub fn backends(&self) -> impl Iterator<Item = (&Process, PathBuf)> {
        self.opencode().filter_map(|process| Some((process, self.repo_dir_of(process)?)))
    }

    /// What has been forked and has not yet become something else has its parent's face.
    fn is_fork(&self, process: &Process) -> bool {
        let parent = self.processes.get(&process.ppid);
        parent.is_some_and(|parent| parent.is_opencode() && parent.args == process.args)
    }

    /// The process that stands for it: npm's `opencode` is a program that runs the real one as its child,
    /// with the same arguments and environment.
    pub fn head<'a>(&'a self, process: &'a Process) -> &'a Process {
        let Some(own) = process.args.get(1..).filter(|own| !own.is_empty()) else {
            return process;
        };
        match self.processes.get(&process.ppid) {
            Some(parent) if !parent.is_opencode() && parent.args.ends_with(own) => parent,
            _ => process,
        }
    }

    /// Whether a repod, this home's or another's, answers for it.
    ///
    /// The marker alone would not do: what an agent starts inherits it, an `opencode serve` as well.
    pub fn is_managed(&self, process: &Process) -> bool {
        let id = process.env.get(MARKER).and_then(|marker| marker.split('/').nth(1));
        let (Some(id), Some(homes)) = (id, &process.homes) else {
            return false;
        };
        let own = Path::new("repos").join(id).join("data/opencode");
        process.role() == Role::Server && homes.data.0.ends_with(own)
    }

    /// The backend on record that has this marker, if it lives.
    pub fn live_backend(&self, marker: &str) -> Option<&Backend> {
        let known = self.records.iter().filter_map(|record| record.backend.as_ref());
        let mut known = known.chain(&self.elsewhere);
        known.find(|backend| backend.marker == marker && self.lives(backend))
    }

    /// Whether the process on record lives: its pid may be another's by now.
    pub fn lives(&self, backend: &Backend) -> bool {
        self.processes.get(&backend.pid).is_some_and(|process| {
            process.start_ticks == backend.start_ticks && process.state != 'Z'
        })
    }

    /// The directory below this home that the process keeps its data in.
    pub fn repo_dir_of(&self, process: &Process) -> Option<PathBuf> {
        let repos = self.home.join("repos");
        let data = &process.homes.as_ref()?.data.0;
        let id = data.strip_prefix(&repos).ok()?.components().next()?;
        (process.role() == Role::Server).then(|| repos.join(id))
    }
}

/// The variable every process of a backend carries.
pub(crate) const MARKER: &str = "REPOD_BACKEND";

/// What the file is called: by its own installer and its platform packages; by npm's `opencode-ai`, on
/// Linux as well (1.18.33); where a package manager puts a script before it.
const NAMES: [&str; 4] = ["opencode", "opencode.exe", ".opencode", ".opencode-wrapped"];

impl Process {
    /// Whether it is OpenCode: by the file it runs; by its name once it has ended.
    pub fn is_opencode(&self) -> bool {
        let name = match &self.exe {
            Some(exe) => exe.file_name().map(|name| name.to_string_lossy().into_owned()),
            None => Some(self.comm.clone()),
        };
        name.is_some_and(|name| NAMES.contains(&name.as_str()))
    }

    /// Whether it runs repod.
    pub fn is_repod(&self) -> bool {
        self.exe.as_deref().and_then(Path::file_name).is_some_and(|name| name == "repod")
    }

    /// What it was asked to be.
    pub fn role(&self) -> Role {
        match self.args.iter().skip(1).find(|arg| !arg.starts_with('-')).map(String::as_str) {
            Some("serve" | "web") => Role::Server,
            Some("acp") => Role::Acp,
            Some("attach") => Role::Client,
            _ => Role::Whole,
        }
    }

    /// The value of an option, written with a space or with `=`.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            match arg.strip_prefix(name) {
                Some("") => return args.next().map(String::as_str),
                Some(rest) if rest.starts_with('=') => return rest.get(1..),
                _ => {}
            }
        }
        None
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
