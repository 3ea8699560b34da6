//! In the end everything must agree: the models' transcripts, the files, the journal, git, and what
//! the kernel saw.

use super::sessions::{Attempt, Job, file, line};
use super::{LOG, Scene};
use repod_proto::{MutationInfo, MutationOutcome};
use repod_testkit::Write;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

pub(super) struct Books<'a> {
    pub(super) scene: &'a Scene,
    pub(super) attempts: Vec<Attempt>,
    /// Newest first.
    pub(super) journal: Vec<MutationInfo>,
}

impl Books<'_> {
    /// The lines of a repo's log, without its frame.
    fn log(&self, repo: usize) -> Vec<String> {
        let text = fs_err::read_to_string(self.scene.repos[repo].join(LOG)).unwrap();
        let lines = text.strip_prefix("BEGIN\n").and_then(|text| text.strip_suffix("END\n"));
        lines.unwrap_or_else(|| panic!("{text}")).lines().map(str::to_owned).collect()
    }

    fn attempt_of(&self, written: &str) -> &Attempt {
        let found = self.attempts.iter().find(|it| line(it.number) == written);
        found.unwrap_or_else(|| panic!("nobody wrote `{written}`"))
    }

    /// What a model saw done is there once, and everything that is there is somebody's.
    pub(super) fn check_files(&self) {
        let mut there: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        for repo in 0..self.scene.repos.len() {
            for written in self.log(repo) {
                *there.entry((repo, self.attempt_of(&written).number)).or_default() += 1;
            }
            for Attempt { number, .. } in &self.attempts {
                let path = self.scene.repos[repo].join(file(*number));
                let Ok(text) = fs_err::read_to_string(&path) else { continue };
                assert_eq!(text, format!("{}\n", line(*number)), "{}", path.display());
                *there.entry((repo, *number)).or_default() += 1;
            }
        }
        let mut known = 0;
        for attempt in &self.attempts {
            let repos = match attempt.job {
                Job::Line(repo) | Job::File(repo) => vec![repo],
                Job::Lines(first, second) => vec![first, second],
            };
            let times = |repo: &usize| there.get(&(*repo, attempt.number)).copied();
            let times: Vec<usize> = repos.iter().map(|it| times(it).unwrap_or_default()).collect();
            known += times.iter().sum::<usize>();
            assert!(times.iter().all(|n| *n == times[0] && *n <= 1), "{times:?}: {attempt:?}");
            assert!(times[0] == 1 || !attempt.seen_done, "lost: {attempt:?}");
        }
        assert_eq!(
            known,
            there.values().sum::<usize>(),
            "something lies where it was not meant to"
        );
    }

    /// Each entry that says `applied` is in its file, in the same order, and nothing else is.
    pub(super) fn check_journal(&self) {
        let mut outcomes: BTreeMap<&str, Vec<MutationOutcome>> = BTreeMap::new();
        for entry in &self.journal {
            outcomes.entry(&entry.operation_id).or_default().push(entry.outcome);
        }
        let fine =
            [MutationOutcome::Applied, MutationOutcome::Refused, MutationOutcome::RolledBack];
        for all in outcomes.values() {
            let same = all.iter().all(|it| *it == all[0]);
            assert!(same && fine.contains(&all[0]), "{:#?}", self.journal);
        }
        let mut applied: Vec<_> = self.journal.iter().collect();
        applied.retain(|entry| entry.outcome == MutationOutcome::Applied);
        applied.sort_by(|a, b| a.at.cmp(&b.at));
        for (repo, id) in self.scene.ids.iter().enumerate() {
            let here = applied.iter().filter(|it| it.to.repo_id.as_str() == id);
            let (logged, own): (Vec<&&MutationInfo>, Vec<&&MutationInfo>) =
                here.partition(|it| it.files == [LOG]);
            let told = |it: &&&MutationInfo| (it.from.clone(), it.tool.clone());
            let recorded: Vec<_> = logged.iter().map(told).collect();
            let log = self.log(repo);
            let written: Vec<_> = log.iter().map(|it| self.attempt_of(it)).collect();
            let told = |it: &&Attempt| (it.from.clone(), it.job.tool().to_owned());
            let written: Vec<_> = written.iter().map(told).collect();
            assert_eq!(written, recorded, "{id}: {log:?}\n{logged:#?}");
            let mut recorded: Vec<_> = own.iter().flat_map(|it| it.files.clone()).collect();
            recorded.sort();
            assert_eq!(self.files(repo), recorded, "{id}");
        }
    }

    /// Files that were made in this repo.
    fn files(&self, repo: usize) -> Vec<String> {
        let there = |it: &Attempt| self.scene.repos[repo].join(file(it.number)).exists();
        let made = self.attempts.iter().filter(|it| there(it)).map(|it| file(it.number));
        made.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Nothing lies about that nobody asked for.
    pub(super) fn check_git(&self) {
        for (repo, path) in self.scene.repos.iter().enumerate() {
            let args = ["status", "--porcelain", "-uall", "--ignored"];
            let status = self.scene.world.git(path, args);
            let logged = (!self.log(repo).is_empty()).then(|| format!("M {LOG}"));
            let made = self.files(repo).into_iter().map(|name| format!("?? {name}"));
            let wanted: Vec<_> = logged.into_iter().chain(made).collect();
            assert_eq!(status, wanted.join("\n"), "{}", path.display());
        }
    }

    /// Every file was written by the backend of the repo it lies in, or something that one started.
    pub(super) fn check_writers(&self, writes: &[Write]) {
        let mut count = 0;
        for (repo, id) in self.scene.ids.iter().enumerate() {
            let path = &self.scene.repos[repo];
            let here: Vec<_> =
                writes.iter().filter(|it| it.path.parent() == Some(path.as_path())).collect();
            count += here.len();
            for write in &here {
                let by = write.writer.as_ref().and_then(|it| it.env("REPOD_BACKEND"));
                let own = by.is_some_and(|marker| marker.split('/').nth(1) == Some(id));
                assert!(own, "{id}: {write:?}");
            }
            // One that was put here by a rename would not have been seen as a write.
            let seen: BTreeSet<_> = here.iter().map(|it| it.inode).collect();
            let logged = (!self.log(repo).is_empty()).then(|| LOG.to_owned());
            for name in self.files(repo).into_iter().chain(logged) {
                let inode = fs_err::metadata(path.join(&name)).unwrap().ino();
                assert!(seen.contains(&inode), "{id}: nobody was seen to write `{name}`");
            }
        }
        assert_eq!(count, writes.len(), "{writes:#?}");
        println!("{count} writes seen by the kernel, all by the repo's own backend");
    }
}
