//! What an event says, decoded in the same pass in which its type is found.

use super::wire::{Ask, Delta, Failure, Message, Part, Session, SessionStatus, Str};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny};
use serde_json::value::RawValue;

/// The properties of an event, by its type.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// `message.part.delta`
    Delta(Delta<'a>),
    /// `message.part.updated`
    Part(Box<Part<'a>>),
    /// `message.part.removed`
    PartRemoved { part: Str<'a> },
    /// `message.updated`
    Message(Box<Message<'a>>),
    /// `session.status`
    Status(SessionStatus<'a>),
    /// `session.idle`
    Idle,
    /// `session.error`
    Error(Failure<'a>),
    /// `session.deleted`
    Deleted,
    /// `session.created`, `session.updated`
    Session(Session<'a>),
    /// `permission.asked`
    Permission(Box<Ask<'a>>),
    /// `question.asked`
    Question(Box<Ask<'a>>),
    /// `permission.replied`, `question.replied`, `question.rejected`
    Answered { request: Str<'a> },
    /// `session.next.*`: the rest of the name.
    Next(Box<Next<'a>>),
}

/// All that `session.next.*` may have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Next<'a> {
    /// The type behind `session.next.`.
    #[serde(skip)]
    pub(super) what: Str<'a>,
    #[serde(borrow, rename = "assistantMessageID")]
    pub(super) message: Option<Str<'a>>,
    #[serde(borrow, rename = "textID")]
    pub(super) text_id: Option<Str<'a>>,
    #[serde(borrow, rename = "reasoningID")]
    pub(super) reasoning_id: Option<Str<'a>>,
    #[serde(borrow, rename = "callID")]
    pub(super) call: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) delta: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) tool: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) structured: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Vec<Content<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<Failure<'a>>,
    pub(super) tokens: Option<super::wire::Tokens>,
    pub(super) cost: Option<f64>,
    #[serde(borrow, rename = "sessionID")]
    session: Option<Str<'a>>,
}

/// A piece of a tool's output.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Str<'a>>,
}

/// The session an event is of, and what it says.
pub(super) type Said<'a> = (Str<'a>, Body<'a>);

/// Reads the properties of an event of this type; `None` for what no turn needs.
pub(super) struct Properties<'t>(pub(super) &'t str);

/// What small events have.
#[derive(Deserialize)]
struct Small<'a> {
    #[serde(borrow, rename = "sessionID")]
    session: Str<'a>,
    #[serde(borrow, default, rename = "partID")]
    part: Option<Str<'a>>,
    #[serde(borrow, default, rename = "requestID")]
    request: Option<Str<'a>>,
    #[serde(borrow, default)]
    error: Option<Failure<'a>>,
    #[serde(borrow, default)]
    status: Option<SessionStatus<'a>>,
}

#[derive(Deserialize)]
struct OfPart<'a> {
    #[serde(borrow, default, rename = "sessionID")]
    session: Option<Str<'a>>,
    #[serde(borrow)]
    part: Part<'a>,
}

#[derive(Deserialize)]
struct OfMessage<'a> {
    #[serde(borrow, default, rename = "sessionID")]
    session: Option<Str<'a>>,
    #[serde(borrow)]
    info: Message<'a>,
}

#[derive(Deserialize)]
struct OfSession<'a> {
    #[serde(borrow)]
    info: Session<'a>,
}

impl<'de> DeserializeSeed<'de> for Properties<'_> {
    type Value = Option<Said<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        Ok(match self.0 {
            "message.part.delta" => {
                let mut delta = Delta::deserialize(from)?;
                Some((std::mem::take(&mut delta.session), Body::Delta(delta)))
            }
            "message.part.updated" => {
                let OfPart { session, mut part } = OfPart::deserialize(from)?;
                let session = part.session.take().or(session);
                session.map(|session| (session, Body::Part(Box::new(part))))
            }
            "message.updated" => {
                let OfMessage { session, mut info } = OfMessage::deserialize(from)?;
                let session = info.session.take().or(session);
                session.map(|session| (session, Body::Message(Box::new(info))))
            }
            "session.created" | "session.updated" => {
                let info = OfSession::deserialize(from)?.info;
                Some((info.id.clone(), Body::Session(info)))
            }
            "permission.asked" | "permission.v2.asked" => {
                let ask = Ask::deserialize(from)?;
                Some((ask.session.clone(), Body::Permission(Box::new(ask))))
            }
            "question.asked" | "question.v2.asked" => {
                let ask = Ask::deserialize(from)?;
                Some((ask.session.clone(), Body::Question(Box::new(ask))))
            }
            "session.status"
            | "session.idle"
            | "session.error"
            | "message.part.removed"
            | "permission.replied"
            | "permission.v2.replied"
            | "question.replied"
            | "question.rejected"
            | "question.v2.replied"
            | "question.v2.rejected" => small(self.0, Small::deserialize(from)?),
            "session.deleted" => {
                let info = OfSession::deserialize(from)?.info;
                Some((info.id, Body::Deleted))
            }
            name => match name.strip_prefix("session.next.") {
                Some(what) => {
                    let mut next = Next::deserialize(from)?;
                    next.what = Str(what.to_owned().into());
                    next.session.take().map(|session| (session, Body::Next(Box::new(next))))
                }
                None => {
                    IgnoredAny::deserialize(from)?;
                    None
                }
            },
        })
    }
}

fn small<'a>(name: &str, said: Small<'a>) -> Option<Said<'a>> {
    let body = match name {
        "session.idle" => Body::Idle,
        "session.status" => Body::Status(said.status?),
        "session.error" => Body::Error(said.error.unwrap_or_default()),
        "message.part.removed" => Body::PartRemoved { part: said.part? },
        _ => Body::Answered { request: said.request? },
    };
    Some((said.session, body))
}
