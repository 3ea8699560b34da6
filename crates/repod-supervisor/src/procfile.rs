//! Reading `/proc/PID/…` of a process that may end at any moment.
//!
//! A process that is gone is an answer here, not an error. What the files say is parsed by `procfs`;
//! only the reading is done by hand, because "gone" must not be confused with "could not be read".

use procfs::FromRead;
use procfs::process::{Stat, Status};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};

/// The content of `/proc/PID/NAME`, or `None` when there is no such process (any more).
pub(crate) fn read(pid: u32, name: &str) -> io::Result<Option<Vec<u8>>> {
    let path = format!("/proc/{pid}/{name}");
    let mut bytes = Vec::new();
    // Not `fs_err`: its errors hide the system's code, and the code tells what "gone" is.
    match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot read `{path}`: {error}"))),
    }
}

/// `/proc/PID/stat`.
pub(crate) fn stat(pid: u32) -> io::Result<Option<Stat>> {
    let Some(bytes) = read(pid, "stat")? else {
        return Ok(None);
    };
    Stat::from_read(bytes.as_slice()).map(Some).map_err(io::Error::other)
}

/// The user whose process it is (the real uid), from `/proc/PID/status`.
///
/// The owner of the directory would not do: it is root's for every process that is not dumpable.
pub(crate) fn real_uid(pid: u32) -> io::Result<Option<u32>> {
    let Some(bytes) = read(pid, "status")? else {
        return Ok(None);
    };
    Status::from_read(bytes.as_slice()).map(|status| Some(status.ruid)).map_err(io::Error::other)
}

/// Whether the error says that the process has ended. The kernel answers `ENOENT` when the directory
/// is gone, and `ESRCH` when it goes while the file is open (or has no memory to speak of: the
/// environment of a zombie or of a kernel thread).
fn is_gone(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::SRCH.raw_os_error()) || code == Some(Errno::NOENT.raw_os_error())
}

/// Every pid in `/proc` at the moment.
pub(crate) fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}
