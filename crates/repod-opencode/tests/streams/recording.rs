//! A recorded session, and a session of repod's that hears it.

use repod_opencode::SseDecoder;
use repod_opencode::v1_18::agent::{
    Incoming, Kin, Progress, Reconciled, ServerView, TranslateOptions, Translator,
};
use repod_proto::agent::{AgentEvent, TurnEnd};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One session: its stream, and what was stored in the end.
#[derive(Debug)]
pub(crate) struct Recording {
    /// `1.18.33/text`
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Value>,
}

impl Recording {
    pub(crate) fn all() -> Vec<Self> {
        let mut names = Vec::new();
        let base = base();
        for version in fs_err::read_dir(&base).unwrap() {
            let version = version.unwrap().path();
            if !version.is_dir() {
                continue;
            }
            for file in fs_err::read_dir(&version).unwrap() {
                let file = file.unwrap().path();
                if file.extension().is_some_and(|it| it == "sse") {
                    let name = file.with_extension("");
                    names.push(name.strip_prefix(&base).unwrap().display().to_string());
                }
            }
        }
        names.sort();
        assert!(names.len() > 3, "there are recordings");
        names.iter().map(|name| Self::read(name)).collect()
    }

    pub(crate) fn read(name: &str) -> Self {
        let file = |extension: &str| base().join(format!("{name}.{extension}"));
        let bytes = fs_err::read(file("sse")).unwrap();
        let messages = fs_err::read(file("json")).unwrap();
        let messages = serde_json::from_slice(&messages).unwrap();
        Self { name: name.to_owned(), bytes, messages }
    }

    pub(crate) fn file(&self, extension: &str) -> PathBuf {
        base().join(format!("{}.{extension}", self.name))
    }

    /// What was played.
    pub(crate) fn scene(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// The data of its events.
    pub(crate) fn events(&self) -> Vec<Vec<u8>> {
        decoded([self.bytes.as_slice()])
    }

    pub(crate) fn session(&self) -> &str {
        self.messages[0]["info"]["sessionID"].as_str().unwrap()
    }

    /// The messages that began its turns.
    pub(crate) fn prompts(&self) -> Vec<String> {
        let users = self.messages.iter().filter(|message| message["info"]["role"] == "user");
        users.map(|message| message["info"]["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Events of a stream that comes in these pieces.
pub(crate) fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut decoder = SseDecoder::new(1 << 20);
    let mut events = Vec::new();
    for piece in pieces {
        decoder.each(piece, |event| events.push(event.to_vec()));
    }
    events
}

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams")
}

/// The turns of a session as repod hears them: one begins when the one before has ended.
pub(crate) struct Played {
    pub(crate) turns: Vec<(Vec<AgentEvent>, TurnEnd)>,
    /// What was told of a turn that has not ended.
    pub(crate) open: Vec<AgentEvent>,
    pub(crate) translator: Translator,
    pub(crate) kin: Kin,
    prompts: std::vec::IntoIter<String>,
    has_turn: bool,
}

impl Played {
    pub(crate) fn of(
        recording: &Recording,
        events: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self {
        let mut played = Self::begin(recording);
        for event in events {
            played.hear(event.as_ref());
        }
        played
    }

    /// Nothing was heard yet.
    pub(crate) fn begin(recording: &Recording) -> Self {
        Self::with(recording, recording.prompts())
    }

    /// Only the first turn will be heard.
    pub(crate) fn first_turn(recording: &Recording) -> Self {
        Self::with(recording, recording.prompts().into_iter().take(1).collect())
    }

    fn with(recording: &Recording, prompts: Vec<String>) -> Self {
        let mut played = Self {
            turns: Vec::new(),
            open: Vec::new(),
            translator: Translator::new(recording.session(), TranslateOptions::default()),
            kin: Kin::default(),
            prompts: prompts.into_iter(),
            has_turn: false,
        };
        played.next_turn();
        played
    }

    pub(crate) fn hear(&mut self, data: &[u8]) {
        let Some(event) = Incoming::read(data) else { return };
        self.kin.note(&event);
        if !self.has_turn || self.kin.root(event.session()) != self.translator.session() {
            return;
        }
        if let Progress::Settled(end) = self.translator.feed(event, &mut self.open) {
            self.end(end);
        }
    }

    fn end(&mut self, end: TurnEnd) {
        self.turns.push((std::mem::take(&mut self.open), end));
        self.next_turn();
    }

    fn next_turn(&mut self) {
        let prompt = self.prompts.next();
        self.has_turn = prompt.is_some();
        if let Some(prompt) = prompt {
            self.translator.begin_turn(Some(&prompt));
        }
    }

    /// What was told of all turns.
    pub(crate) fn told(&self) -> Vec<AgentEvent> {
        let ended = self.turns.iter().flat_map(|(events, _)| events);
        ended.chain(&self.open).cloned().collect()
    }

    /// What the server has now, against what was told of the last turn.
    pub(crate) fn reconcile(&mut self, messages: &[Value]) -> Reconciled {
        let server = ServerView {
            messages,
            busy: false,
            permissions: &[],
            questions: &[],
            same_backend: true,
        };
        let session = self.translator.session().to_owned();
        let kin = &self.kin;
        self.translator.reconcile(&server, |other| kin.root(other) == session)
    }
}
