//! `if`, `case` and loops.

use crate::state::State;
use crate::syntax::{children, text, tokens};
use crate::walk::{Flow, Walk};
use tree_sitter::Node;

impl<'t> Walk<'t, '_> {
    /// `if … then … elif … else … fi`.
    pub(crate) fn branches(&mut self, node: Node<'t>, state: State) -> Flow {
        let (mut condition, mut body) = (Vec::new(), Vec::new());
        let mut others = Vec::new();
        let mut then = false;
        for token in tokens(node) {
            match token.kind() {
                "then" => then = true,
                "elif_clause" | "else_clause" => others.push(token),
                _ if then => body.push(token),
                _ => condition.push(token),
            }
        }
        let (yes, mut no) = self.condition(&condition, state);
        let mut ends: Vec<Option<State>> = vec![yes.and_then(|yes| self.sequence(&body, yes))];
        for other in others {
            let Some(state) = no.take() else { break };
            if other.kind() == "else_clause" {
                ends.push(self.sequence(&tokens(other), state));
                continue;
            }
            let all = tokens(other);
            let at = all.iter().position(|t| t.kind() == "then").unwrap_or(all.len());
            let (condition, body) = all.split_at(at);
            let (yes, next) = self.condition(condition, state);
            ends.push(yes.and_then(|yes| self.sequence(body, yes)));
            no = next;
        }
        let after = ends.into_iter().fold(no, join);
        Flow { ok: after.clone(), fail: after }
    }

    /// Statements of which the last one's success decides.
    fn condition(&mut self, nodes: &[Node<'t>], state: State) -> (Option<State>, Option<State>) {
        let named: Vec<Node<'t>> =
            nodes.iter().copied().filter(|n| n.is_named() && n.kind() != "comment").collect();
        let Some((last, first)) = named.split_last() else {
            return (Some(state.clone()), Some(state));
        };
        let Some(state) = self.sequence(first, state) else { return (None, None) };
        let flow = self.statement(*last, state, &[]);
        (flow.ok, flow.fail)
    }

    pub(crate) fn case(&mut self, node: Node<'t>, state: &State) -> Flow {
        let mut after = Some(state.clone());
        for part in children(node) {
            if part.kind() != "case_item" {
                self.expressions(part, state);
                continue;
            }
            let mut cursor = part.walk();
            let values: Vec<usize> =
                part.children_by_field_name("value", &mut cursor).map(|v| v.id()).collect();
            let mut body = Vec::new();
            for child in tokens(part) {
                if values.contains(&child.id()) {
                    self.expressions(child, state);
                } else {
                    body.push(child);
                }
            }
            // `;&` falls through into the next item, which then starts from either state.
            let from = after.clone().unwrap_or_else(|| state.clone()).or(state);
            after = join(self.sequence(&body, from), after);
        }
        Flow { ok: after.clone(), fail: after }
    }

    /// Loops: the body is walked with what it may leave behind, too.
    pub(crate) fn repeated(&mut self, node: Node<'t>, mut state: State) -> Option<State> {
        let mut head = Vec::new();
        let mut body = Vec::new();
        for token in tokens(node) {
            match token.kind() {
                "do_group" | "compound_statement" => body.push(token),
                _ if token.is_named() && token.kind() != "comment" => head.push(token),
                _ => {}
            }
        }
        match node.kind() {
            "for_statement" => {
                let name = head.first().map_or("", |name| text(*name, self.source));
                let words: Vec<_> =
                    head.iter().skip(1).map(|word| self.word(*word, &state)).collect();
                let value = Self::loop_value(&words);
                self.assigned(name, &mut state, value);
                head.clear();
            }
            "c_style_for_statement" => {
                for part in head.drain(..) {
                    match part.kind() {
                        "variable_assignment" => self.assignment(part, &mut state, false),
                        _ => self.arithmetic(part, &state),
                    }
                }
                // Its variable counts.
                let counted: Vec<String> = self.numbers.iter().cloned().collect();
                for name in counted {
                    state.set(&name, crate::state::Value::NoOption);
                }
            }
            _ => {}
        }
        let before = state.clone();
        let once = self.round(&head, &body, state);
        match once {
            Some(once) if once != before => {
                let wide = before.widened(&once);
                let twice = self.round(&head, &body, wide.clone());
                join(twice, Some(wide))
            }
            other => join(other, Some(before)),
        }
    }

    fn round(&mut self, head: &[Node<'t>], body: &[Node<'t>], state: State) -> Option<State> {
        let state = self.sequence(head, state)?;
        self.sequence(body, state)
    }
}

fn join(a: Option<State>, b: Option<State>) -> Option<State> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.or(&b)),
        (a, b) => a.or(b),
    }
}
