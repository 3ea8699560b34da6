//! Writing files so that they can be taken back exactly.
//!
//! What is about to be written is noted first, in a ledger, so that a crash in between leaves nothing
//! that is not known. A file that existed is moved aside, to a name no reader of drop-ins looks at, and
//! moved back in the end: its mode, owner and times are as they were.

use crate::machine::Machine;
use crate::plan::{Drop, Plan};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

const LEDGER: &str = "var/lib/repod-harden/ledger.json";
const ASIDE: &str = ".repod-before";

/// Why the files could not be written or taken back.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The ledger is there and can't be understood.
    #[error("`{0}` can't be read; what it says must be undone by hand")]
    Ledger(PathBuf, #[source] serde_json::Error),
    /// A way below a scratch root leads out of it.
    #[error("`{0}` is a symbolic link, which may lead out of the root")]
    Link(PathBuf),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    files: Vec<Written>,
    /// Directories that were made for the ledger itself, outermost first.
    #[serde(default)]
    made: Vec<PathBuf>,
    /// Sysctls as they were in the running kernel, and as they were made.
    kernel: Vec<(String, String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    file: String,
    content: String,
    existed: bool,
    /// Directories that were made for it, outermost first.
    made: Vec<PathBuf>,
}

/// What was taken back.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reverted {
    /// These are as they were.
    pub restored: Vec<String>,
    /// These were changed by somebody since, and left alone.
    pub kept: Vec<String>,
}

/// Writes what the plan lacks; answers which files and sysctls.
pub fn apply(machine: &Machine, plan: &Plan) -> Result<Vec<String>, HardenError> {
    let mut ledger = load(machine)?;
    let mut done = Vec::new();
    for drop in &plan.drops {
        put(machine, &mut ledger, drop)?;
        done.push(drop.file.clone());
    }
    for (name, value) in &plan.kernel {
        let file = machine.path(&format!("proc/sys/{}", name.replace('.', "/")));
        let before = fs::read_to_string(&file)?.trim().to_owned();
        ledger.kernel.push((name.clone(), before, value.clone()));
        save(machine, &mut ledger)?;
        // A container may not: the next look at the machine says that it is not so.
        if fs::write(&file, value).is_ok() {
            done.push(name.clone());
        } else {
            ledger.kernel.pop();
            save(machine, &mut ledger)?;
        }
    }
    Ok(done)
}

fn put(machine: &Machine, ledger: &mut Ledger, drop: &Drop) -> Result<(), HardenError> {
    let path = machine.path(&drop.file);
    let made = missing(machine, &path)?;
    match ledger.files.iter_mut().find(|it| it.file == drop.file) {
        Some(written) => written.content.clone_from(&drop.content),
        None => {
            let existed = fs::symlink_metadata(&path).is_ok();
            let (file, content) = (drop.file.clone(), drop.content.clone());
            ledger.files.push(Written { file, content, existed, made: made.clone() });
            save(machine, ledger)?;
            if existed {
                fs::rename(&path, aside(&path))?;
            }
        }
    }
    save(machine, ledger)?;
    make(&made)?;
    write(&path, &drop.content)?;
    Ok(())
}

/// Takes back everything that was ever written.
pub fn revert(machine: &Machine) -> Result<Reverted, HardenError> {
    let mut ledger = load(machine)?;
    let mut report = Reverted::default();
    while let Some(written) = ledger.files.pop() {
        let path = machine.path(&written.file);
        missing(machine, &path)?;
        let now = fs::read_to_string(&path).ok();
        let before = fs::symlink_metadata(aside(&path)).is_ok();
        // After a crash the file may never have been written, or never moved aside.
        let untouched = written.existed && !before;
        if now.as_ref().is_some_and(|now| *now != written.content) && !untouched {
            report.kept.push(written.file.clone());
        } else {
            if before {
                fs::rename(aside(&path), &path)?;
            } else if now.is_some() && !untouched {
                fs::remove_file(&path)?;
            }
            for directory in written.made.iter().rev() {
                // Somebody else's file may be in it by now.
                let _ = fs::remove_dir(directory);
            }
            report.restored.push(written.file.clone());
        }
        save(machine, &mut ledger)?;
    }
    while let Some((name, before, made)) = ledger.kernel.pop() {
        let file = machine.path(&format!("proc/sys/{}", name.replace('.', "/")));
        if fs::read_to_string(&file)?.trim() == made && fs::write(&file, before).is_ok() {
            report.restored.push(name);
        } else {
            report.kept.push(name);
        }
    }
    let path = machine.path(LEDGER);
    if path.exists() {
        fs::remove_file(&path)?;
    }
    for directory in ledger.made.iter().rev() {
        // Somebody else's file may be in it by now.
        let _ = fs::remove_dir(directory);
    }
    Ok(report)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ASIDE);
    name.into()
}

/// The directories above `path` that are not there, outermost first.
fn missing(machine: &Machine, path: &Path) -> Result<Vec<PathBuf>, HardenError> {
    let root = machine.path("");
    let mut missing = Vec::new();
    for directory in path.ancestors().skip(1).take_while(|it| *it != root && it.starts_with(&root))
    {
        match fs::symlink_metadata(directory) {
            Ok(is) if is.is_symlink() && !machine.is_this_one() => {
                return Err(HardenError::Link(directory.to_owned()));
            }
            Ok(_) => {}
            Err(_) => missing.push(directory.to_owned()),
        }
    }
    missing.reverse();
    Ok(missing)
}

fn make(directories: &[PathBuf]) -> io::Result<()> {
    for directory in directories {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// In one step: nobody reads half a file.
fn write(path: &Path, content: &str) -> io::Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".repod-new");
    fs::write(&temp, content)?;
    fs::rename(&temp, path)
}

fn load(machine: &Machine) -> Result<Ledger, HardenError> {
    let path = machine.path(LEDGER);
    match fs::File::open(&path).and_then(io::read_to_string) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| HardenError::Ledger(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
        Err(error) => Err(error.into()),
    }
}

fn save(machine: &Machine, ledger: &mut Ledger) -> Result<(), HardenError> {
    let path = machine.path(LEDGER);
    let made = missing(machine, &path)?;
    make(&made)?;
    ledger.made.extend(made);
    let text = serde_json::to_string_pretty(ledger).map_err(io::Error::other)?;
    Ok(write(&path, &text)?)
}
