//! What the journal's tests share: operations, a model of the journal, and a process that is killed.

use repod_store::journal::{
    Begun, Changed, FileChange, Image, ImageKind, NewOperation, Part, State,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the process that is killed finds its file.
const TOLD: &str = "REPOD_TEST_JOURNAL";

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn image(bytes: &[u8]) -> Option<Image> {
    Some(Image { kind: ImageKind::Plain, bytes: bytes.to_vec() })
}

pub(crate) fn file(path: &str, before: Option<Image>, after: Option<Image>) -> FileChange {
    FileChange { path: path.into(), before, after }
}

pub(crate) fn part(repo: &str, files: Vec<FileChange>) -> Part {
    Part {
        repo: repo.to_owned(),
        directory: format!("/src/{repo}"),
        branch: "main".to_owned(),
        fence: 0,
        files,
    }
}

pub(crate) fn operation(id: &str) -> NewOperation {
    NewOperation {
        id: id.to_owned(),
        at_ms: 1_795_000_000_000,
        from_repo: Some("a-1".to_owned()),
        from_session: "ses_1".to_owned(),
        from_root: "ses_0".to_owned(),
        title: "change it".to_owned(),
        tool: "edit".to_owned(),
        parts: vec![part("b-1", vec![file("file", image(b"old\n"), image(b"new\r\n"))])],
        state: State::Pending,
        message: None,
    }
}

/// What the journal is to do, without a database.
#[derive(Default)]
pub(crate) struct Model(Vec<NewOperation>);

impl Model {
    pub(crate) fn begin(&mut self, op: &NewOperation) -> Begun {
        if let Some(known) = self.0.iter().find(|known| known.id == op.id) {
            return Begun::Known(Box::new(known.clone()));
        }
        self.0.push(kept(op.clone()));
        Begun::New
    }

    pub(crate) fn advance(&mut self, id: &str, from: State, to: State) -> Changed {
        let Some(op) = self.0.iter_mut().find(|op| op.id == id) else { return Changed::Gone };
        if op.state != from || (from != State::Pending && to == State::Pending) {
            return Changed::Stale(op.state);
        }
        *op = kept(NewOperation { state: to, ..op.clone() });
        Changed::Updated
    }

    pub(crate) fn prune(&mut self, newest: u32) -> u64 {
        let mut left = newest;
        let before = self.0.len();
        let mut kept = Vec::new();
        for op in self.0.drain(..).rev() {
            if op.state == State::Pending {
                kept.push(op);
            } else if left > 0 {
                left -= 1;
                kept.push(op);
            }
        }
        kept.reverse();
        self.0 = kept;
        (before - self.0.len()) as u64
    }

    pub(crate) fn states(&self) -> BTreeMap<String, State> {
        self.0.iter().map(|op| (op.id.clone(), op.state)).collect()
    }
}

fn kept(mut op: NewOperation) -> NewOperation {
    if !op.state.keeps_contents() {
        for file in op.parts.iter_mut().flat_map(|part| &mut part.files) {
            (file.before, file.after) = (None, None);
        }
    }
    op
}

/// Starts this test program's test of that name on the file, kills it after some answers, and says which
/// operations it had been told are recorded, each with the last state.
pub(crate) fn killed_while_it_writes(path: &Path, test: &str) -> BTreeMap<String, State> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(TOLD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answered = BTreeMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard = |line: String| {
        // Only a whole line is an answer; the test harness prints others.
        if let Some((id, state)) =
            line.strip_prefix("answered ").and_then(|line| line.split_once(' '))
        {
            answered.extend(State::named(state).map(|state| (id.to_owned(), state)));
        }
    };
    for line in lines.by_ref().map_while(Result::ok).take(40) {
        heard(line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.map_while(Result::ok).for_each(heard);
    assert!(answered.len() >= 10, "it wrote {answered:?}");
    answered
}

pub(crate) fn told() -> Option<std::ffi::OsString> {
    std::env::var_os(TOLD)
}

pub(crate) fn answer(id: &str, state: State) {
    println!("answered {id} {}", state.name());
}
