//! A group of version 2 that was given to us, divided into leaves: one for the daemon, one for each
//! backend.
//!
//! The kernel lets a group either have processes or hand controllers to the groups below, so the daemon
//! moves itself into a leaf first. A group is divided only when it is certain that it is ours: we own it
//! and may write it, nobody else's process is in it, and where systemd made it, systemd says that it
//! is delegated. Whatever speaks against it is an answer with a reason, never a try.

use super::place::Group;
use super::{Controller, GroupLimits, number, read};
use rustix::fs::{Access, access, getxattr};
use std::fmt::Display;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the daemon goes. The unit's `DelegateSubgroup=` has the same name.
const DAEMON: &str = "daemon";
/// What the name of a backend's leaf begins with.
const BACKEND: &str = "backend-";
/// How systemd marks what it has delegated: for all to read, and for root.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Me {
    /// The daemon's pid.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// Why there are no leaves.
#[derive(Debug, thiserror::Error)]
pub enum Undelegated {
    /// Nothing to divide.
    #[error("cgroup v2 is not mounted here, or the daemon's group is out of sight")]
    Absent,
    /// Of the whole machine.
    #[error("cgroup v2: the daemon is in the root group `{0}`, which is the machine's")]
    Root(PathBuf),
    /// Somebody else's.
    #[error("cgroup v2: `{0}` is not delegated to this user")]
    Foreign(PathBuf),
    /// systemd's, and not marked as delegated.
    #[error("cgroup v2: `{0}` is systemd's (`Delegate=yes` in the unit would give it to repod)")]
    Unmarked(PathBuf),
    /// systemd would not be able to start the daemon there once more.
    #[error(
        "cgroup v2: the daemon is in the unit's own group `{0}`; dividing that takes \
         `DelegateSubgroup=daemon` in the unit (systemd 254 or newer)"
    )]
    Unit(PathBuf),
    /// Others are in it.
    #[error("cgroup v2: process {pid} is in `{group}` too, so it can't be divided")]
    Shared {
        /// The group.
        group: PathBuf,
        /// One of them; 0 for one that is out of sight.
        pid: u32,
    },
    /// None of the controllers we use.
    #[error("cgroup v2: memory controller not delegated (`{group}` has: {has})")]
    NoController {
        /// The group.
        group: PathBuf,
        /// What it has.
        has: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] GroupError),
}

/// A file of a group that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cgroup v2: can't {what} `{path}`")]
pub struct GroupError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl GroupError {
    /// The system's own words.
    pub fn cause(&self) -> &io::Error {
        &self.source
    }
}

/// A group that is ours, with the daemon in a leaf of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    base: PathBuf,
    controllers: Vec<Controller>,
}

/// One backend's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    dir: PathBuf,
}

/// What became of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// Processes are still in it; none of them was touched.
    InUse(Vec<u32>),
}

impl Delegation {
    /// Divides what the daemon is in, if that is ours, and moves the daemon into its leaf.
    ///
    /// `wanted`: the controllers to hand on, of which those are had that there are.
    ///
    /// # Errors
    /// It is not ours, or the kernel refuses. Then nothing was changed, but that the daemon may be in a
    /// leaf of its own already.
    pub fn take(own: &Group, me: Me, wanted: &[Controller]) -> Result<Self, Undelegated> {
        let base = base_of(own)?;
        check_owner(&base, me)?;
        check_systemd(&base, own, is_marked)?;
        let has = read(&base, "cgroup.controllers")
            .map_err(|source| failed("read", base.join("cgroup.controllers"), source))?;
        let mut controllers = wanted.to_vec();
        controllers.retain(|one| has.split(' ').any(|name| name == one.as_str()));
        if controllers.is_empty() {
            let has = if has.is_empty() { "none".to_owned() } else { has };
            return Err(Undelegated::NoController { group: base, has });
        }
        if let Some(pid) = processes(&base)?.into_iter().find(|pid| *pid != me.pid) {
            return Err(Undelegated::Shared { group: base, pid });
        }
        let daemon = base.join(DAEMON);
        make(&daemon)?;
        if !processes(&daemon)?.contains(&me.pid) {
            write(&daemon, "cgroup.procs", me.pid)?;
        }
        hand_on(&base, &controllers)?;
        Ok(Self { base, controllers })
    }

    /// The group that is divided.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The controllers every leaf has.
    pub fn controllers(&self) -> &[Controller] {
        &self.controllers
    }

    /// The leaf of this backend, held to these limits; made if it isn't there.
    ///
    /// # Errors
    /// The kernel refuses: too many groups, a value out of range.
    pub fn leaf(&self, name: &str, limits: &GroupLimits) -> Result<Leaf, GroupError> {
        let dir = self.base.join(format!("{BACKEND}{name}"));
        make(&dir)?;
        for (controller, file, value, usual) in limits.files() {
            // A leaf that was there has the values of another start, so none is left out.
            match value {
                _ if !self.controllers.contains(&controller) => {}
                Some(value) => write(&dir, file, value)?,
                None => write(&dir, file, usual)?,
            }
        }
        Ok(Leaf { dir })
    }
}

impl Leaf {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves a process in. What it starts from then on is in there too, so do it before it runs.
    ///
    /// The caller must know whose pid it is: a child that was not reaped, for example.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn admit(&self, pid: u32) -> Result<(), GroupError> {
        write(&self.dir, "cgroup.procs", pid)
    }

    /// What a leaf is held to now, as the kernel says.
    pub fn limits(dir: &Path) -> GroupLimits {
        GroupLimits {
            memory_high: number(dir, "memory.high"),
            memory_limit: number(dir, "memory.max"),
            pids_max: number(dir, "pids.max"),
            cpu_weight: number(dir, "cpu.weight"),
        }
    }

    /// Takes a leaf away whose backend has ended. Nobody in it is signalled: who is still there is not
    /// known to be that backend's.
    ///
    /// # Errors
    /// It is no leaf of a backend, or the kernel refuses for another reason than processes in it.
    pub fn remove(dir: &Path) -> Result<Removed, GroupError> {
        let refuse = |source| failed("remove", dir.to_owned(), source);
        let name = dir.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| name.starts_with(BACKEND)) {
            return Err(refuse(io::Error::other("it is no leaf of a backend")));
        }
        match std::fs::remove_dir(dir) {
            Ok(()) => Ok(Removed::Gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removed::Gone),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                Ok(Removed::InUse(processes(dir).unwrap_or_default()))
            }
            Err(error) => Err(refuse(error)),
        }
    }
}

impl GroupLimits {
    /// Those that are set and that none of these controllers keeps, by the kernel's names.
    pub fn beyond(&self, controllers: &[Controller]) -> Vec<&'static str> {
        let set = self.files().into_iter().filter(|(_, _, value, _)| value.is_some());
        set.filter(|(one, ..)| !controllers.contains(one)).map(|(_, file, ..)| file).collect()
    }

    /// Controller, file, value, and what the file says when nothing is wanted.
    fn files(&self) -> [(Controller, &'static str, Option<u64>, &'static str); 4] {
        [
            (Controller::Memory, "memory.high", self.memory_high, "max"),
            (Controller::Memory, "memory.max", self.memory_limit, "max"),
            (Controller::Pids, "pids.max", self.pids_max, "max"),
            (Controller::Cpu, "cpu.weight", self.cpu_weight, "100"),
        ]
    }
}

/// What is to be divided: the group above, where the daemon is in a leaf already. A daemon that an
/// agent's command started is in that backend's leaf, and must not share its fate.
fn base_of(own: &Group) -> Result<PathBuf, Undelegated> {
    let name = own.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let above = own.dir.parent().filter(|above| above.starts_with(&own.mount));
    let base = match above {
        Some(above) if name == DAEMON => above,
        Some(above) if name.starts_with(BACKEND) && above.join(DAEMON).is_dir() => above,
        _ => &own.dir,
    };
    // The kernel's root has no type; that of a container's part of the hierarchy has one.
    if !base.join("cgroup.type").exists() {
        return Err(Undelegated::Root(base.to_owned()));
    }
    Ok(base.to_owned())
}

fn check_owner(base: &Path, me: Me) -> Result<(), Undelegated> {
    let foreign = || Undelegated::Foreign(base.to_owned());
    let files = ["", "cgroup.procs", "cgroup.subtree_control"].map(|name| base.join(name));
    for file in files {
        let owner = fs_err::metadata(&file).map_err(|_| foreign())?.uid();
        if owner != me.uid || access(&file, Access::WRITE_OK).is_err() {
            return Err(foreign());
        }
    }
    Ok(())
}

/// What bears a name of systemd's is systemd's, unless it says otherwise.
fn check_systemd(base: &Path, own: &Group, marked: fn(&Path) -> bool) -> Result<(), Undelegated> {
    let name = base.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_systemds = [".service", ".scope", ".slice"].iter().any(|kind| name.ends_with(kind));
    if is_systemds && !marked(base) {
        return Err(Undelegated::Unmarked(base.to_owned()));
    }
    // It starts a service in the unit's own group, where no process may be once it is divided.
    if name.ends_with(".service") && own.dir == base {
        return Err(Undelegated::Unit(base.to_owned()));
    }
    Ok(())
}

fn is_marked(base: &Path) -> bool {
    MARKS.iter().any(|mark| {
        let mut value = [0_u8; 8];
        matches!(getxattr(base, *mark, &mut value), Ok(length) if value.get(..length) == Some(b"1"))
    })
}

/// What is handed on already stays so: there may be leaves that live by it.
fn hand_on(base: &Path, controllers: &[Controller]) -> Result<(), GroupError> {
    const FILE: &str = "cgroup.subtree_control";
    let had = read(base, FILE).unwrap_or_default();
    let lacks = |one: &&Controller| !had.split(' ').any(|name| name == one.as_str());
    let orders: Vec<_> =
        controllers.iter().filter(lacks).map(|one| format!("+{}", one.as_str())).collect();
    if orders.is_empty() { Ok(()) } else { write(base, FILE, orders.join(" ")) }
}

fn make(dir: &Path) -> Result<(), GroupError> {
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed("make", dir.to_owned(), error))
        }
        _ => Ok(()),
    }
}

/// The processes of a group; those out of sight are 0.
fn processes(dir: &Path) -> Result<Vec<u32>, GroupError> {
    let text = match read(dir, "cgroup.procs") {
        // Only a directory that stands for a group has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|error| failed("read", dir.join("cgroup.procs"), error))?,
    };
    Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

fn write(dir: &Path, name: &str, value: impl Display) -> Result<(), GroupError> {
    let path = dir.join(name);
    // The whole value in one write: the kernel takes each for a value of its own.
    match fs_err::write(&path, value.to_string()) {
        Ok(()) => Ok(()),
        Err(error) => Err(failed("write", path, error)),
    }
}

fn failed(what: &'static str, path: PathBuf, source: io::Error) -> GroupError {
    GroupError { what, path, source }
}

#[cfg(test)]
mod tests;
