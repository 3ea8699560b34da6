//! What is known of the shell at one point of a script: where it may be, and its variables.

use crate::verdict::{Dir, Target};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// More possible directories than this are "unknown".
const MAX_DIRS: usize = 8;

/// A variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// This text.
    Known(String),
    /// Unknown, but surely not something that begins with a dash.
    NoOption,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Every directory the shell may be in; `None` is one nobody knows.
    cwd: Vec<Option<PathBuf>>,
    /// Variables set by the script; the others come from the environment.
    vars: BTreeMap<String, Value>,
}

impl State {
    pub(crate) fn new(cwd: &Path) -> Self {
        let cwd = cwd.is_absolute().then(|| cwd.to_owned());
        Self { cwd: vec![cwd], vars: BTreeMap::new() }
    }

    pub(crate) fn var(&self, name: &str) -> Option<&Value> {
        self.vars.get(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.vars.insert(name.to_owned(), value);
    }

    /// Where the shell is, when there is only one possibility.
    pub(crate) fn only_cwd(&self) -> Option<&Path> {
        match self.cwd.as_slice() {
            [Some(one)] => Some(one),
            _ => None,
        }
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = Dir> + '_ {
        self.cwd.iter().map(|dir| dir.clone().map_or(Dir::Unknown, Dir::Known))
    }

    /// In another directory (`None`: unknown), as `cd` goes there: `..` is taken by the text.
    pub(crate) fn moved(&self, to: Option<&str>) -> Self {
        let from = |dir: &Option<PathBuf>| match (dir, to) {
            (_, Some(to)) if to.starts_with('/') => Some(logical(Path::new(to))),
            (Some(dir), Some(to)) => Some(logical(&dir.join(to))),
            _ => None,
        };
        let mut cwd = Vec::new();
        for dir in self.cwd.iter().map(from) {
            if !cwd.contains(&dir) {
                cwd.push(dir);
            }
        }
        Self { cwd, vars: self.vars.clone() }
    }

    /// Every absolute path `text` may mean.
    pub(crate) fn paths(&self, text: &str) -> Vec<Option<PathBuf>> {
        let absolute = |dir: &Option<PathBuf>| match dir {
            _ if text.starts_with('/') => Some(Path::new(text).components().collect()),
            Some(dir) => Some(dir.join(text).components().collect()),
            None => None,
        };
        self.cwd.iter().map(absolute).collect()
    }

    /// Anything below the directories the shell may be in.
    pub(crate) fn here(&self) -> Vec<Target> {
        let tree = |dir: &Option<PathBuf>| match dir {
            Some(dir) => Target::Tree(dir.clone()),
            None => Target::Dynamic { below: None },
        };
        self.cwd.iter().map(tree).collect()
    }

    /// Either of the two.
    pub(crate) fn or(mut self, other: &Self) -> Self {
        for dir in &other.cwd {
            if !self.cwd.contains(dir) {
                self.cwd.push(dir.clone());
            }
        }
        if self.cwd.len() > MAX_DIRS {
            self.cwd = vec![None];
        }
        let names: Vec<String> = self.vars.keys().chain(other.vars.keys()).cloned().collect();
        for name in names {
            if self.vars.get(&name) != other.vars.get(&name) {
                self.vars.insert(name, Value::Unknown);
            }
        }
        self
    }

    /// Everything that `other` has different is unknown: the state within a loop.
    pub(crate) fn widened(self, other: &Self) -> Self {
        let moved = self.cwd != other.cwd;
        let mut wide = self.or(other);
        if moved {
            wide.cwd.push(None);
        }
        wide
    }
}

/// `..` and `.` removed by the text alone.
fn logical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}
