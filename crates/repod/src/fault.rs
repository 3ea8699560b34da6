//! Sudden death at a chosen point, for the tests of recovery. Release builds have none of it.

use repod_proto::Home;

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
