//! What happened while no stream was open, and the end of what ended with the old backend.
//!
//! This runs after the new stream has begun and before its first event is read, so that what is
//! asked for here can overlap with the stream, but nothing can fall between.

use super::core::{Core, Stand};
use super::repair::{self, Patient};
use super::track::Session;
use super::{Limits, Shared, Upstream};
use repod_opencode::v1_18::event::Ask;
use repod_opencode::v1_18::told::{self, Place};
use repod_opencode::{BackendClient, HistoryRow, ProbeError, SessionInfo, SessionState};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Sessions named in a request for history: OpenCode 1.18.33 answers 500 to 2,000 of them.
const KNOWN_MAX: usize = 900;
/// More than any session's number, and still a number in JavaScript.
const NOTHING: u64 = (1 << 53) - 1;
/// How much before the end of a stream its last events may have been lost.
const MARGIN_MS: u64 = 5_000;
/// How long states are asked for: a directory's first instance in a backend can be slow to come,
/// and meanwhile the stream waits. OpenCode says `busy` again at each step of a turn.
const STATES_LIMIT: Duration = Duration::from_secs(2);
/// At the very first stream, sessions changed within this time may be busy.
const FIRST_LOOK_MS: u64 = 24 * 3600 * 1000;
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Directories looked at then. Each look opens an instance in the backend.
const FIRST_LOOK_MAX: usize = 16;

/// Closes the gap before the stream of this generation.
pub(super) async fn close(
    shared: &Arc<Shared>,
    client: &BackendClient,
    backend: &Upstream,
    limits: &Limits,
    repairs: &mut JoinSet<()>,
) -> Result<(), ProbeError> {
    let generation = backend.generation;
    let first = shared.with(|core| core.stand.generation.is_none());
    let missed = backend.missed_since.filter(|_| first);
    let stand = shared.with(|core| {
        if core.stand.began_at == 0 {
            core.stand.began_at = missed.map_or_else(told::now_millis, |it| it - MARGIN_MS);
            core.welcome(missed.map(|_| limits.welcome));
        }
        core.stand
    });
    let died = stand.generation.is_some_and(|old| old != generation);
    // Beside the rest, because people look at what never ends. What both tell is told once.
    let sick = shared.with(|core| if died { core.sick.clone() } else { HashMap::new() });
    if !sick.is_empty() {
        repairs.spawn(repair::run(Arc::clone(shared), client.clone(), sick));
    }
    let asked = async {
        match stand.generation {
            None if missed.is_none() => Ok(Vec::new()),
            _ => {
                catch_up(shared, client, Stand { ended_at: stand.ended_at.or(missed), ..stand })
                    .await
            }
        }
    };
    let asked = tokio::time::timeout(limits.gap, asked).await;
    let touched = match asked.unwrap_or(Err(ProbeError::TimedOut(limits.gap))) {
        Ok(touched) => touched,
        // Nobody there any more: the next stream asks again.
        Err(error @ (ProbeError::Refused | ProbeError::Broken(_))) => return Err(error),
        Err(error) => {
            tracing::warn!(%error, generation, "what happened between two streams is not known");
            shared.with(|core| core.counts.lost += 1);
            Vec::new()
        }
    };
    let busy = shared.with(|core| {
        // Its turns are seen as they begin; what the one before left is over.
        core.stand.known |= died || (first && backend.fresh);
        if died {
            core.track.terminals.clear();
        }
        core.stand.generation = Some(generation);
        core.stand.ended_at = None;
        core.track.busy().map(|(id, s)| (id.clone(), s.clone())).collect::<Vec<_>>()
    });
    if stand.generation.is_none() && !backend.fresh {
        repairs.spawn(first_looks(Arc::clone(shared), client.clone(), generation));
    }
    let states = states_of(client, busy.iter().chain(&touched));
    let states = tokio::time::timeout(STATES_LIMIT, states).await.unwrap_or_default();
    shared.with(|core| core.correct(&busy, &touched, &states, missed.is_some()));
    Ok(())
}

/// Asks for the state of a backend nobody has listened to yet, until it answers or is gone. Beside
/// the stream: what that tells counts more than what is answered here.
async fn first_looks(shared: Arc<Shared>, client: BackendClient, generation: u64) {
    while shared.with(|core| core.stand.generation == Some(generation) && !core.stand.known) {
        match first_look(&shared, &client).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, generation, "who is busy is not known yet"),
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// One such look.
async fn first_look(shared: &Shared, client: &BackendClient) -> Result<(), ProbeError> {
    let sessions = client.recent_sessions(KNOWN_MAX).await?;
    let since = told::now_millis().saturating_sub(FIRST_LOOK_MS);
    let recent = sessions.iter().filter(|session| session.time.updated >= since);
    let all: BTreeSet<&str> = recent.map(|session| session.directory.as_str()).collect();
    let project =
        |id: &str| sessions.iter().find(|s| s.id == id).and_then(|s| s.project.as_deref());
    for directory in all.iter().take(FIRST_LOOK_MAX).copied() {
        let states = client.session_status(directory).await?;
        let permissions = client.pending_permissions(directory).await?;
        let questions = client.pending_questions(directory).await?;
        let terminals = client.terminals(directory).await?;
        shared.with(|core| {
            for (id, _) in states.into_iter().filter(|(_, s)| *s != SessionState::Idle) {
                let project = project(&id).map(str::to_owned);
                core.track.set_busy(id, directory, project);
            }
            for session in &sessions {
                let (title, parent) = (&session.title, session.parent.as_deref());
                core.track.set_name(&session.id, title, parent);
            }
            for terminal in terminals {
                core.track.set_terminal(terminal, directory);
            }
            let asked = permissions.into_iter().map(|r| (r, Ask::Permission));
            for (request, what) in asked.chain(questions.into_iter().map(|r| (r, Ask::Question))) {
                let project = project(&request.session).map(str::to_owned);
                core.track.set_pending(request, what, directory, project);
            }
        });
    }
    shared.with(|core| {
        core.stand.known = all.len() <= FIRST_LOOK_MAX;
        core.track.answered.clear();
    });
    Ok(())
}

/// Tells the durable events of the gap; the sessions they belong to.
async fn catch_up(
    shared: &Shared,
    client: &BackendClient,
    stand: Stand,
) -> Result<Vec<(String, Session)>, ProbeError> {
    let sessions = client.recent_sessions(KNOWN_MAX + 1).await?;
    if sessions.len() > KNOWN_MAX {
        let message = format!("it has more than {KNOWN_MAX} sessions");
        return Err(ProbeError::Failed { status: 200, message });
    }
    let ended_at = stand.ended_at.unwrap_or_else(told::now_millis);
    let since = ended_at.saturating_sub(MARGIN_MS).max(stand.began_at);
    let tracked = shared.with(|core| core.track.sessions.clone());
    let mut known = BTreeMap::new();
    for session in &sessions {
        let seq = tracked.get(&session.id).and_then(|tracked| tracked.seq);
        let unchanged = (session.time.updated < since).then_some(NOTHING);
        if let Some(seq) = seq.or(unchanged) {
            known.insert(session.id.clone(), seq);
        }
    }
    let mut rows = client.sync_history(&known).await?;
    // Of a session not tracked all is sent; what is older than the gap is nothing new.
    rows.retain(|row| known.contains_key(&row.session) || told::is_since(&row.id, since));
    rows.sort_by_key(|row| row.seq);
    let places = places(&sessions, &tracked);
    let touched: BTreeSet<&str> = rows.iter().map(|row| row.session.as_str()).collect();
    Ok(shared.with(|core| {
        for row in &rows {
            core.publish_past(row, &places);
        }
        let session = |id| Some((str::to_owned(id), core.track.sessions.get(id)?.clone()));
        touched.into_iter().filter_map(session).collect()
    }))
}

/// Directory and project of sessions.
type Places = HashMap<String, (String, Option<String>)>;

fn places(sessions: &[SessionInfo], tracked: &HashMap<String, Session>) -> Places {
    let listed = sessions
        .iter()
        .map(|session| (session.id.clone(), (session.directory.clone(), session.project.clone())));
    let known = tracked
        .iter()
        .map(|(id, session)| (id.clone(), (session.directory.clone(), session.project.clone())));
    known.chain(listed).collect()
}

/// What these sessions do now, by directory; a directory that doesn't answer is left out.
async fn states_of(
    client: &BackendClient,
    sessions: impl Iterator<Item = &(String, Session)>,
) -> BTreeMap<String, BTreeMap<String, SessionState>> {
    let directories: BTreeSet<&str> =
        sessions.map(|(_, session)| session.directory.as_str()).collect();
    let mut states = BTreeMap::new();
    for directory in directories {
        if let Ok(of_directory) = client.session_status(directory).await {
            states.insert(directory.to_owned(), of_directory);
        }
    }
    states
}

impl Core {
    fn publish_past(&mut self, row: &HistoryRow, places: &Places) {
        let Some((directory, project)) = places.get(&row.session) else { return };
        for event in (Place { directory, project: project.as_deref() }).past(row) {
            self.publish(event);
        }
    }

    /// Tells that these turns died with their backend, and that nobody can answer it any more.
    pub(super) fn interrupt(&mut self, busy: &[(String, Session)], before: u64) {
        for (request, pending) in std::mem::take(&mut self.track.pending) {
            let place =
                Place { directory: &pending.directory, project: pending.project.as_deref() };
            self.publish(place.rejected(&pending.session, &request, pending.what));
        }
        for (id, session) in busy {
            self.counts.interrupted += 1;
            let parts = self.track.open.end(id, told::now_millis());
            for part in &parts {
                self.publish(session.place().part(id, part));
            }
            let patient = Patient { session: session.clone(), before, parts };
            self.sick.insert(id.clone(), patient);
            for event in session.place().interrupted(id) {
                self.publish(event);
            }
        }
    }

    /// Brings what is told of sessions in line with what the backend says: of those that were
    /// busy, and of those that did something in the gap.
    fn correct(
        &mut self,
        busy: &[(String, Session)],
        touched: &[(String, Session)],
        states: &BTreeMap<String, BTreeMap<String, SessionState>>,
        missed: bool,
    ) {
        let is_busy = |id: &String, session: &Session| {
            let state = states.get(&session.directory)?.get(id);
            Some(state.is_some_and(|state| *state != SessionState::Idle))
        };
        for (id, session) in busy.iter().chain(touched.iter().filter(|_| missed)) {
            // Its end fell into the gap.
            if is_busy(id, session) == Some(false) {
                session.place().idle(id).into_iter().for_each(|event| self.publish(event));
            }
        }
        for (id, session) in busy.iter().chain(touched) {
            let told = self.track.sessions.get(id).is_some_and(|session| session.busy);
            // A prompt was quicker than the hub.
            if !told && is_busy(id, session) == Some(true) {
                self.publish(session.place().busy(id));
            }
        }
    }
}
