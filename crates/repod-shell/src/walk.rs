//! The walk over a script's statements, with what is known of the shell at each.

use crate::assign::is_name;
use crate::reading::is_known;
use crate::state::{State, Value};
use crate::syntax::{children, parse, text, tokens};
use crate::verdict::{Out, Reason};
use crate::word::Word;
use crate::{Input, MAX_COMMAND};
use std::collections::{BTreeMap, BTreeSet};
use tree_sitter::Node;

/// Scripts within scripts (`bash -c '…'`, `eval`), and functions within functions.
const MAX_LEVEL: usize = 4;
/// Nodes within nodes.
const MAX_DEPTH: usize = 120;

/// The walk over one script.
pub(crate) struct Walk<'t, 'o> {
    pub(crate) source: &'t str,
    pub(crate) input: &'o Input<'o>,
    pub(crate) out: &'o mut Out,
    /// Functions of the script: name and body.
    pub(crate) functions: BTreeMap<String, Node<'t>>,
    /// Variables that are only ever set to numbers, and those that get other text.
    pub(crate) numbers: BTreeSet<String>,
    pub(crate) texts: BTreeSet<String>,
    pub(crate) level: usize,
    depth: usize,
    /// Ends of commands that have a lone dash as their last argument, which the grammar loses.
    pub(crate) dashes: BTreeSet<usize>,
}

/// The shell after a statement, when it succeeded and when it failed; `None`: never comes there.
pub(crate) struct Flow {
    pub(crate) ok: Option<State>,
    pub(crate) fail: Option<State>,
}

impl Flow {
    pub(crate) fn same(state: State) -> Self {
        Self { ok: Some(state.clone()), fail: Some(state) }
    }

    pub(crate) fn after(self) -> Option<State> {
        either(self.ok, self.fail)
    }
}

fn either(a: Option<State>, b: Option<State>) -> Option<State> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.or(&b)),
        (a, b) => a.or(b),
    }
}

/// Classifies a whole script into `out`.
pub(crate) fn script(input: &Input<'_>, state: &State, out: &mut Out, level: usize) {
    if level > MAX_LEVEL || input.command.len() > MAX_COMMAND {
        return out.opaque(Reason::TooMuch);
    }
    let tree = match parse(input.command) {
        Ok(tree) => tree,
        Err(why) => return out.opaque(Reason::Unparsed(why)),
    };
    let (functions, numbers, texts, dashes) = Default::default();
    let source = input.command;
    let mut walk = Walk { source, input, out, functions, numbers, texts, level, depth: 0, dashes };
    walk.survey(tree.root_node());
    walk.sequence(&tokens(tree.root_node()), state.clone());
}

impl<'t> Walk<'t, '_> {
    pub(crate) fn home(&self) -> Option<&str> {
        self.input.home.and_then(|home| home.to_str())
    }

    pub(crate) fn unparsed(&mut self, why: &'static str) {
        self.out.opaque(Reason::Unparsed(why));
    }

    /// One level deeper; false when that is too deep, or too much.
    pub(crate) fn enter(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            self.out.opaque(Reason::TooMuch);
            return false;
        }
        let on = self.out.step();
        self.depth += usize::from(on);
        on
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// What has to be known of a script before its first line: functions and number variables.
    fn survey(&mut self, root: Node<'t>) {
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            let parts = children(node);
            let name = parts.first().map_or("", |name| text(*name, self.source));
            match node.kind() {
                "function_definition" => {
                    let top = node.parent().is_some_and(|parent| parent.kind() == "program");
                    let new = !self.functions.contains_key(name);
                    match parts.last() {
                        Some(body) if top && new && is_name(name) && !is_known(name) => {
                            self.functions.insert(name.to_owned(), *body);
                        }
                        _ => self.unparsed("a function that may hide a program"),
                    }
                }
                "variable_assignment" => {
                    let number = parts.get(1).is_some_and(|value| {
                        let digits = text(*value, self.source).bytes().all(|b| b.is_ascii_digit());
                        parts.len() == 2 && (digits || value.kind() == "arithmetic_expansion")
                    });
                    let set = if number { &mut self.numbers } else { &mut self.texts };
                    set.insert(name.trim_end_matches('+').to_owned());
                }
                "for_statement" => drop(self.texts.insert(name.to_owned())),
                // `read x`, `mapfile x`, `getopts o x`: every word that may be a name.
                "command" if matches!(name, "read" | "mapfile" | "readarray" | "getopts") => {
                    let words = parts.iter().map(|word| text(*word, self.source).to_owned());
                    self.texts.extend(words);
                }
                _ => {}
            }
            stack.extend(parts);
        }
    }

    /// Statements one after the other.
    pub(crate) fn sequence(&mut self, nodes: &[Node<'t>], state: State) -> Option<State> {
        let mut now = Some(state);
        for node in nodes.iter().filter(|node| node.is_named() && node.kind() != "comment") {
            // What can't be reached is looked at all the same where we aren't sure; here we are.
            let Some(state) = now else { break };
            now = self.statement(*node, state, &[]).after();
        }
        now
    }

    /// One statement. `redirects` are those the grammar hangs around it though the shell applies
    /// them to its last command.
    pub(crate) fn statement(
        &mut self,
        node: Node<'t>,
        state: State,
        redirects: &[Node<'t>],
    ) -> Flow {
        if !self.enter() {
            return Flow::same(state);
        }
        let flow = self.statement_inner(node, state, redirects);
        self.leave();
        flow
    }

    fn statement_inner(&mut self, node: Node<'t>, state: State, redirects: &[Node<'t>]) -> Flow {
        match node.kind() {
            "command" => return self.command(node, state, redirects),
            "redirected_statement" => {
                let (mut body, mut own) = (None, Vec::new());
                for child in children(node) {
                    if child.kind().ends_with("_redirect") {
                        own.push(child);
                    } else {
                        body = Some(child);
                    }
                }
                let start = own.first().map_or(0, Node::start_byte);
                own.extend(redirects);
                if let Some(body) = body
                    && self.source.get(body.end_byte()..start).is_some_and(|gap| gap.trim() == "-")
                {
                    self.dashes.insert(body.end_byte());
                }
                let Some(body) = body else {
                    self.redirects(&own, &state);
                    return Flow::same(state);
                };
                return self.statement(body, state, &own);
            }
            "list" => return self.list(node, state, redirects),
            "pipeline" => return self.pipeline(node, &state, redirects),
            _ => self.redirects(redirects, &state),
        }
        match node.kind() {
            "subshell" => {
                self.sequence(&tokens(node), state.clone());
                Flow::same(state)
            }
            "compound_statement" if tokens(node).first().is_some_and(|t| t.kind() == "((") => {
                self.arithmetic(node, &state);
                Flow::same(state)
            }
            "compound_statement" | "do_group" | "program" => {
                let after = self.sequence(&tokens(node), state);
                Flow { ok: after.clone(), fail: after }
            }
            "negated_command" => {
                let flow = children(node).first().map(|c| self.statement(*c, state.clone(), &[]));
                let flow = flow.unwrap_or_else(|| Flow::same(state));
                Flow { ok: flow.fail, fail: flow.ok }
            }
            "variable_assignment" | "variable_assignments" => {
                let mut state = state;
                let single = node.kind() == "variable_assignment";
                let all = if single { vec![node] } else { children(node) };
                all.into_iter().for_each(|one| self.assignment(one, &mut state, false));
                Flow::same(state)
            }
            "declaration_command" => self.declaration(node, state),
            "unset_command" => self.unset(node, state),
            "test_command" => {
                self.test(node, &state);
                Flow::same(state)
            }
            "if_statement" => self.branches(node, state),
            "case_statement" => self.case(node, &state),
            "while_statement" | "for_statement" | "c_style_for_statement" => {
                let after = self.repeated(node, state);
                Flow { ok: after.clone(), fail: after }
            }
            "function_definition" => Flow::same(state),
            _ => {
                self.unparsed("a construct of another kind");
                Flow::same(state)
            }
        }
    }

    fn list(&mut self, node: Node<'t>, state: State, redirects: &[Node<'t>]) -> Flow {
        let parts = children(node);
        let all = tokens(node);
        let ([left, right], [_, operator, _]) = (parts.as_slice(), all.as_slice()) else {
            self.unparsed("a list");
            return Flow::same(state);
        };
        let (left, right, and) = (*left, *right, operator.kind() == "&&");
        let flow = self.statement(left, state, &[]);
        self.chained(flow, and, |walk, state| walk.statement(right, state, redirects))
    }

    /// `flow && next` or `flow || next`.
    pub(crate) fn chained(
        &mut self,
        flow: Flow,
        and: bool,
        next: impl FnOnce(&mut Self, State) -> Flow,
    ) -> Flow {
        let (on, past) = if and { (flow.ok, flow.fail) } else { (flow.fail, flow.ok) };
        let then = on.map_or(Flow { ok: None, fail: None }, |state| next(self, state));
        match and {
            true => Flow { ok: then.ok, fail: either(then.fail, past) },
            false => Flow { ok: either(then.ok, past), fail: then.fail },
        }
    }

    /// Every part has a shell of its own, but the last where the shell likes it so.
    fn pipeline(&mut self, node: Node<'t>, state: &State, redirects: &[Node<'t>]) -> Flow {
        let parts = children(node);
        let mut after = Some(state.clone());
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let own = if last { redirects } else { &[] };
            let flow = self.statement(*part, state.clone(), own);
            if last {
                after = either(flow.after(), after);
            }
        }
        Flow { ok: after.clone(), fail: after }
    }

    /// `$(…)`, `` `…` ``, `<(…)`: a shell of its own.
    pub(crate) fn substitution(&mut self, node: Node<'t>, state: &State) {
        let source = text(node, self.source);
        if source.starts_with('`') && source.contains('\\') {
            self.unparsed("a backslash in backticks");
        }
        let own: Vec<Node<'t>> =
            children(node).into_iter().filter(|c| c.kind().ends_with("_redirect")).collect();
        self.redirects(&own, state);
        let all = tokens(node);
        let rest: Vec<Node<'t>> =
            all.into_iter().filter(|c| !c.kind().ends_with("_redirect")).collect();
        self.sequence(&rest, state.clone());
    }

    /// Commands read by another shell: `bash -c '…'`, `eval`.
    pub(crate) fn nested(&mut self, command: &str, state: &State) {
        let unknown = |_: &str| None;
        let input = Input { command, variable: &unknown, ..*self.input };
        script(&input, state, self.out, self.level + 1);
    }

    /// `for x in words`: what x may be.
    pub(crate) fn loop_value(words: &[Word]) -> Value {
        match words {
            [Word::Fixed(one)] => Value::Known(one.clone()),
            [] => Value::Unknown,
            many if many.iter().all(|w| !w.maybe_option() && !w.prefix().starts_with('-')) => {
                Value::NoOption
            }
            _ => Value::Unknown,
        }
    }
}
