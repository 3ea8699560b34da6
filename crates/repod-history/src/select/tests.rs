use super::*;
use proptest::prelude::*;

/// Clones of one repository, each with some worktrees; some directories are gone.
#[derive(Clone, Debug)]
struct Land {
    survey: Survey,
    clones: Vec<String>,
    gone: BTreeSet<String>,
}

impl Land {
    /// What the disk says, seen from one clone. Paths are `/<clone>`, `/<clone>/w<n>` (a worktree) or
    /// `/<clone>/sub<n>`; `/trees/<clone>-<n>` is a worktree elsewhere.
    fn standings(&self, clone: &str) -> BTreeMap<String, Standing> {
        self.survey
            .directories()
            .into_iter()
            .map(|dir| (dir.to_owned(), self.at(clone, dir)))
            .collect()
    }

    fn at(&self, clone: &str, dir: &str) -> Standing {
        let mut parts = dir.split('/').skip(1);
        let (first, rest) = (parts.next().unwrap_or_default(), parts.next());
        let elsewhere = (first == "trees").then(|| rest.and_then(|name| name.split('-').next()));
        let owner = elsewhere.flatten().unwrap_or(first);
        let is_gone = self.gone.contains(dir);
        if is_gone && first == "trees" {
            return Standing::Gone { near: None };
        }
        if format!("/{owner}") != clone {
            return match is_gone {
                true => Standing::Gone { near: Some(format!("/{owner}")) },
                false => Standing::Foreign,
            };
        }
        match rest {
            Some(name) if name.starts_with("sub") || is_gone => Standing::Inside,
            _ => Standing::Root,
        }
    }
}

fn land() -> impl Strategy<Value = Land> {
    let clone = || prop_oneof![Just("/a"), Just("/b"), Just("/c")];
    let directory = (clone(), 0..6_u8).prop_map(|(clone, which)| match which {
        0 | 1 => clone.to_owned(),
        2 => format!("{clone}/w1"),
        3 => format!("{clone}/sub1"),
        n => format!("/trees/{}-{n}", &clone[1..]),
    });
    let project = prop_oneof![Just("p"), Just("q"), Just(GLOBAL)];
    let sessions = proptest::collection::vec((directory, project), 0..30);
    let gone = proptest::collection::vec(any::<bool>(), 30);
    (sessions, gone, clone()).prop_map(|(sessions, gone, first)| {
        let clones: Vec<String> = ["/a", "/b", "/c"].map(str::to_owned).to_vec();
        let sessions: Vec<Filed> = sessions
            .into_iter()
            .enumerate()
            .map(|(n, (directory, project))| Filed {
                id: format!("ses_{n}"),
                project: project.to_owned(),
                directory,
            })
            .collect();
        let gone = sessions
            .iter()
            .zip(gone)
            .filter(|(session, gone)| *gone && !clones.contains(&session.directory))
            .map(|(session, _)| session.directory.clone())
            .collect();
        let shared = Project {
            id: "p".into(),
            worktree: first.to_owned(),
            directories: clones.iter().cloned().collect(),
        };
        let other = Project { id: "q".into(), worktree: "/q".into(), directories: BTreeSet::new() };
        let global =
            Project { id: GLOBAL.into(), worktree: "/".into(), directories: BTreeSet::new() };
        Land { survey: Survey { projects: vec![shared, other, global], sessions }, clones, gone }
    })
}

proptest! {
    #[test]
    fn a_session_is_of_one_clone_and_none_is_lost(land in land()) {
        let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for clone in &land.clones {
            for id in land.survey.select(clone, &land.standings(clone)).sessions {
                owners.entry(id).or_default().push(clone);
            }
        }
        for session in &land.survey.sessions {
            let of = owners.get(&session.id).cloned().unwrap_or_default();
            prop_assert!(of.len() <= 1, "{} is of {of:?}", session.id);
            if session.project == "p" {
                prop_assert_eq!(of.len(), 1, "{:?} is of nobody", session);
            }
            if session.project == "q" {
                prop_assert!(of.is_empty(), "{:?} is of a foreign project", session);
            }
        }
    }

    #[test]
    fn what_lies_in_a_clone_is_its_own(land in land()) {
        for clone in &land.clones {
            let selection = land.survey.select(clone, &land.standings(clone));
            for session in &land.survey.sessions {
                let below = format!("{clone}/");
                let lies_in = session.directory == *clone || session.directory.starts_with(&below);
                if session.project == "p" && lies_in {
                    prop_assert!(selection.sessions.contains(&session.id));
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_survey_does_not_matter(land in land()) {
        let mut turned = land.survey.clone();
        turned.sessions.reverse();
        turned.projects.reverse();
        let standings = land.standings("/a");
        let mut one = land.survey.select("/a", &standings);
        let mut other = turned.select("/a", &standings);
        one.sessions.sort();
        other.sessions.sort();
        prop_assert_eq!(one, other);
    }
}

#[test]
fn a_removed_worktree_goes_to_the_clone_the_project_was_first_opened_in() {
    let project = Project {
        id: "p".into(),
        worktree: "/a".into(),
        directories: ["/a", "/b"].map(str::to_owned).into(),
    };
    let filed = Filed { id: "s".into(), project: "p".into(), directory: "/trees/x".into() };
    let survey = Survey { projects: vec![project], sessions: vec![filed] };
    let seen = |own: &str, near: Option<&str>| {
        let gone = Standing::Gone { near: near.map(str::to_owned) };
        let pairs = [(own, Standing::Root), ("/trees/x", gone)];
        let map = pairs.map(|(dir, standing)| (dir.to_owned(), standing)).into();
        survey.select(own, &map).sessions.len()
    };
    assert_eq!((seen("/a", None), seen("/b", None)), (1, 0));
    assert_eq!(seen("/a", Some("/b")), 0, "what lay in the other clone is the other's");
    assert_eq!(seen("/a", Some("/dotfiles")), 1, "a repo of no part in the project says nothing");
}

#[test]
fn a_session_from_before_git_is_of_the_root_it_was_in() {
    let global = Project { id: GLOBAL.into(), worktree: "/".into(), directories: BTreeSet::new() };
    let filed = |id: &str, directory: &str| Filed {
        id: id.into(),
        project: GLOBAL.into(),
        directory: directory.into(),
    };
    let sessions = vec![filed("root", "/a"), filed("below", "/a/x"), filed("other", "/b")];
    let survey = Survey { projects: vec![global], sessions };
    let map = [("/a", Standing::Root), ("/a/x", Standing::Inside), ("/b", Standing::Foreign)];
    let selection = survey.select("/a", &map.map(|(d, s)| (d.to_owned(), s)).into());
    assert_eq!(selection.sessions, ["root"]);
}
