//! A conversation that an editor has open: one of the sessions of the repo's backend, the same that
//! `repod attach` shows, with what the editor has chosen for it.

use super::editor::Editor;
use super::input;
use super::link::{Link, Live, failed};
use super::reply::Of;
use super::turn;
use super::update::{Teller, says};
use agent_client_protocol::v1::schema::{
    ContentBlock, SessionConfigOption, SessionConfigOptionCategory, SessionConfigSelectOption,
    SessionMode, SessionModeState, SessionUpdate, StopReason,
};
use repod_client::Client;
use repod_opencode::v1_18::agent::{ServerView, TranslateOptions, Translator, prompt_id};
use repod_opencode::{Choices, OPEN_LIMIT, PromptSpec};
use repod_proto::agent::{TurnEnd, TurnOutcome};
use repod_proto::{ApiError, ErrorCode};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// Ids of what can be chosen.
pub(super) const MODE: &str = "mode";
pub(super) const MODEL: &str = "model";
/// Messages of a conversation that are told again when it is loaded.
const HISTORY_MAX: u32 = 10_000;

/// See the module.
pub(super) struct Session {
    pub(super) of: Of,
    choices: Choices,
    chosen: Mutex<Chosen>,
    /// Counts the cancels: a turn ends that began before one.
    cancels: watch::Sender<u64>,
    /// One turn at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Chosen {
    mode: Option<String>,
    model: Option<String>,
    /// The model that is shown while none was chosen.
    default_model: Option<String>,
}

impl Session {
    /// A new conversation in a directory.
    pub(super) async fn create(client: &Client, cwd: &Path) -> Result<Self, ApiError> {
        let link = Link::new(client, cwd);
        let live = link.live().await?;
        let directory = text(cwd)?;
        let made = live.backend.new_session(&directory, None).await.map_err(failed)?;
        Self::open(link, live, made.id, directory).await
    }

    /// One that the repo's backend has, whoever made it.
    pub(super) async fn known(client: &Client, cwd: &Path, id: &str) -> Result<Self, ApiError> {
        let link = Link::new(client, cwd);
        let live = link.live().await?;
        let opening = live.backend.project(&text(cwd)?, OPEN_LIMIT).await;
        opening.map_err(failed)?;
        let known = live.backend.session(id).await.map_err(failed)?;
        let session = Self::open(link, live, known.id, known.directory).await?;
        Ok(session)
    }

    async fn open(link: Link, live: Live, id: String, directory: String) -> Result<Self, ApiError> {
        // Which may be another directory than the editor's.
        live.backend.project(&directory, OPEN_LIMIT).await.map_err(failed)?;
        let choices = live.backend.choices(&directory).await.map_err(failed)?;
        let model = live.backend.configured_model(&directory).await.map_err(failed)?;
        let first = || {
            let (provider, model) = choices.default_models.iter().next()?;
            Some(format!("{provider}/{model}"))
        };
        let default_model = model.or_else(first);
        let chosen = Chosen { default_model, ..Chosen::default() };
        let of = Of { link, session: id, directory };
        Ok(Self {
            of,
            choices,
            chosen: Mutex::new(chosen),
            cancels: watch::Sender::new(0),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    fn chosen(&self) -> Chosen {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The agents that can lead a conversation, as modes.
    pub(super) fn modes(&self) -> Option<SessionModeState> {
        let modes: Vec<SessionMode> = self
            .primary()
            .map(|(name, about)| {
                SessionMode::new(name.to_owned(), name.to_owned()).description(about)
            })
            .collect();
        Some(SessionModeState::new(self.mode()?, modes))
    }

    fn primary(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        let primary = self.choices.agents.iter().filter(|a| a.mode != "subagent" && !a.hidden);
        primary.map(|agent| (agent.name.as_str(), agent.description.clone()))
    }

    fn mode(&self) -> Option<String> {
        self.chosen().mode.or_else(|| self.primary().next().map(|(name, _)| name.to_owned()))
    }

    /// What can be chosen, as options.
    pub(super) fn options(&self) -> Vec<SessionConfigOption> {
        let option = |value: &str, name: &str| {
            SessionConfigSelectOption::new(value.to_owned(), name.to_owned())
        };
        let mut options = Vec::new();
        if let Some(mode) = self.mode() {
            let modes: Vec<_> =
                self.primary().map(|(name, about)| option(name, name).description(about)).collect();
            let shown = SessionConfigOption::select(MODE, "Agent", mode, modes);
            options.push(shown.category(SessionConfigOptionCategory::Mode));
        }
        let chosen = self.chosen();
        if let Some(model) = chosen.model.or(chosen.default_model) {
            let models: Vec<_> = self
                .choices
                .models
                .iter()
                .map(|(id, name)| option(id, if name.is_empty() { id } else { name }))
                .collect();
            let shown = SessionConfigOption::select(MODEL, "Model", model, models);
            options.push(shown.category(SessionConfigOptionCategory::Model));
        }
        options
    }

    /// Chooses the agent or the model of the turns to come.
    pub(super) fn choose(&self, what: &str, value: &str) -> Result<(), ApiError> {
        let known = match what {
            MODE => self.primary().any(|(name, _)| name == value),
            MODEL => self.choices.models.iter().any(|(id, _)| id == value),
            _ => false,
        };
        if !known {
            let message = format!("there is no {what} `{value}` here");
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let place = if what == MODE { &mut chosen.mode } else { &mut chosen.model };
        *place = Some(value.to_owned());
        Ok(())
    }

    /// Ends the turns that have begun.
    pub(super) fn cancel(&self) {
        self.cancels.send_modify(|count| *count += 1);
    }

    /// What a turn that begins now is cancelled by.
    pub(super) fn cancellation(&self) -> watch::Receiver<u64> {
        self.cancels.subscribe()
    }

    /// Returns when no turn runs.
    pub(super) async fn idle(&self) {
        drop(self.turn.lock().await);
    }

    /// One turn.
    pub(super) async fn prompt(
        &self,
        prompt: Vec<ContentBlock>,
        editor: &Editor,
        mut cancel: watch::Receiver<u64>,
    ) -> Result<StopReason, ApiError> {
        let _turn = tokio::select! {
            biased;
            Ok(()) = cancel.changed() => return Ok(StopReason::Cancelled),
            turn = self.turn.lock() => turn,
        };
        let input = input::read(prompt, editor).await;
        let model = self.chosen().model;
        let model = model.as_deref().and_then(|model| model.split_once('/'));
        let prompt = PromptSpec {
            message_id: prompt_id(),
            text: input.text,
            model: model.map(|(provider, model)| (provider.to_owned(), model.to_owned())),
            agent: self.mode(),
            files: input.files,
        };
        stopped(turn::run(&self.of, editor, &prompt, cancel).await?)
    }

    /// Takes up what the conversation was last led with, and tells all of it.
    pub(super) async fn replay(&self, editor: Option<&Editor>) -> Result<(), ApiError> {
        let backend = self.of.link.live().await?.backend;
        let limit = if editor.is_some() { HISTORY_MAX } else { 1 };
        let messages = backend.last_messages(&self.of.session, limit).await.map_err(failed)?;
        if let Some(last) = messages.last() {
            self.resume(&last["info"]);
        }
        if let Some(editor) = editor {
            let mut teller = Teller::new(&editor.directory);
            history(&messages, &self.of.session, &mut teller)
                .into_iter()
                .for_each(|u| editor.tell(u));
        }
        Ok(())
    }

    fn resume(&self, info: &Value) {
        let (person, agent) = (&info["model"], info);
        let of = |from: &Value| {
            Some((from["providerID"].as_str()?, from["modelID"].as_str()?))
                .map(|(provider, model)| format!("{provider}/{model}"))
        };
        if let Some(model) = of(person).or_else(|| of(agent)) {
            // One that is gone since is not chosen.
            let _ = self.choose(MODEL, &model);
        }
        if let Some(mode) = info["agent"].as_str().or_else(|| info["mode"].as_str()) {
            let _ = self.choose(MODE, mode);
        }
    }
}

/// All that was said in a conversation, in its order.
fn history(messages: &[Value], session: &str, teller: &mut Teller) -> Vec<SessionUpdate> {
    let mut updates = Vec::new();
    for message in messages {
        if message["info"]["role"] == "user" {
            let parts = message["parts"].as_array().into_iter().flatten();
            let said = parts.filter(|part| part["type"] == "text" && part["synthetic"] != true);
            updates.extend(
                said.filter_map(|part| part["text"].as_str())
                    .map(|text| SessionUpdate::UserMessageChunk(says(text))),
            );
            continue;
        }
        // Each message by itself: what one of them says does not hang on the others.
        let mut translator = Translator::new(session, TranslateOptions::default());
        let view = ServerView {
            messages: std::slice::from_ref(message),
            busy: false,
            permissions: &[],
            questions: &[],
            same_backend: true,
        };
        for event in translator.reconcile(&view, |_| false).events {
            updates.extend(teller.updates(&event));
        }
    }
    updates
}

/// Why a turn stopped.
fn stopped(end: TurnEnd) -> Result<StopReason, ApiError> {
    let name = end.error.as_ref().map(|error| error.name.as_str()).unwrap_or_default();
    match (end.outcome, name) {
        (TurnOutcome::Completed, _) => Ok(StopReason::EndTurn),
        (TurnOutcome::Interrupted, _) => Ok(StopReason::Cancelled),
        (_, "MessageOutputLengthError") => Ok(StopReason::MaxTokens),
        (_, "ContentFilterError") => Ok(StopReason::Refusal),
        _ => {
            let error = end.error.unwrap_or_default();
            let message = format!("the turn failed ({}): {}", error.name, error.message);
            Err(ApiError::new(ErrorCode::Internal, message))
        }
    }
}

fn text(path: &Path) -> Result<String, ApiError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("`{}` is not UTF-8", path.display());
        ApiError::new(ErrorCode::PathNotUtf8, message)
    })
}

/// The directory a conversation works in.
pub(super) fn directory(session: &Session) -> PathBuf {
    PathBuf::from(&session.of.directory)
}
