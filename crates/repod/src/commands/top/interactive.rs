//! The loop: keys, signals, answers and time come in; what the model asks for is done.

use super::input::Input;
use super::model::{Effect, Model, Msg, Verb};
use super::screen::Screen;
use super::signals::{Signals, Told, stop_all, stop_self};
use super::view::{self, Theme};
use super::{ask, log, looking};
use crate::commands::Outcome;
use crate::fault;
use crossterm::event::Event;
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use repod_client::Client;
use repod_proto::{
    ApiError, ErrorCode, HibernateRequest, RepoId, RestartRequest, StopRequest, Target, exit,
};
use std::collections::HashMap;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// Answers that wait; who would be one too many waits with it.
const ANSWERS_MAX: usize = 16;
/// How long another program may take to end that was told to.
const END_LIMIT: Duration = Duration::from_secs(5);

struct Top {
    screen: Screen,
    input: Input,
    signals: Signals,
    model: Model,
    theme: Theme,
    /// Who may start a daemon: for what is asked for by key, and for the first look.
    acting: Client,
    no_start: bool,
    tell: mpsc::Sender<Msg>,
    told: mpsc::Receiver<Msg>,
    rounds: Interval,
    /// Whether a look is under way.
    looks: bool,
    /// Whether one has succeeded: from then on looking starts nothing.
    has_looked: bool,
    /// How long the logs were when they were read last.
    logs: HashMap<RepoId, u64>,
    /// Given back, and about to be stopped or just continued: nothing may be drawn.
    suspended: bool,
}

/// How the loop goes on.
enum Flow {
    On,
    End(u8),
}

pub(super) async fn run(
    client: Client,
    no_start: bool,
    every: Duration,
    model: Model,
    theme: Theme,
) -> Outcome {
    let failed = |error: io::Error| {
        ApiError::new(ErrorCode::Internal, format!("the terminal can't be used: {error}"))
            .hint("`repod top --once` prints one frame without it")
    };
    let (tell, told) = mpsc::channel(ANSWERS_MAX);
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (input, signals) = (Input::new().map_err(failed)?, Signals::new().map_err(failed)?);
    let screen = Screen::take().map_err(failed)?;
    let top = Top {
        screen,
        input,
        signals,
        model,
        theme,
        acting: client,
        no_start,
        tell,
        told,
        rounds,
        looks: false,
        has_looked: false,
        logs: HashMap::new(),
        suspended: false,
    };
    top.run().await.map_err(failed)
}

impl Top {
    async fn run(mut self) -> io::Result<u8> {
        loop {
            if !self.suspended {
                let (model, theme) = (&self.model, &self.theme);
                self.screen.draw(|frame| view::draw(model, theme, frame))?;
            }
            if let Flow::End(code) = self.turn().await? {
                return Ok(code);
            }
        }
    }

    /// Waits for the next thing and does what follows from it.
    async fn turn(&mut self) -> io::Result<Flow> {
        let effects = tokio::select! {
            biased;
            told = self.signals.next() => return self.signalled(told),
            keys = self.input.next(), if !self.suspended => {
                let mut effects = Vec::new();
                for event in keys? {
                    if let Event::Key(key) = event {
                        effects.extend(self.model.update(Msg::Key(key)));
                    }
                }
                effects
            }
            Some(msg) = self.told.recv() => {
                if matches!(msg, Msg::Snapshot(_) | Msg::Unreachable(_)) {
                    self.looks = false;
                    self.has_looked |= matches!(msg, Msg::Snapshot(_));
                    fault::panics(self.acting.home(), "top");
                }
                self.model.update(msg)
            }
            _ = self.rounds.tick() => {
                self.look();
                Vec::new()
            }
        };
        for effect in effects {
            if let Flow::End(code) = self.carry_out(effect).await? {
                return Ok(Flow::End(code));
            }
        }
        Ok(Flow::On)
    }

    fn signalled(&mut self, told: Told) -> io::Result<Flow> {
        match told {
            Told::End => return Ok(Flow::End(exit::INTERRUPTED)),
            Told::Suspend => self.suspend(|| {
                stop_self();
                true
            })?,
            // Whatever stopped it, and whatever the shell has made of the terminal since.
            Told::Resume => {
                self.suspended = false;
                self.screen.leave();
                self.screen.again()?;
            }
            Told::Resized => {}
        }
        Ok(Flow::On)
    }

    /// Goes on when it is continued, which a signal says.
    fn suspend(&mut self, stop: impl FnOnce() -> bool) -> io::Result<()> {
        self.screen.leave();
        self.suspended = true;
        if !stop() {
            self.suspended = false;
            self.screen.again()?;
            let text = "there is no shell to go back to".to_owned();
            self.model.update(Msg::Notice(text));
        }
        Ok(())
    }

    async fn carry_out(&mut self, effect: Effect) -> io::Result<Flow> {
        match effect {
            Effect::Quit => return Ok(Flow::End(exit::OK)),
            Effect::Suspend => self.suspend(stop_all)?,
            Effect::Redraw => self.screen.clear()?,
            Effect::Attach(root) => return self.attach(&root).await,
            Effect::Act(verb, repo) => self.act(verb, repo),
            Effect::ReadLog(repo) => self.read_log(&repo),
        }
        Ok(Flow::On)
    }

    /// Asks the daemon, unless it still owes an answer.
    fn look(&mut self) {
        if self.looks || self.suspended {
            return;
        }
        self.looks = true;
        let client = if self.has_looked { looking(&self.acting) } else { self.acting.clone() };
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let msg = match ask(&client).await {
                Ok(activity) => Msg::Snapshot(Box::new(activity)),
                Err(error) => Msg::Unreachable(error.message),
            };
            let _ = tell.send(msg).await;
        });
    }

    fn act(&self, verb: Verb, repo: RepoId) {
        let (client, tell) = (self.acting.clone(), self.tell.clone());
        tokio::spawn(async move {
            let done = act(&client, verb, &repo).await.map_err(|error| error.message);
            let _ = tell.send(Msg::Done(verb, repo, done)).await;
        });
    }

    fn read_log(&mut self, repo: &RepoId) {
        let file = self.acting.home().repo(repo).backend_log();
        // A page that has just been opened has nothing yet.
        let is_new =
            matches!(&self.model.mode, super::model::Mode::Log(page) if page.lines.is_none());
        let was = self.logs.get(repo).copied().filter(|_| !is_new);
        let msg = match log::read(&file, was) {
            Ok(None) => return,
            Ok(Some((length, lines))) => {
                self.logs.insert(repo.clone(), length);
                Msg::Log(repo.clone(), lines)
            }
            Err(error) => Msg::Notice(format!("the log can't be read: {error}")),
        };
        self.model.update(msg);
    }

    /// Hands the terminal to OpenCode's own interface, and takes it back at its end.
    async fn attach(&mut self, root: &str) -> io::Result<Flow> {
        self.screen.leave();
        let binary = std::env::current_exe()?;
        let binary = if binary.exists() { binary } else { "/proc/self/exe".into() };
        let mut command = Command::new(binary);
        command.arg("attach").arg(root);
        if self.no_start {
            command.arg("--no-start");
        }
        let mut child = command.spawn()?;
        let status = tokio::select! {
            () = self.signals.end() => {
                end(&mut child).await;
                return Ok(Flow::End(exit::INTERRUPTED));
            }
            status = child.wait() => status?,
        };
        if !status.success() {
            self.read_what_it_said(status).await?;
        }
        self.screen.again()?;
        self.rounds.reset_immediately();
        Ok(Flow::On)
    }

    /// What went wrong stands on the terminal, and would be gone with the next frame.
    async fn read_what_it_said(&mut self, status: ExitStatus) -> io::Result<()> {
        crate::output::note(&format!("`repod attach`: {status}; any key goes back to the list"));
        enable_raw_mode()?;
        let pressed = tokio::select! {
            () = self.signals.end() => Ok(()),
            keys = self.input.next() => keys.map(|_| ()),
        };
        disable_raw_mode()?;
        pressed
    }
}

async fn act(client: &Client, verb: Verb, repo: &RepoId) -> Result<(), ApiError> {
    let target = Target::Id(repo.clone());
    let errors: Vec<_> = match verb {
        Verb::Stop => {
            let report = client.stop(&StopRequest { target }).await?;
            report.stopped.into_iter().filter_map(|outcome| outcome.error).collect()
        }
        Verb::Hibernate => {
            let report = client.hibernate(&HibernateRequest { target }).await?;
            report.hibernated.into_iter().filter_map(|outcome| outcome.error).collect()
        }
        Verb::Restart => {
            client.restart(RestartRequest { target, env: None, rotate: false }).await?;
            Vec::new()
        }
    };
    errors.into_iter().next().map_or(Ok(()), Err)
}

async fn end(child: &mut Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // It is this process's own child, and has not been waited for: the pid is its.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ = timeout(END_LIMIT, child.wait()).await;
}
