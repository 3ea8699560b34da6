//! Heredocs: text for a command's input, and a place where a parser and a shell easily disagree.

use crate::state::State;
use crate::syntax::{text, tokens};
use crate::walk::{Flow, Walk};
use tree_sitter::Node;

impl<'t> Walk<'t, '_> {
    /// A heredoc with what the grammar hangs below it: the rest of the line.
    pub(crate) fn heredoc(&mut self, node: Node<'t>, state: &State) {
        let (mut tabs, mut and) = (false, true);
        let (mut delimiter, mut quoted) = (String::new(), false);
        let (mut body, mut end) = ("", "");
        for token in tokens(node) {
            let source = text(token, self.source);
            match token.kind() {
                "<<" | "comment" => {}
                "<<-" => tabs = true,
                "&&" => and = true,
                "||" => and = false,
                "heredoc_start" => {
                    quoted = source.contains(['\'', '"', '\\']);
                    delimiter = source.replace(['\'', '"', '\\'], "");
                    let simple = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if delimiter.is_empty() || !delimiter.chars().all(simple) {
                        self.unparsed("a heredoc's end mark");
                    }
                }
                "heredoc_body" => {
                    body = source;
                    if !quoted {
                        self.body(token, state);
                    }
                }
                "heredoc_end" => end = source,
                "file_redirect" => self.redirects(&[token], state),
                "pipeline"
                | "command"
                | "redirected_statement"
                | "list"
                | "subshell"
                | "compound_statement"
                | "test_command"
                | "negated_command" => {
                    // What comes before it on the line is walked already; its success is unknown.
                    let flow = Flow::same(state.clone());
                    self.chained(flow, and, |walk, state| walk.statement(token, state, &[]));
                }
                "\n" => {}
                _ => self.unparsed("a heredoc with more on its line"),
            }
        }
        let line = |line: &str| {
            let line = if tabs { line.trim_start_matches('\t') } else { line };
            line == delimiter
        };
        if body.lines().any(line) || end.trim_start_matches('\t') != delimiter {
            self.unparsed("a heredoc's end");
        }
    }

    /// The text of an unquoted heredoc: expansions are as in a string.
    fn body(&mut self, node: Node<'t>, state: &State) {
        let mut at = node.start_byte();
        let mut literals = Vec::new();
        for part in tokens(node) {
            if part.kind() == "heredoc_content" {
                continue;
            }
            literals.push(self.source.get(at..part.start_byte()).unwrap_or("`"));
            self.expressions(part, state);
            at = part.end_byte();
        }
        literals.push(self.source.get(at..node.end_byte()).unwrap_or("`"));
        if literals.into_iter().any(crate::syntax::hides_expansion) {
            self.unparsed("a heredoc with a hidden expansion");
        }
    }
}
