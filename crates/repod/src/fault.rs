//! Sudden death at a chosen point, and events that are lost, for the tests of recovery. Release builds have
//! none of it.

use repod_proto::{ApiError, ErrorCode, Home};
use std::time::Duration;

/// Dies here, as by `kill -9`, if the home has a file `fault-<point>`; the file goes first, so that
/// the next daemon lives.
pub(crate) fn point(home: &Home, point: &str) {
    if cfg!(debug_assertions) {
        let file = home.dir().join(format!("fault-{point}"));
        if fs_err::remove_file(file).is_ok() {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

/// Panics, if the home has a file `fault-panic-<point>`.
#[expect(clippy::panic, reason = "it is what is to be survived")]
pub(crate) fn panics(home: &Home, point: &str) {
    if cfg!(debug_assertions) && home.dir().join(format!("fault-panic-{point}")).exists() {
        panic!("on purpose: `fault-panic-{point}`");
    }
}

/// Fails once, as if the disk had, if the home has a file `fault-fails-<point>`.
pub(crate) fn failure(home: &Home, point: &str) -> Result<(), ApiError> {
    let file = home.dir().join(format!("fault-fails-{point}"));
    match cfg!(debug_assertions) && fs_err::remove_file(file).is_ok() {
        true => Err(ApiError::new(ErrorCode::StateIo, format!("on purpose: `{point}`"))),
        false => Ok(()),
    }
}

/// How long a stream of events lasts before it breaks, if `REPOD_FAULT_STREAM_MS` says so.
pub(crate) fn stream_life() -> Option<Duration> {
    let text = std::env::var("REPOD_FAULT_STREAM_MS").ok().filter(|_| cfg!(debug_assertions))?;
    text.parse().ok().map(Duration::from_millis)
}

/// Whether an event is lost on its way to an agent session: those that end a turn, if the home has a
/// file `fault-lose-idle`.
pub(crate) fn loses(home: &Home, event: &[u8]) -> bool {
    cfg!(debug_assertions)
        && event.windows(6).any(|bytes| bytes == b"\"idle\"" || bytes == b".idle\"")
        && home.dir().join("fault-lose-idle").exists()
}
