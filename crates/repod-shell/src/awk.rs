//! `awk` programs: whether they print to files or run programs.

/// Whether `program` only reads and prints to its output. What isn't understood doesn't.
pub(crate) fn only_prints(program: &str) -> bool {
    let Some(code) = without_literals(program) else { return false };
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let forbidden = ["system", "popen", "close", "include", "load", "namespace"];
    if words.into_iter().any(|word| forbidden.contains(&word)) || code.contains('@') {
        return false;
    }
    // `"cmd" | getline`, `print | "cmd"`, `|&`; `||` is "or".
    if code.replace("||", "").contains('|') {
        return false;
    }
    // `print … > file`: after `print`, a `>` outside parentheses names a file.
    code.split([';', '{', '}', '\n']).all(|statement| {
        let Some(at) = statement.find("print") else { return true };
        let printed = statement.get(at..).unwrap_or_default();
        let mut depth = 0_i32;
        printed.chars().all(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c != '>' || depth > 0
        })
    })
}

/// The program with strings, regular expressions and comments taken out; `None` when one doesn't end.
fn without_literals(program: &str) -> Option<String> {
    let mut out = String::with_capacity(program.len());
    let mut chars = program.chars().peekable();
    // What stands before a `/` says whether it divides.
    let mut before = '(';
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                ends(&mut chars, '"')?;
                out.push('0');
                before = '0';
                continue;
            }
            '/' if "(,;{}!~&|=\n<>?:".contains(before) => {
                ends(&mut chars, '/')?;
                out.push('0');
                before = '0';
                continue;
            }
            // One that may be either isn't understood: after `print`, `return`, `in` it is none.
            '/' if KEYWORDS.contains(&last_word(&out)) => return None,
            '/' if !(before.is_ascii_alphanumeric() || ")]_$".contains(before)) => return None,
            '#' => {
                while chars.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
            }
            '\\' if chars.peek() == Some(&'\n') => drop(chars.next()),
            c => {
                out.push(c);
                if !c.is_whitespace() || c == '\n' {
                    before = c;
                }
            }
        }
    }
    // Where a division is none after all, slashes come in pairs.
    (!out.contains('/') || out.matches('/').count() == 1).then_some(out)
}

/// Words a regular expression may follow.
const KEYWORDS: &[&str] =
    &["print", "printf", "return", "in", "case", "do", "else", "getline", "delete", "exit", "next"];

fn last_word(text: &str) -> &str {
    let text = text.trim_end();
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_ascii_alphanumeric() || *c == '_')
        .last();
    let start = start.map_or(text.len(), |(at, _)| at);
    text.get(start..).unwrap_or_default()
}

fn ends(chars: &mut impl Iterator<Item = char>, end: char) -> Option<()> {
    loop {
        match chars.next()? {
            '\\' => drop(chars.next()?),
            '\n' => return None,
            c if c == end => return Some(()),
            _ => {}
        }
    }
}
