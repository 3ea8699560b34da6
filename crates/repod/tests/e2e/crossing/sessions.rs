//! A session that has its writes done, whatever dies meanwhile: what was not is asked for once more,
//! under a new name.

use super::{LOG, REPOS, Scene};
use crate::{BOUND, client, oc};
use repod_proto::MutationFrom;
use repod_testkit::{MODEL, Oc, PATCH_MODEL, Prompt, Script, ToolCall, wait_until};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Times that a write is asked for until it is done; each may be refused, or cut off by a death.
const TRIES: usize = 20;
const TURN_BOUND: Duration = Duration::from_mins(3);

/// What a call does, and in which repos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// A line in the log, by `edit`.
    Line(usize),
    /// A file of its own, by `write`.
    File(usize),
    /// The same line in two logs, by `apply_patch`.
    Lines(usize, usize),
}

/// One call that a model was told to make.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    pub(super) job: Job,
    pub(super) from: MutationFrom,
    /// The model saw it done.
    pub(super) seen_done: bool,
}

/// Gives each call its own number.
pub(super) struct Jobs(AtomicU32);

impl Jobs {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(1))
    }

    /// Writes of a session of repo `home` in others.
    pub(super) fn random(&self, random: &mut fastrand::Rng, home: usize, count: usize) -> Vec<Job> {
        let mut other = |but: usize| loop {
            let repo = random.usize(..REPOS);
            if repo != home && repo != but {
                return repo;
            }
        };
        let jobs = (0..count).map(|at| {
            let first = other(home);
            match at % 4 {
                0 => Job::File(first),
                1 => Job::Lines(first, other(first)),
                _ => Job::Line(first),
            }
        });
        let mut jobs: Vec<Job> = jobs.collect();
        random.shuffle(&mut jobs);
        jobs
    }

    fn number(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Job {
    pub(super) fn tool(&self) -> &'static str {
        match self {
            Self::Line(_) => "edit",
            Self::File(_) => "write",
            Self::Lines(..) => "apply_patch",
        }
    }

    fn call(&self, scene: &Scene, number: u32) -> ToolCall {
        let log = |repo: usize| scene.repos[repo].join(LOG);
        let lines = format!("{}\nEND", line(number));
        match self {
            Self::Line(repo) => ToolCall::edit(log(*repo), "END", lines),
            Self::File(repo) => {
                let path = scene.repos[*repo].join(file(number));
                ToolCall::write(path, format!("{}\n", line(number)))
            }
            Self::Lines(first, second) => {
                let update = |repo: usize| {
                    let (log, line) = (log(repo), line(number));
                    format!("*** Update File: {}\n@@\n-END\n+{line}\n+END\n", log.display())
                };
                let (first, second) = (update(*first), update(*second));
                ToolCall::apply_patch(format!("*** Begin Patch\n{first}{second}*** End Patch"))
            }
        }
    }
}

/// No number's line holds another's.
pub(super) fn line(number: u32) -> String {
    format!("line {number:06}")
}

pub(super) fn file(number: u32) -> String {
    format!("file-{number:06}.txt")
}

/// See the module.
pub(super) struct Session {
    id: String,
    home: usize,
    client: Oc,
    left: Vec<Job>,
    made: Vec<Attempt>,
    random: fastrand::Rng,
}

impl Session {
    pub(super) async fn new(
        scene: &Scene,
        home: usize,
        left: Vec<Job>,
        random: fastrand::Rng,
    ) -> Self {
        let endpoint = client(&scene.world).ensure_running(&scene.repos[home]).await.unwrap();
        let client = oc(&endpoint);
        let id = client.create_session(&scene.repos[home]).await.unwrap();
        Self { id, home, client, left, made: Vec::new(), random }
    }

    /// Until all is done.
    pub(super) async fn drive(&mut self, scene: &Scene, jobs: &Jobs) {
        let bound = self.left.len() * TRIES;
        while let Some(turn) = self.next_turn(scene, jobs) {
            let (before, prompt) = turn;
            // Its answer may be lost with whoever dies; what was done is read below.
            if let Err(error) = self.client.prompt(&self.id, prompt, TURN_BOUND).await {
                println!("{}: a prompt without an answer: {error}", self.id);
            }
            self.quiet(scene).await;
            let done = self.done(scene).await;
            for Attempt { number, job, .. } in &self.made[before..] {
                if !done.contains(number) {
                    println!("{}: {number} was not done: {}", self.id, self.reason(*number).await);
                    self.left.push(job.clone());
                }
            }
            let tries = self.made.len();
            assert!(tries < bound, "{} gets nowhere: {:?} left", self.id, self.left);
        }
    }

    /// A few of the writes that are left, for one of the two models.
    fn next_turn(&mut self, scene: &Scene, jobs: &Jobs) -> Option<(usize, Prompt)> {
        let patches = matches!(self.left.last()?, Job::Lines(..));
        let before = self.made.len();
        let mut script = Script::new();
        for _ in 0..self.random.usize(1..=3) {
            let fits = |job: &Job| matches!(job, Job::Lines(..)) == patches;
            let Some(at) = self.left.iter().rposition(fits) else { break };
            let (job, number) = (self.left.remove(at), jobs.number());
            script = script.tools([job.call(scene, number)]);
            let from = MutationFrom {
                repo_id: scene.ids[self.home].parse().ok(),
                session_id: self.id.clone(),
            };
            self.made.push(Attempt { number, job, from, seen_done: false });
        }
        let prompt = Prompt::new(script.text("done").to_string());
        // A session goes on with its last model unless told otherwise.
        Some((before, prompt.model(if patches { PATCH_MODEL } else { MODEL })))
    }

    /// Waits until the turn is over; as a client that finds nobody does, it sees to it that somebody is
    /// there.
    async fn quiet(&self, scene: &Scene) {
        let home = &scene.repos[self.home];
        let what = format!("session {} to be quiet", self.id);
        wait_until(&what, TURN_BOUND, async || {
            let _ = client(&scene.world).ensure_running(home).await;
            let busy = self.client.is_busy(&self.id, home).await;
            matches!(busy, Ok(false)).then_some(())
        })
        .await;
    }

    /// Numbers of the calls that the model saw done.
    async fn done(&self, scene: &Scene) -> Vec<u32> {
        let messages = wait_until("the messages", BOUND, async || {
            let _ = client(&scene.world).ensure_running(&scene.repos[self.home]).await;
            self.client.messages(&self.id).await.ok()
        })
        .await;
        let parts = messages.iter().filter_map(|it| it["parts"].as_array()).flatten();
        let done = parts.filter(|it| it["type"] == "tool" && it["state"]["status"] == "completed");
        let inputs: Vec<String> = done.map(|it| it["state"]["input"].to_string()).collect();
        let seen = |number: u32| inputs.iter().any(|input| input.contains(&line(number)));
        self.made.iter().map(|it| it.number).filter(|number| seen(*number)).collect()
    }

    /// What the model was told of a call that was not done.
    async fn reason(&self, number: u32) -> String {
        let messages = self.client.messages(&self.id).await.unwrap_or_default();
        let parts = messages.iter().filter_map(|it| it["parts"].as_array()).flatten();
        let mut states = parts.map(|it| &it["state"]);
        let state = states.find(|it| it["input"].to_string().contains(&line(number)));
        let error = state.map_or("it was not called".to_owned(), |it| it["error"].to_string());
        error.chars().take(300).collect()
    }

    /// Every call of this session, with what came of it in the model's eyes.
    pub(super) async fn attempts(&self, scene: &Scene) -> Vec<Attempt> {
        let done = self.done(scene).await;
        let seen = |it: &Attempt| Attempt { seen_done: done.contains(&it.number), ..it.clone() };
        self.made.iter().map(seen).collect()
    }
}
