//! Files and locks across processes.

use crate::backend::{HELPER, Stranger};
use repod_supervisor::files::{LockError, LockFile};
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_write_that_runs_out_of_space_leaves_the_old_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("endpoint.json");
    fs_err::write(&path, "old").unwrap();
    let write = |limit: &str| {
        // A limit of the file size fails the write in the middle, as a full disk does. The signal
        // that comes with it has to be ignored for the write to return an error.
        let script = format!("trap '' XFSZ; {limit}; exec \"$0\" write-atomic \"$1\"");
        Command::new("sh").arg("-c").arg(script).arg(HELPER).arg(&path).output().unwrap()
    };
    let failed = write("ulimit -f 8");
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert_eq!(fs_err::read(&path).unwrap(), b"old");
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1, "no left-over");
    assert!(write(":").status.success());
    assert_eq!(fs_err::metadata(&path).unwrap().len(), 65_536);
}

#[tokio::test]
async fn a_lock_keeps_other_processes_out_and_ends_with_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut holder = Stranger::helper(&["hold-lock", path.to_str().unwrap()]);
    let mut line = String::new();
    BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    match LockFile::try_acquire(&path) {
        Err(LockError::Held { holder: Some(noted), .. }) => assert_eq!(noted.pid, holder.0.id()),
        other => panic!("{other:?}"),
    }
    holder.0.kill().unwrap();
    LockFile::acquire(&path, Duration::from_secs(30)).await.unwrap();
    assert!(path.exists());
}
