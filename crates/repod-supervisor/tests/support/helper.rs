//! The tests' stand-in for the repod binary: the launcher's child side, and small probes that need a
//! process of their own (limits and locks belong to a process).

use repod_supervisor::files::{LockFile, write_atomic};
use repod_supervisor::launcher::{HeldChild, HeldSpawn, launch_main};
use repod_supervisor::limits::raise_nofile;
use repod_supervisor::log_tail::open_for_append;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = launch_main(std::env::args_os().skip(1)) {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        // Writes 64 KiB over a file; exit code 1 when that fails.
        ["write-atomic", path] => match write_atomic(Path::new(path), &[b'n'; 65536], 0o600) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(&error.to_string(), 1),
        },
        // Holds the lock until stdin closes.
        ["hold-lock", path] => match LockFile::try_acquire(Path::new(path)) {
            Ok(_lock) => {
                say("locked", 0);
                let _ = io::stdin().read(&mut [0]);
                ExitCode::SUCCESS
            }
            Err(error) => say(&error.to_string(), 75),
        },
        // A daemon that dies between the spawn and the record: says whom it holds, then waits.
        ["hold-child", log] => hold_child(log),
        // Listens on a port of 127.0.0.1, says which, and goes on until it is killed.
        ["listen"] => {
            let Ok(listener) = TcpListener::bind("127.0.0.1:0") else {
                return ExitCode::FAILURE;
            };
            let Ok(address) = listener.local_addr() else {
                return ExitCode::FAILURE;
            };
            say(&address.port().to_string(), 0);
            while listener.accept().is_ok() {}
            ExitCode::FAILURE
        }
        ["raise-nofile", wanted] => match wanted.parse() {
            Ok(wanted) => say(&format!("{:?}", raise_nofile(wanted)), 0),
            Err(_) => ExitCode::from(2),
        },
        _ => ExitCode::from(2),
    }
}

fn hold_child(log: &str) -> ExitCode {
    let (Ok((log, _)), Ok(me)) = (open_for_append(Path::new(log)), std::env::current_exe()) else {
        return ExitCode::FAILURE;
    };
    let held = HeldChild::spawn(HeldSpawn {
        launcher: me,
        launcher_args: Vec::new(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "echo ran".into()],
        env: BTreeMap::new(),
        cwd: "/".into(),
        log,
    });
    let Ok(held) = held else {
        return ExitCode::FAILURE;
    };
    let Ok(identity) = serde_json::to_string(held.identity()) else {
        return ExitCode::FAILURE;
    };
    say(&identity, 0);
    let _ = io::stdin().read(&mut [0]);
    ExitCode::FAILURE
}

fn say(line: &str, code: u8) -> ExitCode {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
    ExitCode::from(code)
}
