//! One simple command: its words are put together and the program decides who judges it.

use crate::options::words;
use crate::state::State;
use crate::syntax::{children, text, tokens};
use crate::verdict::Reason;
use crate::walk::{Flow, Walk};
use crate::word::Word;
use crate::{builtins, git, reading, tools, wrappers, writers};
use tree_sitter::Node;

/// Where the system's own programs live; a program elsewhere is only known by its path.
const SYSTEM_DIRS: &[&str] =
    &["/bin/", "/usr/bin/", "/usr/local/bin/", "/sbin/", "/usr/sbin/", "/opt/homebrew/bin/"];

impl<'t> Walk<'t, '_> {
    pub(crate) fn command(&mut self, node: Node<'t>, state: State, outer: &[Node<'t>]) -> Flow {
        let mut set = state.clone();
        let (mut name, mut arguments, mut redirects) = (None, Vec::new(), Vec::new());
        for child in children(node) {
            match child.kind() {
                "variable_assignment" => self.assignment(child, &mut set, true),
                "command_name" => name = child.named_child(0).or(Some(child)),
                kind if kind.ends_with("_redirect") => redirects.push(child),
                _ => arguments.push(child),
            }
        }
        // Named children may be missing where the name is punctuation, as in `$` alone.
        let Some(name) = name else {
            self.unparsed("a command without a name");
            return Flow::same(state);
        };
        redirects.extend(outer);
        arguments.extend(self.redirects_of(&redirects, &state));
        arguments.sort_by_key(|argument| argument.start_byte());
        let odd = |token: &Node<'t>| {
            !token.is_named() && !matches!(token.kind(), "==" | "=~" | "=" | "$" | "(" | ")")
        };
        let operator = tokens(node).into_iter().find(odd);
        if operator.is_some_and(|token| !text(token, self.source).is_empty()) {
            self.unparsed("an operator in a command");
        }
        let mut all = vec![self.word(name, &state)];
        for argument in arguments {
            all.push(self.word(argument, &state));
        }
        if self.dashes.contains(&node.end_byte()) {
            all.push(Word::Fixed("-".into()));
        }
        self.simple(&all, state)
    }

    /// A command given as words: from the text, or what a wrapper runs.
    pub(crate) fn simple(&mut self, all: &[Word], state: State) -> Flow {
        if !self.enter() {
            return Flow::same(state);
        }
        let flow = self.judge(all, state);
        self.leave();
        flow
    }

    fn judge(&mut self, all: &[Word], state: State) -> Flow {
        let Some((name, args)) = all.split_first() else { return Flow::same(state) };
        let Some(given) = name.fixed() else {
            let shown = format!("{}…", name.prefix());
            self.runs_opaque(&state, Reason::Dynamic(shown));
            return Flow::same(state);
        };
        if let Some(body) = self.functions.get(given).copied() {
            return self.statement(body, state, &[]);
        }
        let system = SYSTEM_DIRS.iter().find_map(|dir| given.strip_prefix(dir));
        let program = system.unwrap_or(given);
        if program.contains('/') {
            self.runs_opaque(&state, Reason::Unknown(given.to_owned()));
            return Flow::same(state);
        }
        if let Some(flow) = builtins::builtin(self, program, args, &state) {
            return flow;
        }
        let judged = version_only(program, args)
            || wrappers::wrapper(self, program, args, &state)
            || git::git(self, program, args, &state)
            || tools::tool(self, program, args, &state)
            || reading::reading(self, program, args, &state)
            || writers::writer(self, program, args, &state);
        if !judged {
            self.runs_opaque(&state, Reason::Unknown(program.to_owned()));
        }
        Flow::same(state)
    }

    /// A reading program that has been given `argument`.
    pub(crate) fn option(&mut self, program: &str, argument: &str, state: &State) {
        let (program, argument) = (program.to_owned(), argument.to_owned());
        self.runs_opaque(state, Reason::Option { program, argument });
    }
}

/// `cargo --version`: programs that say who they are when asked for nothing else.
fn version_only(program: &str, args: &[Word]) -> bool {
    let known = [
        "bash", "bun", "bundle", "cargo", "cc", "clang", "cmake", "deno", "docker", "dotnet",
        "g++", "gcc", "go", "java", "javac", "kubectl", "make", "node", "npm", "npx", "opencode",
        "perl", "php", "pip", "pip3", "pnpm", "python", "python3", "ruby", "rustc", "rustup",
        "tsc", "yarn", "zsh", "gh",
    ];
    let words = words(args);
    known.contains(&program)
        && match words.as_slice() {
            ["--version" | "--help"] => true,
            ["-V"] => matches!(program, "cargo" | "rustc" | "python" | "python3"),
            ["-v"] => matches!(program, "node" | "npm" | "pnpm" | "yarn" | "bun"),
            ["version"] => program == "go",
            _ => false,
        }
}
