//! OpenCode's tool calls as snapshots in the shape of the Agent Client Protocol.

use super::wire::{Str, ToolState};
use repod_proto::agent::{Diff, Location, ToolCall, ToolKind, ToolStatus};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a call's metadata repeats of its input and output; diffs are told as such.
const REPEATED: [&str; 6] = ["output", "diff", "filediff", "files", "preview", "display"];

/// The snapshot of a tool part.
pub(super) fn call(id: &str, tool: &str, state: Option<&ToolState<'_>>) -> ToolCall {
    let Some(state) = state else {
        return plain(id, tool);
    };
    let status = status(&state.status);
    let input = state.input.map_or(Value::Null, value);
    let metadata = Metadata::read(state.metadata);
    let mut call = ToolCall { status, ..plain(id, tool) };
    describe(&mut call, &input);
    // A patch is told by its files; OpenCode's title is the first lines of its output.
    let title = state.title.as_deref().filter(|title| !title.is_empty() && !title.contains('\n'));
    if let Some(title) = title {
        title.clone_into(&mut call.title);
    }
    if status != ToolStatus::Failed {
        call.diffs = metadata.diffs(&input, tool);
    }
    call.raw_output = output(state, status, &metadata);
    call.raw_input = match input {
        Value::Object(empty) if empty.is_empty() && status == ToolStatus::Pending => Value::Null,
        input => input,
    };
    call
}

/// A call of which no more is known than its name.
pub(super) fn plain(id: &str, tool: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        title: tool.to_owned(),
        kind: kind(tool),
        tool: tool.to_owned(),
        ..ToolCall::default()
    }
}

/// What the input says of the call: its title and where it works.
pub(super) fn describe(call: &mut ToolCall, input: &Value) {
    let text = |name: &str| input[name].as_str().filter(|text| !text.is_empty());
    if let Some(patch) = text("patchText") {
        let files = patch_files(patch);
        call.kind = files.kind;
        call.title = files.paths.join(", ");
        call.locations =
            files.paths.into_iter().map(|path| Location { path, line: None }).collect();
        return;
    }
    if let Some(path) = ["filePath", "path"].into_iter().find_map(text) {
        let line = input["offset"].as_u64().and_then(|line| u32::try_from(line).ok());
        let line = line.filter(|line| *line > 0);
        call.locations = vec![Location { path: path.to_owned(), line }];
    }
    let title = ["command", "filePath", "pattern", "query", "url", "description", "name", "path"];
    if let Some(title) = title.into_iter().find_map(text) {
        title.clone_into(&mut call.title);
    }
}

fn status(status: &str) -> ToolStatus {
    match status {
        "pending" => ToolStatus::Pending,
        "completed" => ToolStatus::Completed,
        "error" => ToolStatus::Failed,
        _ => ToolStatus::InProgress,
    }
}

fn kind(tool: &str) -> ToolKind {
    match tool {
        "read" | "list" | "ls" | "skill" => ToolKind::Read,
        "write" | "edit" | "multiedit" | "patch" | "apply_patch" => ToolKind::Edit,
        "bash" | "shell" => ToolKind::Execute,
        "glob" | "grep" | "codesearch" | "websearch" | "lsp" => ToolKind::Search,
        "webfetch" => ToolKind::Fetch,
        "task" | "todowrite" | "todoread" => ToolKind::Think,
        _ => ToolKind::Other,
    }
}

struct PatchFiles {
    kind: ToolKind,
    paths: Vec<String>,
}

fn patch_files(patch: &str) -> PatchFiles {
    let (mut paths, mut removed, mut moved) = (Vec::new(), 0, 0);
    for line in patch.lines().filter_map(|line| line.strip_prefix("*** ")) {
        if let Some(path) = line.strip_prefix("Delete File: ") {
            removed += 1;
            paths.push(path.trim().to_owned());
        } else if let Some(path) =
            line.strip_prefix("Add File: ").or_else(|| line.strip_prefix("Update File: "))
        {
            paths.push(path.trim().to_owned());
        } else if line.starts_with("Move to: ") {
            moved += 1;
        }
    }
    let all = |count: usize| count > 0 && count == paths.len();
    let kind = match (all(removed), all(moved)) {
        (true, _) => ToolKind::Delete,
        (_, true) => ToolKind::Move,
        _ => ToolKind::Edit,
    };
    PatchFiles { kind, paths }
}

fn output(state: &ToolState<'_>, status: ToolStatus, metadata: &Metadata<'_>) -> Value {
    let mut said = Map::new();
    match status {
        ToolStatus::Failed => {
            let error = state.error.as_deref().unwrap_or_default();
            said.insert("error".to_owned(), error.into());
        }
        ToolStatus::Completed => {
            let output = state.output.as_deref().unwrap_or_default();
            said.insert("output".to_owned(), output.into());
        }
        ToolStatus::Pending | ToolStatus::InProgress => {
            if let Some(output) = metadata.text("output") {
                said.insert("output".to_owned(), output.into());
            }
        }
    }
    let rest = metadata.rest();
    if !rest.is_empty() {
        said.insert("metadata".to_owned(), rest.into());
    }
    if said.is_empty() { Value::Null } else { said.into() }
}

/// Raw JSON that was valid when it came.
pub(super) fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// A call's metadata: each tool has its own.
#[derive(Default)]
struct Metadata<'a>(BTreeMap<String, &'a RawValue>);

/// One file of `apply_patch`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PatchFile<'a> {
    #[serde(borrow, rename = "filePath")]
    path: Option<Str<'a>>,
    #[serde(borrow)]
    before: Option<Str<'a>>,
    #[serde(borrow)]
    after: Option<Str<'a>>,
    #[serde(borrow, alias = "diff")]
    patch: Option<Str<'a>>,
}

impl<'a> Metadata<'a> {
    fn read(raw: Option<&'a RawValue>) -> Self {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).map(Self).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    fn rest(&self) -> Map<String, Value> {
        let kept = self.0.iter().filter(|(name, _)| !REPEATED.contains(&name.as_str()));
        kept.map(|(name, raw)| (name.clone(), value(raw))).collect()
    }

    fn diffs(&self, input: &Value, tool: &str) -> Vec<Diff> {
        let text = |name: &str| input[name].as_str().map(str::to_owned);
        let Some(path) = text("filePath").or_else(|| text("path")) else {
            return self.patched();
        };
        let patch = self.text("diff");
        match (tool, text("content"), text("newString")) {
            ("write", Some(content), _) => {
                vec![Diff { path, old_text: None, new_text: Some(content), patch }]
            }
            ("edit", _, Some(new)) => {
                vec![Diff { path, old_text: text("oldString"), new_text: Some(new), patch }]
            }
            _ => Vec::new(),
        }
    }

    fn patched(&self) -> Vec<Diff> {
        let files: Option<Vec<PatchFile<'_>>> =
            self.0.get("files").and_then(|files| serde_json::from_str(files.get()).ok());
        let files = files.unwrap_or_default().into_iter();
        let diff = |file: PatchFile<'_>| {
            Some(Diff {
                path: file.path?.into(),
                old_text: file.before.map(Into::into),
                new_text: file.after.map(Into::into),
                patch: file.patch.map(Into::into),
            })
        };
        files.filter_map(diff).collect()
    }
}
