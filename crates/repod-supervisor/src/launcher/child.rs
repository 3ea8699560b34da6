//! The child's side: repod as a launcher that waits, then becomes the backend.

use super::GO;
use close_fds::CloseFdsBuilder;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The first argument that makes repod a launcher. It is not part of the command line's contract.
pub const LAUNCH_VERB: &str = "__launch";

/// The exit code of a program that could not be executed, as shells have it.
const CANNOT_EXEC: u8 = 127;

/// Acts as the launcher if the arguments (without the program's own name) ask for it.
///
/// Call it first thing in `main`, before threads, a runtime or argument parsing. `None`: this is an
/// ordinary start. `Some`: end with this code (when all goes well the call does not come back at all,
/// because the process has become another program).
pub fn launch_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    if args.next()? != LAUNCH_VERB {
        return None;
    }
    let program = args.next().filter(|arg| arg == "--").and_then(|_| args.next());
    let Some(program) = program else {
        complain("`__launch` is repod's own: it takes `-- PROGRAM [ARGS]` and a pipe as stdin");
        return Some(ExitCode::from(CANNOT_EXEC));
    };
    match become_program(&program, args) {
        Ok(Unreleased) => Some(ExitCode::SUCCESS),
        Err(error) => {
            complain(&format!("cannot run `{}`: {error}", program.to_string_lossy()));
            Some(ExitCode::from(CANNOT_EXEC))
        }
    }
}

/// The daemon ended, or gave up, before it let the child run.
struct Unreleased;

fn become_program(
    program: &OsString,
    args: impl Iterator<Item = OsString>,
) -> io::Result<Unreleased> {
    // Its own session before anything else: the backend must not hear the terminal's Ctrl-C, and its
    // session id is one of the ties by which its descendants are found.
    rustix::process::setsid()?;
    if !released()? {
        return Ok(Unreleased);
    }
    let null = OpenOptions::new().read(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    // What repod opened is close-on-exec anyway. This is about what it inherited itself: the terminal
    // or script that happened to start the daemon may have had a lock or a pipe open, and a backend
    // that lives for weeks must not hold it.
    CloseFdsBuilder::new().cloexecfrom(3);
    Err(Command::new(program).args(args).exec())
}

fn released() -> io::Result<bool> {
    let mut byte = [0];
    loop {
        match io::stdin().read(&mut byte) {
            Ok(read) => return Ok(read == 1 && byte == [GO]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One line into the backend's log, which is where stderr leads.
fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "repod: {message}");
}
