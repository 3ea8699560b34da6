//! The limit of open files, which every backend inherits from the daemon.
//!
//! The usual soft limit of 1,024 is used up by one agent with file watchers. The daemon raises its
//! own before it starts anything; it never lowers a limit, and says so when it can't get enough.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the limit of open files is now. `u64::MAX` stands for "unlimited".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NofileOutcome {
    /// The limit in force.
    pub soft: u64,
    /// What it could be raised to without privileges.
    pub hard: u64,
    /// What is wrong and what to do, when it is lower than wanted.
    pub warning: Option<String>,
}

/// Raises the limit of open files of this process to at least `wanted`.
pub fn raise_nofile(wanted: u64) -> NofileOutcome {
    let before = getrlimit(Resource::Nofile);
    if number(before.current) < wanted {
        raise(before, wanted);
    }
    let after = getrlimit(Resource::Nofile);
    let (soft, hard) = (number(after.current), number(after.maximum));
    let warning = (soft < wanted).then(|| {
        format!(
            "only {soft} open files are allowed, {wanted} are wanted, and the hard limit is {hard}; \
             `repod harden` shows how to raise it (`nofile` in `/etc/security/limits.d`, \
             `LimitNOFILE=` in a unit)"
        )
    });
    NofileOutcome { soft, hard, warning }
}

fn raise(before: Rlimit, wanted: u64) {
    // The hard limit first: only root (`CAP_SYS_RESOURCE`) may raise it, and no further than
    // `fs.nr_open`. A refusal is no error, it shows in the outcome.
    if number(before.maximum) < wanted {
        let both = Rlimit { current: Some(wanted), maximum: Some(wanted) };
        if setrlimit(Resource::Nofile, both).is_ok() {
            return;
        }
    }
    let soft = wanted.min(number(before.maximum));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: before.maximum });
}

fn number(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}
