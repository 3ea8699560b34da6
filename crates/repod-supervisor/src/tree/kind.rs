//! What a child of a backend is for, told from its command line.
//!
//! A guess for people to look at, nothing is decided by it: OpenCode says of none of its children
//! what they are, and both language and MCP servers are programs of anybody's.

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lsp,
    Mcp,
    Shell,
    Other,
}

const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "fish", "ksh", "nu", "pwsh", "busybox"];

/// Language servers whose name does not say so.
const LSP_NAMES: &[&str] = &[
    "gopls",
    "clangd",
    "jdtls",
    "tsserver",
    "zls",
    "sourcekit-lsp",
    "rust-analyzer",
    "texlab",
    "tinymist",
    "intelephense",
    "omnisharp",
    "metals",
    "pyright",
    "eslintserver",
    "nixd",
];

/// The kind of a command line as the kernel shows it: arguments, each ended by a NUL.
pub(super) fn kind(cmdline: &[u8]) -> Kind {
    let text = String::from_utf8_lossy(cmdline).to_lowercase();
    let mut words = text.split('\0').filter(|word| !word.is_empty());
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let Some(program) = words.next().map(base) else {
        return Kind::Other;
    };
    // Before the shells: `sh -c some-mcp-server` is the way npm starts one.
    let names = std::iter::once(program.clone()).chain(words.map(str::to_owned));
    for name in names.take(4).filter(|name| !name.contains(char::is_whitespace)) {
        let base = base(&name);
        let parts = || base.split(['-', '_', '.', '@']);
        let is_lsp = name.contains("language-server")
            || name.contains("languageserver")
            || LSP_NAMES.iter().any(|known| base.starts_with(known))
            || parts().any(|part| part == "lsp" || part == "ls" && base != "ls");
        if is_lsp {
            return Kind::Lsp;
        }
        if parts().any(|part| part == "mcp") || name.contains("modelcontextprotocol") {
            return Kind::Mcp;
        }
    }
    // A login shell's name begins with a dash.
    let is_shell = SHELLS.contains(&program.trim_start_matches('-'));
    if is_shell { Kind::Shell } else { Kind::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Kind {
        kind(
            words
                .iter()
                .flat_map(|w| [w.as_bytes(), b"\0"].concat())
                .collect::<Vec<_>>()
                .as_slice(),
        )
    }

    #[test]
    fn servers_and_shells_are_told_apart_by_their_command_lines() {
        assert_eq!(of(&["/usr/bin/node", "/x/typescript-language-server", "--stdio"]), Kind::Lsp);
        assert_eq!(of(&["gopls"]), Kind::Lsp);
        assert_eq!(of(&["/x/bin/rust-analyzer"]), Kind::Lsp);
        assert_eq!(of(&["yaml-ls", "--stdio"]), Kind::Lsp);
        assert_eq!(of(&["npx", "@modelcontextprotocol/server-everything"]), Kind::Mcp);
        assert_eq!(of(&["/x/repod", "mcp"]), Kind::Mcp);
        assert_eq!(of(&["/bin/bash", "-c", "ls -l && echo mcp"]), Kind::Shell);
        assert_eq!(of(&["-zsh"]), Kind::Shell);
        assert_eq!(of(&["ls"]), Kind::Other);
        assert_eq!(of(&["git", "status"]), Kind::Other);
        assert_eq!(of(&[]), Kind::Other);
    }
}
