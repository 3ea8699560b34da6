//! Redirections: which open a file for writing.

use crate::state::State;
use crate::syntax::{children, text, tokens};
use crate::verdict::Reason;
use crate::walk::Walk;
use crate::word::Word;
use tree_sitter::Node;

impl<'t> Walk<'t, '_> {
    /// Redirections of something that takes no arguments.
    pub(crate) fn redirects(&mut self, nodes: &[Node<'t>], state: &State) {
        if !self.redirects_of(nodes, state).is_empty() {
            self.unparsed("a word after a redirection");
        }
    }

    /// Redirections; returns the words behind them, which the grammar takes for more destinations
    /// and the shell for arguments (`grep x 2>/dev/null y`).
    pub(crate) fn redirects_of(&mut self, nodes: &[Node<'t>], state: &State) -> Vec<Node<'t>> {
        let mut arguments = Vec::new();
        for node in nodes {
            match node.kind() {
                "file_redirect" => {
                    let mut words = children(*node);
                    words.retain(|word| word.kind() != "file_descriptor");
                    let mut words = words.into_iter();
                    let operator = tokens(*node)
                        .into_iter()
                        .find(|token| !token.is_named())
                        .map_or("", |token| text(token, self.source));
                    // `2>&-` closes: it has no destination, what follows are arguments.
                    if !operator.ends_with("&-") {
                        match words.next() {
                            Some(to) => self.redirect(operator, to, state),
                            None => self.unparsed("a redirection to nowhere"),
                        }
                    }
                    arguments.extend(words);
                }
                "herestring_redirect" => {
                    let mut words = children(*node);
                    words.retain(|word| word.kind() != "file_descriptor");
                    let mut words = words.into_iter();
                    if let Some(word) = words.next() {
                        self.word(word, state);
                    }
                    arguments.extend(words);
                }
                "heredoc_redirect" => self.heredoc(*node, state),
                _ => self.unparsed("a redirection of another kind"),
            }
        }
        arguments
    }

    fn redirect(&mut self, operator: &str, to: Node<'t>, state: &State) {
        let word = self.word(to, state);
        let shown = text(to, self.source);
        let digits = |text: &str| {
            let text = text.strip_suffix('-').unwrap_or(text);
            text.bytes().all(|b| b.is_ascii_digit())
        };
        match operator {
            "<" => {}
            "<&" | ">&" if word.fixed().is_some_and(digits) => {}
            ">" | ">>" | ">|" | "&>" | "&>>" | ">&" | "<>" => {
                if !word.fixed().is_some_and(is_sink) {
                    self.writes(&word, state, false);
                    self.out.reason(Reason::Redirect(shown.to_owned()));
                }
            }
            "<&" => self.unparsed("a descriptor from a variable"),
            _ => self.unparsed("a redirection of another kind"),
        }
        if let (Word::Open { .. }, true) = (&word, operator == "<&") {
            self.unparsed("a descriptor from a variable");
        }
    }
}

/// What swallows or shows, and keeps nothing.
pub(crate) fn is_sink(path: &str) -> bool {
    matches!(path, "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/tty" | "/dev/zero")
        || path
            .strip_prefix("/dev/fd/")
            .is_some_and(|fd| !fd.is_empty() && fd.bytes().all(|b| b.is_ascii_digit()))
}
