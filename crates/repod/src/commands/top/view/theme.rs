//! What is made to stand out, and how: with colours or, under `NO_COLOR`, without.

use ratatui::style::{Color, Modifier, Style};
use repod_proto::{BackendState, SessionStatus};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands::top) struct Theme {
    pub(super) title: Style,
    pub(super) dim: Style,
    pub(super) good: Style,
    pub(super) warn: Style,
    pub(super) bad: Style,
    pub(super) key: Style,
    pub(super) selected: Style,
}

impl Theme {
    pub(in crate::commands::top) fn colourful() -> Self {
        let plain = Self::plain();
        Self {
            good: Style::new().fg(Color::Green),
            warn: Style::new().fg(Color::Yellow),
            bad: Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            key: Style::new().fg(Color::Cyan),
            ..plain
        }
    }

    pub(in crate::commands::top) fn plain() -> Self {
        let with = |modifier| Style::new().add_modifier(modifier);
        Self {
            title: with(Modifier::BOLD),
            dim: with(Modifier::DIM),
            good: Style::new(),
            warn: with(Modifier::BOLD),
            bad: with(Modifier::BOLD.union(Modifier::UNDERLINED)),
            key: with(Modifier::BOLD),
            selected: with(Modifier::REVERSED),
        }
    }

    pub(super) fn state(&self, state: BackendState) -> Style {
        match state {
            BackendState::Ready => self.good,
            BackendState::Failed => self.bad,
            BackendState::Unresponsive | BackendState::Starting | BackendState::Stopping => {
                self.warn
            }
            BackendState::Stopped | BackendState::Hibernated => self.dim,
        }
    }

    pub(super) fn session(&self, status: SessionStatus) -> Style {
        match status {
            SessionStatus::Busy => self.good,
            SessionStatus::Waiting => self.warn,
            SessionStatus::Crashed => self.bad,
            SessionStatus::Idle | SessionStatus::Closed | SessionStatus::Unknown => self.dim,
        }
    }
}
