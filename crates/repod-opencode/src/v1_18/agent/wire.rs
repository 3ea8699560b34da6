//! The shapes inside events, as far as a turn needs them. Strings are borrowed from the event
//! wherever JSON allows it; what is only passed on stays raw.

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// A string that is borrowed unless it has escapes. serde alone borrows a `Cow` only where it is no
/// `Option`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Str<'a>(pub(super) Cow<'a, str>);

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Str<'_>> for String {
    fn from(text: Str<'_>) -> Self {
        text.0.into_owned()
    }
}

impl<'a> From<&'a str> for Str<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// `message.part.delta`.
#[derive(Debug, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "sessionID")]
    pub(super) session: Str<'a>,
    #[serde(borrow, default, rename = "messageID")]
    pub(super) message: Option<Str<'a>>,
    #[serde(borrow, default, rename = "partID")]
    pub(super) part: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) field: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) delta: Str<'a>,
}

/// A part of a message.
#[derive(Debug, Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow, default, rename = "sessionID")]
    pub(super) session: Option<Str<'a>>,
    #[serde(borrow, default, rename = "messageID")]
    pub(super) message: Option<Str<'a>>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) text: Option<Str<'a>>,
    #[serde(default)]
    pub(super) time: Option<PartTime>,
    #[serde(borrow, default)]
    pub(super) tool: Option<Str<'a>>,
    #[serde(borrow, default, rename = "callID")]
    pub(super) call: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) state: Option<ToolState<'a>>,
    #[serde(default)]
    pub(super) tokens: Option<Tokens>,
    #[serde(default)]
    pub(super) cost: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct PartTime {
    #[serde(default)]
    pub(super) end: Option<f64>,
}

/// How far a tool call is.
#[derive(Debug, Deserialize)]
pub(super) struct ToolState<'a> {
    #[serde(borrow)]
    pub(super) status: Str<'a>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) title: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) output: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) error: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) metadata: Option<&'a RawValue>,
}

/// `info` of `message.updated`.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow, default, rename = "sessionID")]
    pub(super) session: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) role: Str<'a>,
    #[serde(default)]
    pub(super) time: MessageTime,
    #[serde(borrow, default)]
    pub(super) error: Option<Failure<'a>>,
    /// An object with a person's message, `true` with the model's summary of a conversation.
    #[serde(borrow, default)]
    pub(super) summary: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) tokens: Option<Tokens>,
    #[serde(default)]
    pub(super) cost: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct MessageTime {
    #[serde(default)]
    pub(super) completed: Option<f64>,
}

/// Tokens of a step or a message.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    pub(super) input: f64,
    pub(super) output: f64,
    pub(super) reasoning: f64,
    pub(super) cache: Cache,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cache {
    pub(super) read: f64,
    pub(super) write: f64,
}

/// An error of a session or a message, `{name, data: {message}}`; of a step, `{type, message}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Failure<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) data: Option<FailureData<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Str<'a>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailureData<'a> {
    #[serde(borrow)]
    pub(super) message: Option<Str<'a>>,
}

/// `session.status`.
#[derive(Debug, Deserialize)]
pub(super) struct SessionStatus<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(default)]
    pub(super) attempt: Option<f64>,
    #[serde(borrow, default)]
    pub(super) message: Option<Str<'a>>,
    #[serde(default)]
    pub(super) next: Option<f64>,
}

/// `permission.asked`, `permission.v2.asked`, `question.asked`; and the rows of `GET /permission`
/// and `GET /question`.
#[derive(Debug, Deserialize)]
pub(super) struct Ask<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow, rename = "sessionID")]
    pub(super) session: Str<'a>,
    #[serde(borrow, default, alias = "action")]
    pub(super) permission: Option<Str<'a>>,
    #[serde(default, alias = "resources")]
    pub(super) patterns: Vec<String>,
    #[serde(default, alias = "save")]
    pub(super) always: Vec<String>,
    #[serde(borrow, default)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "source")]
    pub(super) tool: Option<AskTool<'a>>,
    #[serde(default)]
    pub(super) questions: Vec<Question>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AskTool<'a> {
    #[serde(borrow, rename = "callID")]
    pub(super) call: Option<Str<'a>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Question {
    pub(super) question: String,
    pub(super) header: String,
    pub(super) options: Vec<Choice>,
    pub(super) multiple: bool,
    pub(super) custom: Option<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Choice {
    pub(super) label: String,
    pub(super) description: String,
}

/// `info` of `session.created` and `session.updated`.
#[derive(Debug, Deserialize)]
pub(super) struct Session<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow, default, rename = "parentID")]
    pub(super) parent: Option<Str<'a>>,
}
