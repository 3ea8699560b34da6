//! One word of a command line, as far as it is known before the shell runs.

use crate::state::{State, Value};
use crate::syntax::{hides_expansion, text, tokens};
use crate::verdict::{Dir, Reason, Target};
use crate::walk::Walk;
use std::path::PathBuf;
use tree_sitter::Node;

/// A word after expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Exactly this one argument.
    Fixed(String),
    /// Known only to begin with `prefix`; perhaps none or several arguments.
    Open {
        prefix: String,
        /// It may begin with a dash.
        option: bool,
        /// It may be an absolute path, or lead out of where it seems to begin.
        anywhere: bool,
    },
}

impl Word {
    /// Nothing is known of it.
    pub(crate) const ANY: Self = Self::Open { prefix: String::new(), option: true, anywhere: true };

    pub(crate) fn fixed(&self) -> Option<&str> {
        match self {
            Self::Fixed(text) => Some(text),
            Self::Open { .. } => None,
        }
    }

    /// What it is sure to begin with.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Open { prefix, .. } => prefix,
        }
    }

    /// Whether it may be an option nobody has looked at.
    pub(crate) fn maybe_option(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Open { prefix, option, .. } => *option || prefix.starts_with('-'),
        }
    }

    /// The files it may name when the shell is where `state` says.
    pub(crate) fn targets(&self, state: &State, tree: bool) -> Vec<Target> {
        let text = match self {
            Self::Fixed(text) => text,
            Self::Open { anywhere: true, .. } => return vec![Target::Dynamic { below: None }],
            // What is known may end within a name.
            Self::Open { prefix, .. } => match prefix.rfind('/') {
                Some(0) => "/",
                Some(end) => prefix.get(..end).unwrap_or_default(),
                None => ".",
            },
        };
        let of = |path: Option<PathBuf>| match (self, path) {
            (Self::Fixed(_), Some(path)) if tree => Target::Tree(path),
            (Self::Fixed(_), Some(path)) => Target::File(path),
            (_, below) => Target::Dynamic { below },
        };
        state.paths(text).into_iter().map(of).collect()
    }
}

/// A word in the making: characters with whether they were quoted, until it is no longer known.
#[derive(Default)]
struct Maker {
    chars: Vec<(char, bool)>,
    open: bool,
    /// The unknown part at the word's begin may be anything, a dash included.
    wild: bool,
    anywhere: bool,
}

impl Maker {
    fn push(&mut self, literal: &str, quoted: bool) {
        if !self.open {
            self.chars.extend(literal.chars().map(|c| (c, quoted)));
        }
    }

    fn unknown(&mut self, no_option: bool) {
        if !self.open {
            self.open = true;
            self.anywhere = self.chars.is_empty();
            self.wild = self.anywhere && !no_option;
        }
    }

    /// Tilde, globs and braces, then the word.
    fn finish(mut self, walk: &Walk<'_, '_>) -> Word {
        let plain = |at: usize, c: char| self.chars.get(at) == Some(&(c, false));
        if plain(0, '~') {
            match (plain(1, '/') || self.chars.len() == 1 && !self.open, walk.home()) {
                (true, Some(home)) => {
                    let home: Vec<(char, bool)> = home.chars().map(|c| (c, true)).collect();
                    self.chars.splice(0..1, home);
                }
                // Someone's home: absolute, but who knows where.
                _ => return Word::ANY,
            }
        }
        let special = |&(c, quoted): &(char, bool)| !quoted && matches!(c, '*' | '?' | '[');
        let mut end = self.chars.iter().position(special);
        let rest: String = self.chars.iter().filter(|(_, q)| !q).map(|(c, _)| *c).collect();
        if rest.contains('{') && (rest.contains(',') || rest.contains("..") || self.open) {
            let brace = self.chars.iter().position(|&(c, quoted)| c == '{' && !quoted);
            // `{-a,b}`: what a brace begins may be an option.
            self.wild |= brace == Some(0);
            self.anywhere |= brace == Some(0);
            end = end.into_iter().chain(brace).min();
        }
        let open = self.open || end.is_some();
        let text = self.chars.iter().take(end.unwrap_or(usize::MAX)).map(|(c, _)| *c).collect();
        if open {
            Word::Open { prefix: text, option: self.wild, anywhere: self.anywhere }
        } else {
            Word::Fixed(text)
        }
    }
}

impl<'t> Walk<'t, '_> {
    /// Expands one word as far as it goes; substitutions in it are walked.
    pub(crate) fn word(&mut self, node: Node<'t>, state: &State) -> Word {
        let mut maker = Maker::default();
        self.part(node, state, &mut maker, false);
        maker.finish(self)
    }

    fn part(&mut self, node: Node<'t>, state: &State, maker: &mut Maker, quoted: bool) {
        if !self.enter() {
            return;
        }
        let source = text(node, self.source);
        match node.kind() {
            "word"
            | "number"
            | "variable_name"
            | "special_variable_name"
            | "test_operator"
            | "file_descriptor" => self.bare(source, maker),
            "raw_string" => {
                let inner = source.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                match inner {
                    Some(inner) if !inner.contains('\'') => maker.push(inner, true),
                    _ => self.unparsed("a quoted word"),
                }
            }
            "string" => self.string(node, state, maker),
            "concatenation" => {
                let mut at = node.start_byte();
                for part in tokens(node) {
                    if part.start_byte() != at {
                        self.unparsed("a word in pieces");
                    }
                    at = part.end_byte();
                    self.part(part, state, maker, quoted);
                }
            }
            "simple_expansion" | "expansion" => match self.expansion(node, state) {
                Some(Value::Known(value)) if quoted => maker.push(&value, true),
                // Unquoted it is split and globbed.
                Some(Value::Known(value))
                    if !value.is_empty()
                        && !value.contains(|c: char| c.is_whitespace() || "*?[\\".contains(c)) =>
                {
                    maker.push(&value, true);
                }
                Some(Value::NoOption) => maker.unknown(true),
                _ => maker.unknown(false),
            },
            "command_substitution" => {
                self.substitution(node, state);
                match state.only_cwd().and_then(|dir| dir.to_str()) {
                    Some(dir) if source == "$(pwd)" => maker.push(dir, true),
                    _ => maker.unknown(false),
                }
            }
            "process_substitution" => {
                self.substitution(node, state);
                maker.unknown(true);
            }
            "arithmetic_expansion" => {
                self.arithmetic(node, state);
                maker.unknown(true);
            }
            "brace_expression" => maker.unknown(true),
            "ansi_c_string" => match source.strip_prefix("$'").and_then(|s| s.strip_suffix('\'')) {
                Some(inner) if !inner.contains('\\') => maker.push(inner, true),
                _ => maker.unknown(false),
            },
            // Punctuation within a concatenation.
            _ if node.child_count() == 0 && !hides_expansion(source) => self.bare(source, maker),
            _ => {
                self.expressions(node, state);
                maker.unknown(false);
            }
        }
        self.leave();
    }

    /// Unquoted text: a backslash quotes what follows it.
    fn bare(&mut self, source: &str, maker: &mut Maker) {
        if hides_expansion(source) {
            self.unparsed("a word with a hidden expansion");
        }
        let mut chars = source.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('\n') | None => {}
                    Some(next) => maker.push(next.encode_utf8(&mut [0; 4]), true),
                },
                '\'' | '"' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => {
                    self.unparsed("an operator within a word");
                }
                c => maker.push(c.encode_utf8(&mut [0; 4]), false),
            }
        }
    }

    /// `"…"`: literal text is what lies between the expansions.
    fn string(&mut self, node: Node<'t>, state: &State, maker: &mut Maker) {
        let mut at = node.start_byte() + 1;
        let end = node.end_byte().saturating_sub(1);
        for part in tokens(node) {
            let literal = part.kind() == "string_content" || !part.is_named();
            if literal || part.start_byte() < at {
                continue;
            }
            self.quoted(at, part.start_byte(), maker);
            self.part(part, state, maker, true);
            at = part.end_byte();
        }
        self.quoted(at, end, maker);
        // `""` is an argument too.
        maker.push("", true);
    }

    fn quoted(&mut self, from: usize, to: usize, maker: &mut Maker) {
        let literal = self.source.get(from..to).unwrap_or("`");
        if hides_expansion(literal) {
            self.unparsed("a string with a hidden expansion");
        }
        let mut chars = literal.chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek().copied()) {
                ('\\', Some('\n')) => drop(chars.next()),
                ('\\', Some(next @ ('"' | '\\' | '$' | '`'))) => {
                    maker.push(next.encode_utf8(&mut [0; 4]), true);
                    chars.next();
                }
                ('"', _) => self.unparsed("a string within a string"),
                (c, _) => maker.push(c.encode_utf8(&mut [0; 4]), true),
            }
        }
    }

    /// Records a file that is written.
    pub(crate) fn writes(&mut self, word: &Word, state: &State, tree: bool) {
        for target in word.targets(state, tree) {
            self.out.writes(target);
        }
    }

    /// A program runs that writes here, or may.
    pub(crate) fn runs(&mut self, state: &State, reason: Reason) {
        let dirs: Vec<Dir> = state.dirs().collect();
        dirs.into_iter().for_each(|dir| self.out.runs_in(dir));
        self.out.reason(reason);
    }

    /// A program of which nobody knows what it writes; most write where they are.
    pub(crate) fn runs_opaque(&mut self, state: &State, reason: Reason) {
        self.out.opaque(reason.clone());
        self.runs(state, reason);
        state.here().into_iter().for_each(|target| self.out.writes(target));
    }
}
