//! What OpenCode's events mean for a turn: in comes the JSON of `/global/event`, out come the
//! transport-neutral events of [`repod_proto::agent`]. All that is particular to the event
//! generations of 1.x is here.
//!
//! ```text
//! bytes ─► SseDecoder ─► Incoming::read ─► Kin::root ─► Translator::feed ─► AgentEvent…
//!                        (one pass, sync   (whose turn  (dedupes, joins,
//!                         copies skipped)   it is of)    knows the end)
//! ```
//!
//! Three generations are understood: `message.part.delta` with `message.part.updated` (1.18),
//! `message.part.updated` alone, each with all the text so far (older), and `session.next.*`. One
//! message is read in one generation only, the one that spoke of it first.
//!
//! Events may come twice, late, or not at all. The translator then says less than it could, never
//! something twice; [`Translator::reconcile`] gives the rest from what the server has.

mod asks;
mod body;
mod bounded;
mod ids;
mod incoming;
mod kin;
mod next;
mod reconcile;
mod step;
mod tags;
mod text;
mod tool;
mod transcript;
mod translator;
mod usage;
mod wire;

pub use ids::prompt_id;
pub use incoming::Incoming;
pub use kin::Kin;
pub use reconcile::{Reconciled, ServerView, Stand};
pub use step::Step;
pub use transcript::transcripts;
pub use translator::{Progress, TranslateOptions, Translator};

#[cfg(test)]
mod tests;
