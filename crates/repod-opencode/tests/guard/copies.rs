//! The daemon's part of a foreign write: copies are made, and what became of them is applied.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Copies of files outside `home`, below `stage`.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) home: PathBuf,
    pub(crate) stage: PathBuf,
    /// The registered repositories.
    pub(crate) repos: Vec<PathBuf>,
    /// Whether a person must be asked whatever the rules say.
    pub(crate) must_ask: bool,
    /// Names that lead elsewhere.
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
    calls: BTreeMap<String, Call>,
}

#[derive(Debug)]
struct Call {
    files: Vec<PathBuf>,
    prefix: PathBuf,
}

impl Copies {
    pub(crate) fn new(home: &Path, stage: &Path, repos: Vec<PathBuf>) -> Self {
        Self {
            home: home.into(),
            stage: stage.into(),
            repos,
            must_ask: false,
            links: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.repos
    }

    /// What an ask is answered when its files aren't all at home.
    pub(crate) fn foreign(&mut self, ask: &Value) -> Option<(&'static str, Value)> {
        let args = &ask["args"];
        let operation = format!("op-{}", ask["call"].as_str()?);
        if let Some(workdir) = args["workdir"].as_str() {
            let away = !Path::new(workdir).starts_with(&self.home);
            let shell =
                json!({ "operation": operation, "directory": workdir, "ask": self.must_ask });
            return away.then_some(("shell", shell));
        }
        let text = args["patchText"].as_str().unwrap_or_default();
        let heads = ["*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "];
        let named = text.lines().filter_map(|l| heads.iter().find_map(|h| l.strip_prefix(h)));
        let names: Vec<PathBuf> = named
            .chain(args["filePath"].as_str())
            .map(|file| lexical(&self.home.join(file)))
            .collect();
        let real = |name: &PathBuf| self.links.get(name).unwrap_or(name).clone();
        let files: Vec<PathBuf> = names.iter().map(real).collect();
        if files.iter().all(|file| file.starts_with(&self.home)) {
            return None;
        }
        let named: Map<String, Value> =
            names.iter().map(|name| (name.to_str().unwrap().into(), json!(real(name)))).collect();
        let answer =
            json!({ "operation": operation, "files": files, "named": named, "ask": self.must_ask });
        self.calls.insert(ask["call"].as_str()?.into(), Call { files, prefix: operation.into() });
        Some(("foreign", answer))
    }

    pub(crate) fn make(&mut self, message: &Value) -> Value {
        let call = self.calls.get_mut(message["call"].as_str().unwrap()).unwrap();
        call.prefix = self.stage.join(message["name"].as_str().unwrap()).join(&call.prefix);
        let mut files = Map::new();
        for real in &call.files {
            let copy = call.prefix.join(real.strip_prefix("/").unwrap());
            fs_err::create_dir_all(copy.parent().unwrap()).unwrap();
            if real.is_file() {
                fs_err::copy(real, &copy).unwrap();
            }
            files.insert(real.to_str().unwrap().into(), json!(copy));
        }
        files.into()
    }

    /// The text for the model.
    pub(crate) fn apply(&mut self, message: &Value) -> String {
        let call = &self.calls[message["call"].as_str().unwrap()];
        for real in &call.files {
            let copy = call.prefix.join(real.strip_prefix("/").unwrap());
            if copy.is_file() {
                fs_err::create_dir_all(real.parent().unwrap()).unwrap();
                fs_err::copy(copy, real).unwrap();
            } else if real.is_file() {
                fs_err::remove_file(real).unwrap();
            }
        }
        format!("Applied in {}", call.files[0].display())
    }

    pub(crate) fn forget(&mut self, report: &Value) {
        if let Some(call) = self.calls.remove(report["call"].as_str().unwrap())
            && call.prefix.is_dir()
        {
            fs_err::remove_dir_all(call.prefix).unwrap();
        }
    }
}

fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}
