//! `repod top`: what goes on in all repos, to look at.
//!
//! ```text
//!  keys, sizes, answers ──Msg──► Model::update ──Effect──► interactive (terminal, daemon, attach)
//!                                    │
//!                                    └──► view ──► frame   (pure, as the model is)
//! ```
//!
//! Each refresh is one request, which the daemon answers out of its memory.

mod input;
mod interactive;
mod log;
mod model;
mod screen;
mod signals;
#[cfg(test)]
mod tests;
mod view;

use super::{Outcome, client};
use crate::cli::TopArgs;
use crate::output;
pub(crate) use model::Sort;
use model::{Model, Msg};
use repod_client::Client;
use repod_proto::{Activity, ApiError, ErrorCode, exit};
use std::io::{IsTerminal as _, stdin, stdout};
use std::time::Duration;
use view::Theme;

/// More often than this nobody can read it.
const LEAST: Duration = Duration::from_millis(100);
/// How long a daemon may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Columns of a frame that goes to no terminal.
const WIDTH: u16 = 120;

pub(crate) async fn run(args: TopArgs) -> Outcome {
    let first = client(args.output.no_start)?;
    let every = Duration::from(args.interval).max(LEAST);
    if args.output.json {
        return stream(&first, every, args.once).await;
    }
    let mut model = Model::new(args.sort, args.filter.unwrap_or_default());
    if args.once {
        model.update(Msg::Snapshot(Box::new(first.activity().await?)));
        let width = terminal_width().unwrap_or(WIDTH);
        view::text(&model, width).iter().for_each(|line| output::line(line));
        return Ok(exit::OK);
    }
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "`repod top` needs a terminal").hint(
            "`repod top --once` prints one frame, `repod top --json` one document each time",
        ));
    }
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let theme = if colours { Theme::colourful() } else { Theme::plain() };
    interactive::run(first, args.output.no_start, every, model, theme).await
}

/// NDJSON until nobody reads it any more.
async fn stream(first: &Client, every: Duration, once: bool) -> Outcome {
    let mut rounds = tokio::time::interval(every);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    rounds.tick().await;
    let mut activity = ask(first).await?;
    let later = looking(first);
    loop {
        if output::try_ndjson(&activity).is_err() || once {
            return Ok(exit::OK);
        }
        activity = loop {
            rounds.tick().await;
            match ask(&later).await {
                Ok(activity) => break activity,
                // It may come back; a reader sees the gap by `at`.
                Err(error) => output::warn(&error.message),
            }
        };
    }
}

/// A client that only looks: a daemon that was stopped on purpose is not brought back by somebody who
/// watches.
fn looking(client: &Client) -> Client {
    client.clone().start_policy(repod_client::StartPolicy::Never)
}

async fn ask(client: &Client) -> Result<Activity, ApiError> {
    let answer = tokio::time::timeout(ANSWER_LIMIT, client.activity()).await;
    answer.unwrap_or_else(|_| {
        let message = format!("the daemon has not answered within {ANSWER_LIMIT:?}");
        Err(ApiError::new(ErrorCode::DaemonUnavailable, message))
    })
}

fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
