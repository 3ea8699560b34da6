//! The limit of open files, which every backend inherits from the daemon.
//!
//! The usual soft limit of 1,024 is used up by one agent with file watchers. The daemon raises its
//! own before it starts anything; it never lowers a limit, and says so when it can't get enough. The
//! settings may want more by the time a backend starts: then that one gets it.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

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
    outcome(getrlimit(Resource::Nofile), wanted)
}

/// Gives a child of this process, which has inherited its limits and runs nothing yet, at least `wanted`
/// open files.
pub fn give_nofile(child: u32, wanted: u64) -> NofileOutcome {
    let mine = getrlimit(Resource::Nofile);
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
    let (Some(pid), true) = (pid, number(mine.current) < wanted) else {
        return outcome(mine, wanted);
    };
    let enough = number(mine.maximum) >= wanted;
    let maximum = if enough { mine.maximum } else { Some(wanted) };
    let all = Rlimit { current: Some(wanted), maximum };
    // Only root may raise the hard limit.
    let some = Rlimit { current: mine.maximum, maximum: mine.maximum };
    let given =
        [all, some].into_iter().find(|limit| prlimit(Some(pid), Resource::Nofile, *limit).is_ok());
    outcome(given.unwrap_or(mine), wanted)
}

fn outcome(limit: Rlimit, wanted: u64) -> NofileOutcome {
    let (soft, hard) = (number(limit.current), number(limit.maximum));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_gets_more_open_files_than_its_parent_where_it_may() {
        let mine = getrlimit(Resource::Nofile);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let wanted = number(mine.current).saturating_add(1);
        let told = give_nofile(child.id(), wanted);
        let text = fs_err::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let soft = line.split_ascii_whitespace().nth(3).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(soft, told.soft.to_string());
        assert_eq!(told.warning.is_some(), told.soft < wanted);
        assert!(told.soft >= number(mine.current));
        assert_eq!(getrlimit(Resource::Nofile), mine, "the parent keeps its own");
        assert_eq!(give_nofile(child.id(), 1).soft, number(mine.current), "nothing is lowered");
    }
}
