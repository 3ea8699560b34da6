//! The grammar of `repod prompt` and `repod sessions`.

use super::Output;
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const PROMPT_HELP: &str = "\
NAME is yours: the session is made when it is new and resumed when it is known. Ctrl-C ends the turn, not the session.
Exit codes: 0 the turn completed, 1 it failed, 5 it waits for a person, 130 it was interrupted.
  git diff | repod prompt \"review this\" --session review
  repod prompt --json \"fix the build\" | jq -r 'select(.type == \"text\").text'";

/// What is prompted, and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct PromptArgs {
    /// The prompt; read from standard input where absent
    pub(crate) text: Option<String>,
    /// A path in the repository
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// The session's name; a new session where absent
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// The model, `provider/model`
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The agent
    #[arg(long)]
    pub(crate) agent: Option<String>,
}

/// `repod sessions` alone lists them.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    command: Option<SessionsCommand>,
    #[command(flatten)]
    output: Output,
}

impl SessionsArgs {
    pub(crate) fn command(self) -> SessionsCommand {
        let list =
            || SessionsCommand::List { repo: None, closed: false, limit: 100, output: self.output };
        self.command.unwrap_or_else(list)
    }
}

/// Which session.
#[derive(Clone, Debug, Args)]
pub(crate) struct SessionAt {
    /// The session's name
    pub(crate) session: String,
    /// A path in its repository; needed when another has a session of this name
    #[arg(long, value_name = "PATH")]
    pub(crate) repo: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// Those there are, the last active first
    List {
        /// Only those of the repository this path lies in
        #[arg(long, value_name = "PATH")]
        repo: Option<PathBuf>,
        /// Closed ones too
        #[arg(long)]
        closed: bool,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// One, with its last turns
    Show {
        #[command(flatten)]
        at: SessionAt,
        #[command(flatten)]
        output: Output,
    },
    /// The turn that runs, or else the last one, from its begin to its end
    Follow {
        #[command(flatten)]
        at: SessionAt,
        #[command(flatten)]
        output: Output,
    },
    /// End what it does: one turn, or all in line
    Abort {
        #[command(flatten)]
        at: SessionAt,
        /// This turn alone, running or waiting in line
        #[arg(long, value_name = "NAME")]
        turn: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// End what it does and close it; the same name begins a new one
    Close {
        #[command(flatten)]
        at: SessionAt,
        #[command(flatten)]
        output: Output,
    },
    /// Answer what its turn asks
    Answer {
        #[command(flatten)]
        at: SessionAt,
        /// The request, as `repod prompt` shows it
        request: String,
        /// To a permission: `once`, `always` or `reject`
        #[arg(long, conflicts_with = "answers")]
        option: Option<String>,
        /// To a question: one for each of it, in order; none refuses to answer
        #[arg(long = "answer", value_name = "TEXT")]
        answers: Vec<String>,
        /// What the model is told with a rejection
        #[arg(long)]
        message: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

impl SessionsCommand {
    /// Whether JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        let (Self::List { output, .. }
        | Self::Show { output, .. }
        | Self::Follow { output, .. }
        | Self::Abort { output, .. }
        | Self::Close { output, .. }
        | Self::Answer { output, .. }) = self;
        output.json
    }
}
