//! A command that belongs to another repo is run by that repo's backend, in a session of its own there.

use super::Router;
use super::journals::store;
use super::stage::operation_id;
use crate::backend::{Asked, Use};
use repod_opencode::{BackendClient, ProbeError};
use repod_proto::{ApiError, ErrorCode, RequestId};
use repod_store::Journal;
use repod_store::journal::{NewOperation, Part, State};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Sessions remembered for commands; beyond this new ones are made.
const SESSIONS_MAX: usize = 1024;

/// Who runs commands, and where.
type Place = (String, String);

/// Sessions in which commands of other repos' sessions ran, and in which none runs now: OpenCode runs one
/// command at a time in each.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Place, Vec<String>>>);

/// What a command came to.
pub(crate) struct Ran {
    pub(crate) output: String,
    pub(crate) exit: i32,
}

impl Sessions {
    fn take(&self, place: &Place) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = all.get_mut(place)?.pop();
        if all.get(place).is_some_and(Vec::is_empty) {
            all.remove(place);
        }
        free
    }

    fn give(&self, place: Place, session: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.values().map(Vec::len).sum::<usize>() >= SESSIONS_MAX {
            all.clear();
        }
        all.entry(place).or_default().push(session);
    }
}

/// A command under way. Who wanted it may leave: then it is ended there, and that is put on record.
struct Running(Option<Left>);

struct Left {
    router: Router,
    backend: BackendClient,
    session: String,
    journal: Journal,
    operation: String,
    command: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(left) = self.0.take() else { return };
        tokio::spawn(async move {
            // It may have ended by itself, or with its backend.
            let _ = left.backend.abort(&left.session).await;
            let message = format!("aborted: {}", left.command);
            let (journal, id) = (left.journal, left.operation);
            let noted = journal.advance(&id, State::Pending, State::Applied, Some(&message), None);
            match noted.await {
                Ok(_) => left.router.settled_as(State::Applied),
                Err(error) => {
                    tracing::warn!(operation = %id, %error, "an aborted command can't be put on record");
                }
            }
        });
    }
}

impl Router {
    /// Runs the command of this call, which has been let run, where it belongs.
    pub(crate) async fn shell(
        &self,
        caller: &repod_proto::RepoId,
        session: &str,
        call: &str,
        request: &RequestId,
    ) -> Result<Ran, ApiError> {
        let unknown = || {
            ApiError::new(
                ErrorCode::WriteRefused,
                "repod doesn't know this command any more; it was not run",
            )
            .hint("call `bash` again")
        };
        let foreign = self.foreign(caller, session, call).ok_or_else(unknown)?;
        let command = foreign.call.command.clone().ok_or_else(unknown)?;
        let (key, place) = foreign.footprint.places.first_key_value().ok_or_else(unknown)?;
        let handle = self.0.fleet.register(&place.repo).await?;
        handle.check_same(&place.repo)?;
        let _used = handle.client(Use::Request { stirs: true });
        let view = handle.ensure(Asked::default()).await?;
        let process = view.process.as_ref().ok_or_else(|| {
            ApiError::new(
                ErrorCode::BackendBroke,
                "the backend there has just ended; nothing was run",
            )
        })?;
        let backend = BackendClient::new(process.port, process.password.clone());
        let backend = backend.on_behalf_of(Some(request));
        let who = foreign.call.caller.root.clone();
        let whose = format!("{}/{}", foreign.call.caller.repo, foreign.call.caller.root);
        let there = (whose, place.worktree.clone());
        let target = self.session_there(&backend, &foreign.call, &there).await?;

        let journal = self.0.journals.of(&key.repo).await?;
        let leases = self.0.coordination.leases().await?;
        let branch = key.branch.to_string();
        let fence = leases
            .iter()
            .find(|lease| lease.repo_id == key.repo && lease.branch == branch)
            .map_or(0, |lease| lease.fence);
        let op = NewOperation {
            id: foreign.operation.clone(),
            at_ms: jiff::Timestamp::now().as_millisecond(),
            from_repo: Some(caller.to_string()),
            from_session: session.to_owned(),
            from_root: who,
            title: foreign.call.caller.title.clone(),
            tool: "bash".to_owned(),
            parts: vec![Part {
                repo: key.repo.to_string(),
                directory: place.worktree.clone(),
                branch,
                fence,
                files: Vec::new(),
            }],
            state: State::Pending,
            message: None,
        };
        if let repod_store::journal::Begun::Known(_) = journal.begin(&op).await.map_err(store)? {
            return Err(ApiError::new(ErrorCode::WriteRefused, "this command was run already")
                .hint("call `bash` again if it is to run once more"));
        }
        let cwd = Path::new(&foreign.call.caller.directory)
            .join(foreign.call.workdir.as_deref().unwrap_or_default());
        let mark = format!("repod-exit-{}:", operation_id()?);
        let script = Script::new(&script(&cwd, &command, &mark)).map_err(|error| {
            ApiError::new(ErrorCode::StateIo, format!("the command can't be laid out: {error}"))
        })?;
        let mut running = Running(Some(Left {
            router: self.clone(),
            backend: backend.clone(),
            session: target.clone(),
            journal: journal.clone(),
            operation: op.id.clone(),
            command: command.clone(),
        }));
        let ran = backend.shell(&target, script.command()).await;
        running.0 = None;
        if ran.is_ok() {
            self.0.sessions.give(there, target);
        }
        let (state, message, result) = match ran {
            Ok(output) => {
                let ran = unmarked(&output, &mark);
                let message = format!("exit {}: {command}", ran.exit);
                (State::Applied, message, Ok(ran))
            }
            // Said before anything is run: nobody listens, no such session or agent, or it is busy.
            Err(error @ (ProbeError::Refused | ProbeError::Failed { status: 400..=499, .. })) => {
                let message = format!("it was not run: {error}");
                let answer = ApiError::new(ErrorCode::WriteRefused, message.clone())
                    .hint("call `bash` again");
                (State::Refused, message, Err(answer))
            }
            Err(error) => {
                let message = format!("its backend broke off while the command ran: {error}");
                let answer = ApiError::new(ErrorCode::BackendBroke, message.clone())
                    .hint("look at what it has done before running it again");
                (State::Conflict, message, Err(answer))
            }
        };
        journal
            .advance(&op.id, State::Pending, state, Some(&message), None)
            .await
            .map_err(store)?;
        self.settled_as(state);
        tracing::info!(operation = %op.id, tool = "bash", outcome = state.name(), request_id = %request,
            "a command of another repo is settled");
        result
    }

    /// A session for one command.
    async fn session_there(
        &self,
        backend: &BackendClient,
        call: &crate::coordination::GuardedCall,
        place: &Place,
    ) -> Result<String, ApiError> {
        let broke = |error: ProbeError| {
            ApiError::new(ErrorCode::BackendBroke, format!("no session can be had there: {error}"))
        };
        if let Some(known) = self.0.sessions.take(place)
            && backend.session(&known).await.is_ok()
        {
            return Ok(known);
        }
        let title = format!("commands of `{}` ({})", call.caller.title, call.caller.repo);
        backend.create_session(&place.1, &title).await.map_err(broke)
    }
}

/// A script in a file of its own, for a backend to run.
///
/// OpenCode 1.18.33 puts the text of `/session/:id/shell` between double quotes and evaluates it, so that
/// `$`, backquotes, backslashes and line ends in it don't survive; a file's name does.
pub(super) struct Script {
    _file: tempfile::NamedTempFile,
    command: String,
}

impl Script {
    pub(super) fn new(text: &str) -> std::io::Result<Self> {
        let mut file = tempfile::Builder::new().prefix("repod-run-").tempfile()?;
        file.write_all(text.as_bytes())?;
        let command = format!("bash {}", quoted(&file.path().display().to_string()));
        Ok(Self { _file: file, command })
    }

    /// What to have run.
    pub(super) fn command(&self) -> &str {
        &self.command
    }
}

/// The command from the directory it was meant for, with its exit code at the end.
fn script(cwd: &Path, command: &str, mark: &str) -> String {
    let [cwd, command, mark] = [&cwd.display().to_string(), command, mark].map(quoted);
    format!("cd -- {cwd} || exit 1\nbash -c {command}\nprintf '\\n%s%d\\n' {mark} \"$?\"\n")
}

/// One word for any shell that knows single quotes.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn unmarked(output: &str, mark: &str) -> Ran {
    match output.rsplit_once(mark) {
        Some((before, rest)) => Ran {
            output: before.strip_suffix('\n').unwrap_or(before).to_owned(),
            exit: rest.trim().parse().unwrap_or(1),
        },
        // It ended its own shell, or was ended.
        None => Ran { output: output.to_owned(), exit: 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn any_command_keeps_its_words_and_its_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        for (command, output, exit) in [
            ("printf '%s' \"it's\"", "it's", 0),
            ("pwd; exit 7", &*format!("{}\n", dir.path().canonicalize().unwrap().display()), 7),
            ("echo 'a\nb' && false", "a\nb\n", 1),
            ("if then", "", 2),
            ("x=5; echo $x `echo y` \\\\ \\\n z", "5 y \\ z\n", 0),
        ] {
            let text = script(&dir.path().canonicalize().unwrap(), command, "mark:");
            let script = Script::new(&text).unwrap();
            // As OpenCode runs it.
            let line = format!("eval {}", serde_json::to_string(script.command()).unwrap());
            let ran = Command::new("bash").args(["-c", &line]).output().unwrap();
            let ran = unmarked(&String::from_utf8(ran.stdout).unwrap(), "mark:");
            assert_eq!((ran.output.as_str(), ran.exit), (output, exit), "{command}");
        }
    }
}
