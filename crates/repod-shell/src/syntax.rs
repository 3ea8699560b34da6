//! Parsing, and the checks that the parse means what the shell will understand.
//!
//! A parser that differs from the shell is how such classifiers are fooled. So whatever lies between
//! two tokens must be white space *of the shell* (a carriage return or a no-break space is none),
//! and literal text must not hide an expansion.

use std::ops::ControlFlow;
use tree_sitter::{Node, ParseOptions, Parser, Tree};

/// Rounds of the parser (some hundred operations each) for one text.
const PARSE_ROUNDS: u32 = 4_000;
/// `|` in one text: where a pipeline doesn't end, mending takes quadratic time in one round.
const MAX_PIPES: usize = 512;
/// Rounds spent on a text with an error: mending is quadratic, and its result is thrown away.
const MENDING_ROUNDS: u32 = 20;
/// Heredocs and here-strings in one text; the parser keeps the open ones in a buffer of fixed size.
const MAX_HEREDOCS: usize = 32;

/// The tree of `source`, or why there is none to be trusted.
pub(crate) fn parse(source: &str) -> Result<Tree, &'static str> {
    let odd = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || (c.is_whitespace() && !c.is_ascii())
    };
    if source.matches("<<").count() > MAX_HEREDOCS {
        return Err("too many heredocs");
    }
    if source.matches('|').count() > MAX_PIPES {
        return Err("too many pipes");
    }
    if source.chars().any(odd) {
        return Err("control characters or white space of another kind");
    }
    let mut parser = Parser::new();
    if parser.set_language(&tree_sitter_bash::LANGUAGE.into()).is_err() {
        return Err("no grammar");
    }
    let (mut rounds, mut mending) = (0, 0);
    let mut bounded = |state: &tree_sitter::ParseState| {
        rounds += 1;
        mending += u32::from(state.has_error());
        if rounds > PARSE_ROUNDS || mending > MENDING_ROUNDS {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let options = ParseOptions::new().progress_callback(&mut bounded);
    let masked = masked(source);
    let bytes = masked.as_slice();
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    let tree = parser.parse_with_options(&mut read, None, Some(options));
    let tree = tree.ok_or("it takes too long")?;
    if tree.root_node().has_error() {
        return Err("not valid shell");
    }
    gaps(tree.root_node(), source)?;
    Ok(tree)
}

/// The text the parser gets: a dot for each byte that isn't ASCII. To the shell both are ordinary
/// characters of a word and no part of a name; the scanner of tree-sitter-bash 0.25 crashes on some
/// of the former (it asks the C library what kind of letter they are, out of its table's bounds).
fn masked(source: &str) -> Vec<u8> {
    source.bytes().map(|byte| if byte.is_ascii() { byte } else { b'.' }).collect()
}

/// The text of a node.
pub(crate) fn text<'s>(node: Node<'_>, source: &'s str) -> &'s str {
    source.get(node.byte_range()).unwrap_or_default()
}

/// Named children, comments left out.
pub(crate) fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// All children, with operators and separators.
pub(crate) fn tokens<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.children(&mut cursor).collect()
}

/// Kinds whose text is looked at as a whole elsewhere, so gaps in them mean nothing.
const WHOLE: &[&str] = &["string", "heredoc_body", "raw_string", "ansi_c_string", "comment"];

/// Nothing but the shell's white space lies between tokens, and a comment stands where one may.
fn gaps(root: Node<'_>, source: &str) -> Result<(), &'static str> {
    blank(source.get(..root.start_byte()).unwrap_or("?"))?;
    blank(source.get(root.end_byte()..).unwrap_or("?"))?;
    let mut stack = vec![root];
    while let Some(node) = stack.pop() {
        if node.is_missing() {
            return Err("not valid shell");
        }
        let tokens = tokens(node);
        if !WHOLE.contains(&node.kind()) {
            let mut at = node.start_byte();
            for token in &tokens {
                let gap = source.get(at..token.start_byte()).unwrap_or("?");
                // The grammar loses a lone dash before a heredoc, as in `python3 - <<EOF`.
                if gap.trim_matches(' ') != "-" || token.kind() != "heredoc_redirect" {
                    blank(gap)?;
                }
                at = token.end_byte();
            }
            if !tokens.is_empty() {
                blank(source.get(at..node.end_byte()).unwrap_or("?"))?;
            }
        }
        if node.kind() == "comment" {
            let before = source.get(..node.start_byte()).and_then(|text| text.chars().next_back());
            if before.is_some_and(|c| !c.is_whitespace() && !";&|()".contains(c)) {
                return Err("a comment where none may stand");
            }
        }
        stack.extend(tokens);
    }
    Ok(())
}

fn blank(gap: &str) -> Result<(), &'static str> {
    let rest = gap.replace("\\\n", "");
    if rest.chars().all(|c| matches!(c, ' ' | '\t' | '\n')) {
        Ok(())
    } else {
        Err("text between the words")
    }
}

/// Whether literal text hides an expansion: `$` before a name or bracket, or a backtick, unescaped.
pub(crate) fn hides_expansion(literal: &str) -> bool {
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '`' => return true,
            '$' => {
                let next = chars.peek().copied().unwrap_or(' ');
                if next.is_alphanumeric() || "_({[@*#?$!-'\"".contains(next) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}
