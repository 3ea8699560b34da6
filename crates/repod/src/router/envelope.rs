//! OpenCode's own patch format, `*** Begin Patch`, as far as it names files.
//!
//! It follows the parser of OpenCode 1.18.33 in what it takes for a header: text before `*** Begin
//! Patch` and after `*** End Patch` is ignored, so is a heredoc around it, and so are lines between
//! sections. Whether the hunks apply is for OpenCode to say.

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hunk {
    Add { path: String },
    Delete { path: String },
    Update { path: String, moved_to: Option<String> },
}

/// A patch's sections, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) hunks: Vec<Hunk>,
}

impl Envelope {
    /// Whether `text` is meant as one.
    pub(crate) fn is_one(text: &str) -> bool {
        text.lines().any(|line| line.trim() == BEGIN)
    }

    /// The sections; `None` when begin or end is missing, which OpenCode refuses.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = unwrapped(text.trim()).split('\n').collect();
        let begin = lines.iter().position(|line| line.trim() == BEGIN)?;
        let end = lines.iter().position(|line| line.trim() == END)?;
        let body = lines.get(begin + 1..end)?;
        let mut hunks = Vec::new();
        let mut at = 0;
        while let Some(line) = body.get(at) {
            at += 1;
            let header = |mark: &str| {
                line.strip_prefix(mark)
                    .map(str::trim)
                    .filter(|path| !path.is_empty())
                    .map(str::to_owned)
            };
            if let Some(path) = header("*** Add File:") {
                hunks.push(Hunk::Add { path });
            } else if let Some(path) = header("*** Delete File:") {
                hunks.push(Hunk::Delete { path });
            } else if let Some(path) = header("*** Update File:") {
                let moved_to = body.get(at).and_then(|next| next.strip_prefix("*** Move to:"));
                at += usize::from(moved_to.is_some());
                // An empty one is none: OpenCode asks whether it is truthy.
                let moved_to =
                    moved_to.map(str::trim).filter(|to| !to.is_empty()).map(str::to_owned);
                hunks.push(Hunk::Update { path, moved_to });
            }
        }
        Some(Self { hunks })
    }

    /// Every path it names, both ends of a move included.
    pub(crate) fn paths(&self) -> Vec<&str> {
        let mut paths = Vec::new();
        for hunk in &self.hunks {
            match hunk {
                Hunk::Add { path } | Hunk::Delete { path } => paths.push(path.as_str()),
                Hunk::Update { path, moved_to } => {
                    paths.push(path);
                    paths.extend(moved_to.as_deref());
                }
            }
        }
        paths
    }
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";

/// `cat <<'EOF' … EOF` around a patch, taken off.
fn unwrapped(text: &str) -> &str {
    let inner = || {
        let rest = text.strip_prefix("cat").map_or(text, str::trim_start);
        let (mark, body) = rest.strip_prefix("<<")?.split_once('\n')?;
        let mark = mark.trim_end();
        let mark = mark.strip_prefix(['\'', '"']).unwrap_or(mark);
        let mark = mark.strip_suffix(['\'', '"']).unwrap_or(mark);
        let word = !mark.is_empty() && mark.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let end = format!("\n{mark}");
        word.then(|| body.strip_suffix(end.as_str())).flatten()
    };
    inner().unwrap_or(text)
}
