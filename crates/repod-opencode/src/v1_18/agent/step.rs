//! What a part that has not ended says its turn is at: for lists, in a few words.

use super::tool;
use super::wire::Part;
use repod_proto::agent::ToolCall;

/// A part larger than this is not read for a few words: a tool that writes a file carries it.
const PART_MAX: usize = 64 * 1024;
/// Where OpenCode 1.18.33 has the name of a tool, at the latest.
const HEAD: usize = 1024;
/// Characters of a title.
const TITLE_MAX: usize = 160;

/// What a turn is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It reasons.
    Thinking,
    /// It writes its answer.
    Answering,
    /// It runs a tool.
    Tool {
        /// The tool.
        name: String,
        /// What it is told to do, where that is known.
        title: Option<String>,
    },
}

impl Step {
    /// Reads the JSON of a part; `None` for one that is none of these.
    pub fn read(json: &str) -> Option<Self> {
        if json.len() > PART_MAX {
            let head = json.get(..HEAD)?;
            let name = head.split_once(r#""tool":""#)?.1.split('"').next()?;
            return Some(Self::Tool { name: name.to_owned(), title: None });
        }
        let part: Part<'_> = serde_json::from_str(json).ok()?;
        match &*part.kind {
            "reasoning" => Some(Self::Thinking),
            "text" => Some(Self::Answering),
            "tool" => {
                let name = part.tool.as_deref()?;
                let mut call = ToolCall { title: name.to_owned(), ..ToolCall::default() };
                if let Some(input) = part.state.as_ref().and_then(|state| state.input) {
                    tool::describe(&mut call, &tool::value(input));
                }
                let title = (call.title != name).then(|| shorten(&call.title));
                Some(Self::Tool { name: name.to_owned(), title })
            }
            _ => None,
        }
    }
}

/// The first line, not too long.
fn shorten(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(TITLE_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, title: Option<&str>) -> Option<Step> {
        Some(Step::Tool { name: name.to_owned(), title: title.map(str::to_owned) })
    }

    #[test]
    fn a_part_says_what_its_turn_is_at() {
        let bash = r#"{"id":"p","sessionID":"s","type":"tool","callID":"c","tool":"bash",
            "state":{"status":"running","input":{"command":"make all\nmake install","description":"x"}}}"#;
        assert_eq!(Step::read(bash), tool("bash", Some("make all")));
        let pending = r#"{"type":"tool","tool":"read","state":{"status":"pending","input":{}}}"#;
        assert_eq!(Step::read(pending), tool("read", None));
        assert_eq!(Step::read(r#"{"type":"reasoning","text":""}"#), Some(Step::Thinking));
        assert_eq!(Step::read(r#"{"type":"text","text":"Once"}"#), Some(Step::Answering));
        assert_eq!(Step::read(r#"{"type":"step-start"}"#), None);
        assert_eq!(Step::read("no JSON"), None);
    }

    #[test]
    fn a_large_part_is_known_by_its_tool_alone() {
        let content = "é".repeat(PART_MAX);
        let json = format!(
            r#"{{"type":"tool","tool":"write","state":{{"status":"running","input":{{"filePath":"/a","content":"{content}"}}}}}}"#
        );
        let read = Step::read(&json);
        // Where the head ends within a character, nothing is said.
        assert!(read.is_none() || read == tool("write", None));
        assert_eq!(Step::read(&json.replace('é', "ab")), tool("write", None));
    }
}
