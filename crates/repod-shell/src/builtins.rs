//! What the shell does itself: moving about, variables, control.

use crate::assign::{is_name, may_set};
use crate::options::words;
use crate::state::{State, Value};
use crate::syntax::{children, text};
use crate::verdict::Reason;
use crate::walk::{Flow, Walk};
use crate::word::Word;
use tree_sitter::Node;

/// Builtins with a meaning of their own here; no function may have such a name.
pub(crate) const BUILTINS: &[&str] = &[
    "cd",
    "pushd",
    "popd",
    "dirs",
    "exit",
    "return",
    "break",
    "continue",
    "set",
    "shopt",
    "read",
    "mapfile",
    "readarray",
    "shift",
    "getopts",
    "wait",
    "jobs",
    "ulimit",
    "source",
    ".",
    "eval",
    "trap",
    "alias",
    "unalias",
    "hash",
    "type",
    "let",
    "history",
    "kill",
    "umask",
    "exec",
    "command",
    "builtin",
    "enable",
    "export",
    "declare",
    "local",
    "typeset",
    "readonly",
    "unset",
    "printf",
    "echo",
    "test",
    "[",
    "true",
    "false",
    ":",
    "pwd",
    "bg",
    "fg",
    "disown",
    "suspend",
    "complete",
    "compgen",
    "bind",
    "caller",
    "times",
    "logout",
    "coproc",
    "time",
    "function",
];

/// A builtin's effect; `None` when `name` is none that is special.
pub(crate) fn builtin(
    walk: &mut Walk<'_, '_>,
    name: &str,
    args: &[Word],
    state: &State,
) -> Option<Flow> {
    let same = || Some(Flow::same(state.clone()));
    let words = words(args);
    match name {
        "cd" | "pushd" => Some(moved(walk, name, args, state)),
        "popd" => Some(Flow { ok: Some(state.moved(None)), fail: Some(state.clone()) }),
        "exit" | "logout" => Some(Flow { ok: None, fail: None }),
        "true" | ":" => Some(Flow { ok: Some(state.clone()), fail: None }),
        "false" => Some(Flow { ok: None, fail: Some(state.clone()) }),
        "return" | "break" | "continue" | "set" | "shift" | "wait" | "jobs" | "dirs" | "times" => {
            same()
        }
        "shopt"
            if words.iter().all(|word| {
                matches!(
                    *word,
                    "-s" | "-u"
                        | "-q"
                        | "-p"
                        | "globstar"
                        | "nullglob"
                        | "extglob"
                        | "dotglob"
                        | "failglob"
                        | "nocaseglob"
                        | "nocasematch"
                )
            }) =>
        {
            same()
        }
        "ulimit" if words.iter().all(|word| matches!(*word, "-a" | "-n" | "-S" | "-H")) => same(),
        "type" | "hash"
            if words
                .iter()
                .all(|word| !word.starts_with('-') || *word == "-a" || *word == "-t") =>
        {
            same()
        }
        "test" => {
            if args.iter().any(|word| matches!(word.fixed(), Some("-v" | "-R"))) {
                walk.option(name, "-v", state);
            }
            same()
        }
        "printf" => {
            if args
                .first()
                .is_some_and(|word| word.prefix().starts_with("-v") || word.maybe_option())
            {
                walk.option(name, "-v", state);
            }
            same()
        }
        "read" | "mapfile" | "readarray" | "getopts" => Some(reads(walk, name, args, state)),
        "eval" => {
            match args.iter().map(Word::fixed).collect::<Option<Vec<&str>>>() {
                Some(parts) => {
                    walk.nested(&parts.join(" "), state);
                    // What it did to the shell itself isn't followed.
                    if parts.iter().any(|part| part.contains("cd") || part.contains('=')) {
                        walk.unparsed("`eval` that changes the shell");
                    }
                }
                None => walk.runs_opaque(state, Reason::Dynamic(name.to_owned())),
            }
            same()
        }
        "exec" if args.is_empty() => same(),
        _ => None,
    }
}

fn moved(walk: &mut Walk<'_, '_>, name: &str, args: &[Word], state: &State) -> Flow {
    let mut places =
        args.iter().filter(|word| !matches!(word.fixed(), Some("-L" | "-P" | "--" | "-e")));
    let physical = args.iter().any(|word| word.fixed() == Some("-P"));
    let to = match (places.next(), places.next()) {
        (None, None) if name == "cd" => walk.home().map(str::to_owned),
        // After `-P`, `..` goes where links lead.
        (Some(Word::Fixed(to)), None) if physical && to.contains("..") => None,
        (Some(Word::Fixed(to)), None) if !to.starts_with(['-', '+']) && !to.is_empty() => {
            Some(to.clone())
        }
        _ => None,
    };
    let mut ok = state.moved(to.as_deref());
    ok.set("OLDPWD", Value::Unknown);
    Flow { ok: Some(ok), fail: Some(state.clone()) }
}

/// `read x y`: sets variables from input.
fn reads(walk: &mut Walk<'_, '_>, name: &str, args: &[Word], state: &State) -> Flow {
    let mut after = state.clone();
    let mut skip = false;
    for (at, word) in args.iter().enumerate() {
        match word.fixed() {
            _ if skip => skip = false,
            Some("-p" | "-n" | "-N" | "-t" | "-d" | "-u" | "-i" | "-s") if name == "read" => {
                skip = word.fixed() != Some("-s");
            }
            Some("-r" | "-e" | "-rs" | "-ra" | "-a" | "-s" | "-t" | "-d") => {}
            // `read -r -d ''` is often written `-rd ''`.
            Some("-rd" | "-rp" | "-rn" | "-rt") => skip = true,
            Some("") => {}
            Some(_) if name == "getopts" && at == 0 => {}
            Some(text) if is_name(text) => walk.assigned(text, &mut after, Value::Unknown),
            _ => walk.option(name, word.prefix(), state),
        }
    }
    Flow::same(after)
}

impl<'t> Walk<'t, '_> {
    /// `export`, `declare`, `local`, `readonly`, `typeset`.
    pub(crate) fn declaration(&mut self, node: Node<'t>, mut state: State) -> Flow {
        let exported = text(node, self.source).starts_with("export");
        for child in children(node) {
            let source = text(child, self.source);
            match child.kind() {
                "variable_assignment" => {
                    // `declare -x` comes as a word before it.
                    let exported = exported || text(node, self.source).contains(" -");
                    self.assignment(child, &mut state, exported);
                }
                "variable_name" if may_set(source) || self.exportable(source) => {}
                "word" if matches!(source, "-r" | "-x" | "-a" | "-A" | "-g" | "-p" | "-rx") => {}
                _ => {
                    self.expressions(child, &state);
                    self.out.opaque(Reason::Variable(source.to_owned()));
                }
            }
        }
        Flow::same(state)
    }

    fn exportable(&self, name: &str) -> bool {
        crate::assign::may_export(name, None)
    }

    pub(crate) fn unset(&mut self, node: Node<'t>, mut state: State) -> Flow {
        for child in children(node) {
            let name = text(child, self.source);
            if child.kind() != "variable_name" || !may_set(name) {
                self.out.opaque(Reason::Variable(name.to_owned()));
            }
            state.set(name, Value::Unknown);
        }
        Flow::same(state)
    }

    /// `[ … ]` and `[[ … ]]`. In the latter `-eq` and its like evaluate text as arithmetic, where
    /// `a[$(cmd)]` runs `cmd`, and so does `-v`.
    pub(crate) fn test(&mut self, node: Node<'t>, state: &State) {
        let mut stack = children(node);
        while let Some(part) = stack.pop() {
            let source = text(part, self.source);
            if part.kind() == "test_operator" && matches!(source, "-v" | "-R") {
                self.unparsed("a test that may run code");
            }
            let numeric = matches!(source, "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge");
            if numeric
                && part.kind() == "test_operator"
                && let Some(parent) = part.parent()
            {
                self.numbers_only(parent);
            }
            if part.kind() == "binary_expression"
                || part.kind() == "unary_expression"
                || part.kind() == "parenthesized_expression"
            {
                stack.extend(children(part));
            }
        }
        children(node).into_iter().for_each(|part| self.expressions(part, state));
    }

    /// The operands of a numeric comparison: what may hold `a[$(cmd)]`?
    fn numbers_only(&mut self, comparison: Node<'t>) {
        let double = self.source.get(..comparison.start_byte()).unwrap_or_default();
        let double = double.trim_end().ends_with("[[") || double.rfind("[[") > double.rfind("]]");
        for operand in children(comparison) {
            let source = text(operand, self.source);
            let variable = source.trim_matches(['"', '$', '{', '}']);
            let number =
                source.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b.is_ascii_lowercase());
            let harmless = number
                || operand.kind() == "test_operator"
                || matches!(source, "$#" | "$?" | "\"$#\"" | "\"$?\"")
                || (variable.starts_with('#') && is_name(variable.trim_start_matches('#')))
                || self.numeric(variable);
            // `[` takes numbers only; what else it is given is an error.
            if !harmless && (double || source.contains('[')) {
                self.unparsed("a comparison that may run code");
            }
        }
    }
}
