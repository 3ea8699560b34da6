//! Variables: which names may be set without changing what programs do.

use crate::state::{State, Value};
use crate::syntax::{children, text};
use crate::verdict::Reason;
use crate::walk::Walk;
use tree_sitter::Node;

/// Environment variables that only change how output looks.
const HARMLESS: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "TZ",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "TERM",
    "COLORTERM",
    "GREP_COLOR",
    "GREP_COLORS",
    "LS_COLORS",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "CI",
];

/// Shell variables that change what the shell or programs do; whole names.
const POWERFUL: &[&str] = &[
    "PATH",
    "HOME",
    "IFS",
    "ENV",
    "SHELL",
    "SHELLOPTS",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "CDPATH",
    "PWD",
    "OLDPWD",
    "TMPDIR",
    "TMP",
    "TEMP",
    "VISUAL",
    "BROWSER",
    "FPATH",
    "ZDOTDIR",
    "FUNCNEST",
    "HISTFILE",
    "GLOBIGNORE",
    "IGNOREEOF",
    "OPTIND",
    "path",
    "fpath",
    "cdpath",
    "mailpath",
    "module_path",
    "manpath",
    "functions",
    "aliases",
    "commands",
    "builtins",
    "options",
    "precmd_functions",
    "preexec_functions",
    "chpwd_functions",
    "nameref",
    "_",
];

/// And beginnings or parts of names.
const POWERFUL_PARTS: &[&str] = &[
    "GIT_",
    "LD_",
    "DYLD_",
    "BASH",
    "ZSH",
    "PYTHON",
    "PERL",
    "RUBY",
    "NODE_",
    "NPM_",
    "npm_",
    "LESS",
    "MAN",
    "RIPGREP",
    "XDG_",
    "PAGER",
    "EDITOR",
    "GREP_OPTIONS",
    "CARGO",
    "RUSTC",
    "OPENCODE",
    "REPOD",
    "TAR_OPTIONS",
    "GCONV",
    "LOCPATH",
    "MAGIC",
    "GLIBC",
    "MALLOC",
    "FZF",
    "BAT_",
    "JQ_",
    "SUDO",
    "SSH",
    "GPG",
    "PROXY",
    "AWKPATH",
    "AWKLIB",
    "POSIXLY",
    "TREE",
    "EXA_",
    "EZA_",
    "HOOK",
];

/// `[A-Za-z_][A-Za-z0-9_]*`.
pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a script may set `name` for itself.
pub(crate) fn may_set(name: &str) -> bool {
    is_name(name)
        && !POWERFUL.contains(&name)
        && !POWERFUL_PARTS.iter().any(|part| name.contains(part))
}

/// Whether programs may get `name=value` in their environment.
pub(crate) fn may_export(name: &str, value: Option<&str>) -> bool {
    let pager = name == "PAGER" || name == "GIT_PAGER";
    HARMLESS.contains(&name)
        || (name.starts_with("LC_") && is_name(name))
        || (pager && matches!(value, Some("cat" | "")))
        || (name == "GIT_OPTIONAL_LOCKS" && value == Some("0"))
}

impl<'t> Walk<'t, '_> {
    /// `name=value`; `exported` when programs see it for sure.
    pub(crate) fn assignment(&mut self, node: Node<'t>, state: &mut State, exported: bool) {
        let source = text(node, self.source);
        let (left, _) = source.split_once('=').unwrap_or((source, ""));
        let appended = left.ends_with('+');
        let name = left.trim_end_matches('+');
        let parts = children(node);
        let value = match parts.get(1..).unwrap_or_default() {
            [] => Some(Value::Known(String::new())),
            [array] if array.kind() == "array" => {
                self.expressions(*array, state);
                None
            }
            [value] => self.word(*value, state).fixed().map(|text| Value::Known(text.to_owned())),
            _ => {
                self.unparsed("an assignment");
                None
            }
        };
        let known = match &value {
            Some(Value::Known(text)) if !appended => Some(text.as_str()),
            _ => None,
        };
        let allowed = may_export(name, known) || (!exported && may_set(name));
        if !allowed && may_set(name) {
            // Nothing known reads it, but who knows what this program does with it.
            self.out.reason(Reason::Variable(name.to_owned()));
        } else if !allowed {
            self.out.opaque(Reason::Variable(name.to_owned()));
        }
        if is_name(name) {
            state.set(name, value.filter(|_| !appended).unwrap_or(Value::Unknown));
        }
    }

    /// A variable gets a value nobody knows: `read x`, `for x in …`.
    pub(crate) fn assigned(&mut self, name: &str, state: &mut State, value: Value) {
        if !may_set(name) {
            self.out.opaque(Reason::Variable(name.to_owned()));
        }
        state.set(name, value);
    }

    /// Whether `name` holds a number whenever it is read, as far as this script sets it.
    pub(crate) fn numeric(&self, name: &str) -> bool {
        !self.texts.contains(name)
            && (self.numbers.contains(name)
                || (self.input.variable)(name)
                    .is_some_and(|value| value.bytes().all(|b| b.is_ascii_digit())))
    }
}
