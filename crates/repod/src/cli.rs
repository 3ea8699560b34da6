//! The command line: its grammar. What each command does is in `commands/`, one file each.

mod audit;
mod harden;
mod sessions;
mod top;

pub(crate) use audit::AuditArgs;
pub(crate) use harden::HardenArgs;
pub(crate) use sessions::{PromptArgs, SessionAt, SessionsArgs, SessionsCommand};
pub(crate) use top::TopArgs;

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Repo runtime manager: one isolated OpenCode backend per repository.
#[derive(Debug, Parser)]
#[command(name = "repod", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
PATH defaults to the current directory and may be any path in the repository.
Exit codes: 0 ok, 1 failure, 2 usage, 3 not running, 4 findings, 5 a turn waits for a person, 75 busy, 124 deadline,
130 interrupted.
Environment: REPOD_HOME (default ~/.opencode), REPOD_OPENCODE (the OpenCode binary), REPOD_LOG (log filter), REPOD_LOG_FORMAT (text or json), REPOD_REQUEST_ID (what the request is called in logs).")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to look and how to print; every command that prints data takes these.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Output {
    /// Print one JSON document (NDJSON where it streams)
    #[arg(long)]
    pub(crate) json: bool,
    /// Look, don't start: neither a daemon nor a backend
    #[arg(long)]
    pub(crate) no_start: bool,
}

/// Whose backend.
#[derive(Clone, Debug, Args)]
pub(crate) struct Which {
    /// A path in the repository, or a repo id
    #[arg(default_value = ".", conflicts_with = "all")]
    pub(crate) path: PathBuf,
    /// Every repo
    #[arg(long)]
    pub(crate) all: bool,
}

/// Where the shim lies.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShimAt {
    /// The shim's directory; `shim` in repod's home by default
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShimCommand {
    /// Put the shim into its directory and print the line for your shell's profile
    Install {
        #[command(flatten)]
        at: ShimAt,
    },
    /// Take it out again
    Uninstall {
        #[command(flatten)]
        at: ShimAt,
    },
    /// Whether it is there and first on the PATH, and which OpenCode it stands before
    Status {
        #[command(flatten)]
        at: ShimAt,
    },
}

impl ShimCommand {
    /// Whether JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        let (Self::Install { at } | Self::Uninstall { at } | Self::Status { at }) = self;
        at.json
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Hold a branch while a command runs; agents wait meanwhile
    Hold {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The branch; the one checked out there by default
        #[arg(long)]
        branch: Option<String>,
        /// How long to wait for it (`30s`, `5m`); `[policy] write_wait` by default
        #[arg(long)]
        wait: Option<humantime::Duration>,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Take a lease away from whoever holds it; noted in the daemon's log
    Release {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The branch; the one checked out there by default
        #[arg(long)]
        branch: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

impl LeaseCommand {
    /// Whether JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        matches!(self, Self::Release { json: true, .. })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// Apply a patch (git or unified diff) from standard input: all of it or nothing
    #[command(after_help = "\
Paths in the patch are relative to the root of the worktree PATH lies in. The repository's own backend is
woken if need be and applies it, under its branch's lease; `repod mutations` has the record.
  git -C ~/src/a diff --binary | repod route apply --to ~/src/b")]
    Apply {
        /// A path in the repository
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
        /// The branch that must be checked out there; any by default
        #[arg(long)]
        branch: Option<String>,
        /// A name of yours for this write: the same name again does not apply it twice
        #[arg(long, value_name = "ID")]
        operation: Option<String>,
        /// How long to wait for the branch (`30s`, `5m`, `0s`: not at all); `[policy] write_wait` by default
        #[arg(long, value_name = "DURATION")]
        wait: Option<humantime::Duration>,
        #[command(flatten)]
        output: Output,
    },
}

impl RouteCommand {
    /// Whether JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        let Self::Apply { output, .. } = self;
        output.json
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ensure a backend for each repository, with progress
    Up {
        /// Paths in the repositories
        #[arg(default_value = ".")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Ensure the backend of a repository and print its endpoint's URL
    Ensure {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// OpenCode's terminal interface on the repository's endpoint
    Attach {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Fail when no backend is running instead of starting one
        #[arg(long)]
        no_start: bool,
        /// Further arguments of `opencode attach`
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Run a command with the endpoint in its environment
    Run {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Fail when no backend is running instead of starting one
        #[arg(long)]
        no_start: bool,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// All repositories and their backends
    Ps {
        #[command(flatten)]
        output: Output,
    },
    /// What goes on in all repositories, live
    #[command(after_help = top::HELP)]
    Top(TopArgs),
    /// One repository, in full
    Status {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// What its backends used over time instead, a row each time it was measured
        #[arg(long)]
        history: bool,
        #[command(flatten)]
        output: Output,
    },
    /// End a backend and everything it started
    Stop {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        output: Output,
    },
    /// End a backend that nobody needs just now; the next request to its endpoint wakes it
    Hibernate {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        output: Output,
    },
    /// Stop and start a backend; also gives a parked one a new chance
    Restart {
        #[command(flatten)]
        which: Which,
        /// Make a new password and capability URL; the old ones are refused from then on
        #[arg(long)]
        rotate: bool,
        #[command(flatten)]
        output: Output,
    },
    /// What a backend printed
    Logs {
        /// A path in the repository, or a repo id
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
        /// The daemon's log instead
        #[arg(long, conflicts_with = "path")]
        daemon: bool,
        /// Print each line as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// One turn of an agent session, streamed
    #[command(after_help = sessions::PROMPT_HELP)]
    Prompt {
        #[command(flatten)]
        args: PromptArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Agent sessions: durable conversations, whose turns `repod prompt` makes
    Sessions(SessionsArgs),
    /// Who may write on which branch, and who waits for it
    Leases {
        /// Print again whenever it changes
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Hold a branch's lease for a command, or take one away
    Lease {
        #[command(subcommand)]
        command: LeaseCommand,
    },
    /// Change another repository through its own backend
    Route {
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// What was written across repositories, the newest first
    Mutations {
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Bring over sessions that OpenCode outside repod has added since the repository came here
    #[command(after_help = "\
The first start of a repository's backend does this by itself (`[backend] history` in repod.toml). The user's own
database is only read. A backend that is in use is not put to sleep for it.")]
    Adopt {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Bring a repository's sessions back to OpenCode outside repod, and end its isolation
    #[command(after_help = "\
Stops the backend, and writes to the user's own database while nobody has that open. The repository's own database is
kept as `ejected.db`. If repod starts this repository again, it begins anew with what is in the user's own.")]
    Eject {
        /// A path in the repository
        path: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// What is wrong with the OpenCode processes of this user; looks, and changes nothing
    #[command(after_help = audit::HELP)]
    Audit(AuditArgs),
    /// The dashboard: print its link, which is good for one login
    #[command(after_help = "\
It is served by the daemon on 127.0.0.1 from the first time it is asked for, on a port that stays the same. The
link carries its secret behind the `#`, where a browser keeps it to itself. docs/web.md has the rest.")]
    Web {
        /// Open it in a browser
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Clear stale registry entries and left-over processes; never touches a repository
    Gc {
        /// Say what would be cleared, and leave it
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// An `opencode` in front of the real one, which leads to the repository's own backend
    Shim {
        #[command(subcommand)]
        command: ShimCommand,
    },
    /// The Agent Client Protocol on standard input and output, for editors
    #[command(after_help = "\
The editor's conversations are sessions of the repository's own backend, which `repod attach` shows too. PATH is
where they are listed when the editor names no directory. An editor starts this by itself once it is told to.")]
    Acp {
        /// A path in the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Fail when no backend is running instead of starting one
        #[arg(long)]
        no_start: bool,
    },
    /// The Model Context Protocol on standard input and output, for agents of any make
    #[command(after_help = "\
Tools: repos_list, repo_read, repo_write, repo_edit, repo_apply_patch, repo_status, leases. Writes are done by
the target repository's own backend under its branch's lease. An agent starts this by itself once it is told to.")]
    Mcp {
        /// How long a write waits for its branch (`30s`, `5m`); `[policy] write_wait` by default
        #[arg(long, value_name = "DURATION")]
        wait: Option<humantime::Duration>,
        /// Start neither a daemon nor a backend: what needs one is refused
        #[arg(long)]
        no_start: bool,
    },
    /// The daemon, in the foreground
    Daemon {
        /// Wait until the daemon dies, then take its place
        #[arg(long, hide = true)]
        standby: bool,
    },
    /// Stop the daemon; the backends go on, and the next daemon adopts them
    Shutdown {
        /// Stop the backends too
        #[arg(long)]
        backends: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Every setting, its value and where it comes from
    Config {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// The limits of the machine, and drop-in files that raise them
    #[command(after_help = harden::HELP)]
    Harden(HardenArgs),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a directory
    Man {
        /// Where to write `repod.1`, `repod-up.1`, …
        dir: Option<PathBuf>,
    },
    /// Print the socket API's OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// A shell of a backend that runs a command for another repository becomes this
    #[command(name = "__routed", hide = true)]
    Routed,
    /// Versions of repod, its daemon and OpenCode
    Version {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}
