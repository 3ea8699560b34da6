//! A binary's version, cheaply: from the npm package it lies in, else by running it once.

use semver::Version;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

/// How long `opencode --version` may take; 0.6 s is normal.
const RUN_LIMIT: Duration = Duration::from_secs(10);
/// More than a version is not read.
const OUTPUT_MAX: u64 = 4096;

/// A file as it was when it told its version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

static KNOWN: Mutex<BTreeMap<Seen, Version>> = Mutex::new(BTreeMap::new());

/// The version of the executable at this canonical path.
pub(super) fn of(path: &Path, search: Option<&OsString>) -> io::Result<Version> {
    if let Some(version) = package_of(path).and_then(|package| package.version) {
        return Ok(version);
    }
    let metadata = fs_err::metadata(path)?;
    let seen = Seen {
        path: path.to_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    if let Some(version) = known().get(&seen) {
        return Ok(version.clone());
    }
    // Not under the lock: two callers may both run it, and both are right.
    let version = run(path, search)?;
    let mut known = known();
    known.retain(|other, _| other.path != seen.path);
    known.insert(seen, version.clone());
    Ok(version)
}

/// The same, where nothing has to be run for it.
pub(super) fn told(path: &Path) -> Option<Version> {
    package_of(path)?.version
}

fn known() -> std::sync::MutexGuard<'static, BTreeMap<Seen, Version>> {
    // Every change is one insert; a panic elsewhere can't leave it half done.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An npm package of OpenCode.
struct Package {
    dir: PathBuf,
    version: Option<Version>,
}

/// The package `<dir>/bin/<executable>` belongs to.
fn package_of(path: &Path) -> Option<Package> {
    let bin = path.parent().filter(|bin| bin.file_name().is_some_and(|name| name == "bin"))?;
    let dir = bin.parent()?;
    let text = fs_err::read(dir.join("package.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
    if !json.get("name")?.as_str()?.starts_with("opencode") {
        return None;
    }
    let version = json.get("version").and_then(|v| v.as_str()).and_then(|v| Version::parse(v).ok());
    Some(Package { dir: dir.to_owned(), version })
}

/// The executable behind npm's wrapper: `opencode-ai/bin/opencode` may be a script that needs Node,
/// while the binary itself lies in the platform package beside it.
pub(super) fn platform_binary(path: PathBuf) -> PathBuf {
    if is_elf(&path) {
        return path;
    }
    let Some(package) = package_of(&path) else {
        return path;
    };
    let beside = package.dir.parent().map(Path::to_path_buf);
    let below = Some(package.dir.join("node_modules"));
    let found = [beside, below].into_iter().flatten().find_map(|modules| {
        platform_packages()
            .into_iter()
            .map(|name| modules.join(name).join("bin").join("opencode"))
            .find(|candidate| is_elf(candidate))
    });
    found.and_then(|found| fs_err::canonicalize(found).ok()).unwrap_or(path)
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    fs_err::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// Platform packages that run here, best first, in the order of OpenCode's own installer.
fn platform_packages() -> Vec<String> {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let base = format!("opencode-linux-{arch}");
    let musl = Path::new("/etc/alpine-release").exists();
    let old_cpu = arch == "x64"
        && !fs_err::read_to_string("/proc/cpuinfo")
            .is_ok_and(|info| info.split_whitespace().any(|flag| flag == "avx2"));
    let baseline = if old_cpu { ["-baseline", ""] } else { ["", "-baseline"] };
    let libc = if musl { ["-musl", ""] } else { ["", "-musl"] };
    libc.iter()
        .flat_map(|libc| baseline.iter().map(move |cpu| (cpu, libc)))
        .map(|(cpu, libc)| format!("{base}{cpu}{libc}"))
        .collect()
}

/// Runs `--version` in a home of its own, so that nothing is made in the user's directories.
fn run(path: &Path, search: Option<&OsString>) -> io::Result<Version> {
    let home = tempfile::Builder::new().prefix("repod-version-").tempdir()?;
    let mut command = Command::new(path);
    command.arg("--version").env_clear().current_dir(home.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    for name in
        ["HOME", "TMPDIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"]
    {
        command.env(name, home.path());
    }
    if let Some(search) = search {
        command.env("PATH", search);
    }
    let mut child = command.spawn()?;
    let output = read_bounded(&mut child);
    // Done or not, nothing of it may stay.
    end_group(&mut child);
    let output = output?;
    let text = output.split_whitespace().last().unwrap_or_default();
    Version::parse(text.trim_start_matches('v')).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("`{text}` is not a version: {error}"))
    })
}

fn read_bounded(child: &mut Child) -> io::Result<String> {
    let mut pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = pipe.by_ref().take(OUTPUT_MAX).read_to_string(&mut text);
        // Nobody waits any more when the time is up.
        let _ = send.send(read.map(|_| text));
    });
    receive.recv_timeout(RUN_LIMIT).map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, "`--version` did not end within 10 s")
    })?
}

fn end_group(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // The child is not reaped yet, so its group id is still its own.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}
