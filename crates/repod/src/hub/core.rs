//! The hub's state, behind one lock that is held for a few memory operations at a time.

use super::noted::Noted;
use super::pace::Pace;
use super::repair::Patient;
use super::ring::{Logged, Ring};
use super::sse;
use super::taps::Taps;
use super::track::{Recent, Track};
use super::{Activity, Counts, Filter, Limits};
use bytes::Bytes;
use repod_opencode::v1_18::event::{Ask, Event, Kind};
use repod_opencode::v1_18::told;
use std::collections::HashMap;
use std::task::Waker;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// A reader that lost its connection comes back within this time, or hardly ever.
const LONELY: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    /// Tells the ids of this hub from those of an earlier daemon's.
    epoch: String,
    ring: Ring,
    slots: HashMap<u64, Slot>,
    next_slot: u64,
    /// Since when there has been no reader.
    lonely: Option<Instant>,
    pub(super) track: Track,
    /// Who in the daemon wants to know.
    pub(super) tap: Option<mpsc::Sender<Noted>>,
    /// Who in the daemon follows single sessions.
    pub(super) taps: Taps,
    recent: Recent,
    /// The last ordinary event that had an id, and its number.
    last: Option<(String, u64)>,
    /// Until when a new reader is told again what it may have missed.
    welcome: Option<Instant>,
    /// The last heartbeat, as `/global/event` and `/event` have it.
    beat: [Bytes; 2],
    pub(super) counts: Counts,
    pub(super) pace: Pace,
    pub(super) stand: Stand,
    /// Sessions whose turn died, until their database is mended.
    pub(super) sick: HashMap<String, Patient>,
    closed: bool,
    wakers: Vec<Waker>,
}

/// How far the backends are followed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    /// The generation whose events were taken in last.
    pub(super) generation: Option<u64>,
    /// When the first stream of all began, in milliseconds since 1970.
    pub(super) began_at: u64,
    /// When its stream ended, in milliseconds since 1970; `None` while it runs.
    pub(super) ended_at: Option<u64>,
    /// Whether the state at the begin was asked for.
    pub(super) known: bool,
}

/// One reader's place.
#[derive(Debug)]
struct Slot {
    filter: Filter,
    /// The number of the event it looks at next.
    cursor: u64,
    /// Set while it has seen everything and waits.
    waker: Option<Waker>,
    has_beat: bool,
    is_cut: bool,
    severed: Option<oneshot::Sender<()>>,
}

/// What a reader does next.
pub(super) enum Next {
    Send(Bytes),
    /// The last it sends.
    SendLast(Bytes),
    Wait,
    End,
}

impl Filter {
    fn lets_pass(&self, event: &Logged) -> bool {
        match self {
            Self::Global => true,
            Self::Directory(wanted) => {
                !event.is_sync && event.directory.as_deref() == Some(wanted.as_str())
            }
        }
    }
}

impl Core {
    pub(super) fn new(limits: Limits) -> Self {
        let mut random = [0; 4];
        // Without randomness the clock has to do: an id is no secret.
        let filled = getrandom::fill(&mut random);
        let epoch = filled.map_or_else(
            |_| told::now_millis() & 0xffff_ffff,
            |()| u64::from(u32::from_be_bytes(random)),
        );
        Self {
            epoch: format!("{epoch:08x}"),
            ring: Ring::new(limits),
            slots: HashMap::new(),
            next_slot: 0,
            lonely: Some(Instant::now()),
            track: Track::default(),
            tap: None,
            taps: Taps::default(),
            recent: Recent::default(),
            last: None,
            welcome: None,
            beat: [Bytes::new(), Bytes::new()],
            counts: Counts::default(),
            pace: Pace::new(),
            stand: Stand::default(),
            sick: HashMap::new(),
            closed: false,
            wakers: Vec::new(),
        }
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Takes in one event and gives it to everybody, if it is one and new.
    pub(super) fn publish(&mut self, data: impl Into<Bytes>) {
        let data = sse::one_line(data.into());
        let Some(event) = Event::parse(&data) else {
            self.counts.malformed += 1;
            return;
        };
        // Each reader gets its own of these from the hub.
        if matches!(event.kind, Kind::Connected | Kind::Heartbeat) {
            return;
        }
        if !self.recent.is_new(&event) {
            self.counts.duplicates += 1;
            return;
        }
        if let Some(noted) = self.track.note(&event)
            && let Some(tap) = &self.tap
        {
            // Who is that far behind has to ask instead.
            let _ = tap.try_send(noted);
        }
        self.taps.offer(&data);
        self.counts.events += 1;
        self.pace.count();
        let number = self.ring.next();
        let is_sync = matches!(event.kind, Kind::Sync { .. });
        if self.welcome.is_some() {
            match (&event.id, &self.last) {
                // Its `sync` copy says of an event that it is durable.
                (Some(id), Some((last, at))) if is_sync && *last == **id => {
                    self.ring.set_durable(*at);
                }
                (Some(id), _) if !is_sync => self.last = Some((id.to_string(), number)),
                _ => {}
            }
        }
        let id = self.id(number);
        let header = "id: \ndata: ".len() + id.len();
        let start = header + (event.payload.as_ptr() as usize - data.as_ptr() as usize);
        let payload = start..start + event.payload.len();
        let directory = event.directory.as_deref().map(Box::from);
        let frame = sse::encode(&id, &data);
        self.ring.push(Logged::new(directory, is_sync, frame, payload));
        self.offer(number);
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// Wakes those who wait for this event.
    fn offer(&mut self, number: u64) {
        if let Some(event) = self.ring.get(number) {
            for slot in self.slots.values_mut().filter(|slot| slot.waker.is_some()) {
                if slot.filter.lets_pass(event) {
                    self.wakers.extend(slot.waker.take());
                } else {
                    slot.cursor = number + 1;
                }
            }
        }
        self.trim();
    }

    /// Lets go of old events, and cuts the readers that still wanted one of them.
    fn trim(&mut self) {
        let lonely = self.lonely.is_some_and(|since| since.elapsed() > LONELY);
        while let Some((number, event)) = self.ring.let_go(lonely) {
            let behind = |slot: &&mut Slot| slot.cursor == number && !slot.is_cut;
            for slot in self.slots.values_mut().filter(behind) {
                slot.cursor += 1;
                if !slot.filter.lets_pass(&event) {
                    continue;
                }
                slot.is_cut = true;
                self.counts.cut += 1;
                if let Some(severed) = slot.severed.take() {
                    let _ = severed.send(());
                }
            }
        }
    }

    /// A new reader: its number, its signal, and what it sends first.
    pub(super) fn subscribe(
        &mut self,
        filter: Filter,
        last_event_id: Option<&str>,
    ) -> (u64, oneshot::Receiver<()>, Vec<Bytes>) {
        let filter = match filter {
            Filter::Directory(path) if path.len() > 1 => {
                Filter::Directory(path.trim_end_matches('/').to_owned())
            }
            other => other,
        };
        let mut first = vec![server_event("server.connected", &filter)];
        let cursor = match last_event_id.map(|id| self.behind(id)) {
            None => {
                first.extend(self.missed(&filter));
                self.ring.next()
            }
            Some(Ok(cursor)) => cursor,
            Some(Err(reason)) => {
                first.push(sse::comment(&format!("{reason}; events before this point are lost")));
                self.ring.next()
            }
        };
        let (severed, signal) = oneshot::channel();
        let severed = Some(severed);
        let (waker, has_beat, is_cut) = (None, false, false);
        self.lonely = None;
        self.next_slot += 1;
        let slot = Slot { filter, cursor, waker, has_beat, is_cut, severed };
        self.slots.insert(self.next_slot, slot);
        (self.next_slot, signal, first)
    }

    /// New readers are told again, for so long, what they may have missed.
    pub(super) fn welcome(&mut self, within: Option<Duration>) {
        self.welcome = within.map(|within| Instant::now() + within);
    }

    /// What a reader may have missed that comes back after a daemon died, without saying where it
    /// was: durable events, which may come twice, and who is busy.
    fn missed(&self, filter: &Filter) -> Vec<Bytes> {
        if self.welcome.is_none_or(|until| Instant::now() > until) {
            return Vec::new();
        }
        let wanted = |event: &Logged| event.is_durable && filter.lets_pass(event);
        let events =
            self.ring.iter().filter(|(_, event)| wanted(event)).map(
                |(number, event)| match filter {
                    Filter::Global => event.whole(),
                    Filter::Directory(_) => event.unwrapped(&self.id(number)),
                },
            );
        let states = self.track.sessions.iter().filter_map(|(id, session)| {
            let [idle, _] = session.place().idle(id);
            let state = if session.busy { session.place().busy(id) } else { idle };
            match filter {
                Filter::Global => Some(sse::encode_plain(&state)),
                Filter::Directory(wanted) if *wanted == session.directory => {
                    Some(sse::encode_plain(Event::parse(state.as_bytes())?.payload))
                }
                Filter::Directory(_) => None,
            }
        });
        events.chain(states).collect()
    }

    /// The number behind an id, or why there is none.
    fn behind(&self, id: &str) -> Result<u64, &'static str> {
        let number = id.trim().strip_prefix(&self.epoch).and_then(|rest| rest.strip_prefix('-'));
        let number: u64 = number
            .and_then(|number| number.parse().ok())
            .filter(|number| *number < self.ring.next())
            .ok_or("the Last-Event-ID is not of this daemon")?;
        let next = number + 1;
        if next < self.ring.first() {
            return Err("the Last-Event-ID is too old");
        }
        Ok(next)
    }

    pub(super) fn unsubscribe(&mut self, reader: u64) {
        self.slots.remove(&reader);
        if self.slots.is_empty() {
            self.slots = HashMap::new();
            self.lonely = Some(Instant::now());
        }
    }

    /// What this reader does next.
    pub(super) fn next_for(&mut self, reader: u64, waker: &Waker) -> Next {
        let epoch = &self.epoch;
        let Some(slot) = self.slots.get_mut(&reader) else { return Next::End };
        if slot.is_cut {
            self.unsubscribe(reader);
            let reason = "cut off: this reader fell too far behind; connect again";
            return Next::SendLast(sse::comment(reason));
        }
        while let Some(event) = self.ring.get(slot.cursor) {
            let number = slot.cursor;
            slot.cursor += 1;
            if !slot.filter.lets_pass(event) {
                continue;
            }
            return Next::Send(match slot.filter {
                Filter::Global => event.whole(),
                Filter::Directory(_) => event.unwrapped(&format!("{epoch}-{number}")),
            });
        }
        if std::mem::take(&mut slot.has_beat) {
            let [global, directory] = &self.beat;
            let beat = if slot.filter == Filter::Global { global } else { directory };
            return Next::Send(beat.clone());
        }
        if self.closed {
            return Next::End;
        }
        slot.waker = Some(waker.clone());
        Next::Wait
    }

    /// A heartbeat for everybody, and the end of what is too old.
    pub(super) fn beat(&mut self) {
        let directory = Filter::Directory(String::new());
        self.beat = [Filter::Global, directory].map(|f| server_event("server.heartbeat", &f));
        for slot in self.slots.values_mut() {
            slot.has_beat = true;
            self.wakers.extend(slot.waker.take());
        }
        self.trim();
        if self.ring.bytes() == 0 && self.stand.ended_at.is_some() {
            // A hibernated repo should cost next to nothing.
            self.recent.clear();
            self.track.forget_idle();
        }
    }

    /// Notes that the backend's stream ended.
    pub(super) fn stream_ended(&mut self) {
        if self.stand.generation.is_some() && self.stand.ended_at.is_none() {
            self.stand.ended_at = Some(told::now_millis());
        }
    }

    /// Notes which backend there is. With one that is gone its turns are, whether or not another
    /// one follows: readers are told now, and the database is mended when one does.
    pub(super) fn backend_is(&mut self, generation: Option<u64>) {
        if self.stand.generation.is_none() || self.stand.generation == generation {
            return;
        }
        let busy: Vec<_> = self.track.busy().map(|(id, s)| (id.clone(), s.clone())).collect();
        self.interrupt(&busy, self.stand.ended_at.unwrap_or_else(told::now_millis));
    }

    /// Ends all readers, after what they have not read yet.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.taps.close();
        self.wakers.extend(self.slots.values_mut().filter_map(|slot| slot.waker.take()));
    }

    pub(super) fn readers(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn activity(&self) -> Activity {
        let asked = |what: Ask| self.track.pending.values().filter(|p| p.what == what).count();
        Activity {
            known: self.stand.known,
            busy: self.track.busy().map(|(session, _)| session.clone()).collect(),
            permissions: asked(Ask::Permission),
            questions: asked(Ask::Question),
            terminals: self.track.terminals.len(),
            last_event: self.track.last_event,
            readers: self.slots.len(),
        }
    }
}

fn server_event(kind: &str, filter: &Filter) -> Bytes {
    let payload = told::server(kind);
    match filter {
        Filter::Global => sse::encode_plain(&format!("{{\"payload\":{payload}}}")),
        Filter::Directory(_) => sse::encode_plain(&payload),
    }
}
