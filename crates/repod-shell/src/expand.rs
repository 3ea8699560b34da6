//! Expansions: which are harmless, which run code, which are known beforehand.
//!
//! `${x@P}`, `${!x}`, `${a[i]}`, `$((x))` evaluate the *contents* of variables, where `a[$(cmd)]`
//! runs `cmd`: the way past the lists of several agents. Only plain forms pass.

use crate::assign::is_name;
use crate::state::{State, Value};
use crate::syntax::{children, hides_expansion, text, tokens};
use crate::walk::Walk;
use tree_sitter::Node;

/// What may follow the name in `${name…}`.
const OPERATORS: &[&str] =
    &[":-", "-", ":+", "+", "##", "#", "%%", "%", "//", "/", "^^", "^", ",,", ","];

impl<'t> Walk<'t, '_> {
    /// The value of `$x` or `${x…}`; `None` when it isn't known.
    pub(crate) fn expansion(&mut self, node: Node<'t>, state: &State) -> Option<Value> {
        let source = text(node, self.source);
        if let Some(name) = source.strip_prefix('$').filter(|name| is_name(name)) {
            return self.value(name, state);
        }
        let inner = source.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
        let Some(inner) = inner else {
            // `$1`, `$@`, `$?`, `$$`, …
            if !matches!(source.len(), 2) || node.kind() != "simple_expansion" {
                self.unparsed("an expansion");
            }
            return None;
        };
        if is_name(inner) {
            return self.value(inner, state);
        }
        for child in children(node) {
            self.expressions(child, state);
        }
        if !plain(inner) {
            self.unparsed("an expansion that may run code");
        }
        None
    }

    fn value(&self, name: &str, state: &State) -> Option<Value> {
        if let Some(value) = state.var(name) {
            return Some(value.clone());
        }
        match name {
            "HOME" => self.home().map(|home| Value::Known(home.to_owned())),
            "PWD" => state
                .only_cwd()
                .and_then(|dir| dir.to_str())
                .map(|dir| Value::Known(dir.to_owned())),
            "OLDPWD" | "RANDOM" | "SECONDS" | "LINENO" | "_" => None,
            name => (self.input.variable)(name).map(Value::Known),
        }
    }

    /// Everything that is evaluated within `node`, which isn't a word of its own: heredocs, tests,
    /// patterns, arrays.
    pub(crate) fn expressions(&mut self, node: Node<'t>, state: &State) {
        if !self.enter() {
            return;
        }
        match node.kind() {
            "command_substitution" | "process_substitution" => self.substitution(node, state),
            "expansion" | "simple_expansion" => drop(self.expansion(node, state)),
            "arithmetic_expansion" => self.arithmetic(node, state),
            "raw_string" | "ansi_c_string" => {}
            "string" | "concatenation" => drop(self.word(node, state)),
            _ => {
                let tokens = tokens(node);
                if tokens.is_empty() && hides_expansion(text(node, self.source)) {
                    self.unparsed("a hidden expansion");
                }
                tokens.into_iter().for_each(|token| self.expressions(token, state));
            }
        }
        self.leave();
    }

    /// `$((…))`, `((…))`: numbers, operators, and variables that hold numbers.
    pub(crate) fn arithmetic(&mut self, node: Node<'t>, state: &State) {
        let source = text(node, self.source);
        let body: String = source.split_whitespace().collect();
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "_$+-*/%()<>=!&|^~?:,{}".contains(c));
        // `$[…]` is the old way to write it, and not always parsed as such.
        if body.contains(odd) || body.contains("$(") && !body.starts_with("$((") {
            return self.unparsed("arithmetic that may run code");
        }
        let names = body.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in names.filter(|name| is_name(name)) {
            if !self.numeric(name) {
                return self.unparsed("arithmetic with a variable that may hold code");
            }
            let _ = state;
        }
    }
}

/// Whether `${inner}` only looks: a length, a default, a cut, a replacement.
fn plain(inner: &str) -> bool {
    if let Some(name) = inner.strip_prefix('#') {
        return is_name(name) || elements(name);
    }
    let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, mut rest) = inner.split_at(end);
    if !(is_name(name) || (!name.is_empty() && name.chars().all(|c| c.is_ascii_digit()))) {
        return false;
    }
    if rest.starts_with('[') {
        let Some(close) = rest.find(']') else { return false };
        if !elements(&inner[..end + close + 1]) {
            return false;
        }
        rest = &rest[close + 1..];
    }
    if rest.is_empty() || OPERATORS.iter().any(|operator| rest.starts_with(operator)) {
        return true;
    }
    // `${x:1:2}`, with numbers only.
    rest.starts_with(':')
        && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | ' ' | '-'))
}

/// `name[@]`, `name[*]`, `name[3]`.
fn elements(text: &str) -> bool {
    let Some((name, index)) = text.strip_suffix(']').and_then(|text| text.split_once('[')) else {
        return false;
    };
    let number = !index.is_empty() && index.chars().all(|c| c.is_ascii_digit());
    is_name(name) && (number || index == "@" || index == "*")
}
