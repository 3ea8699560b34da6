//! `sed` scripts: which of their commands write files or run programs.

/// Whether `script` only prints. What isn't understood doesn't.
pub(crate) fn only_prints(script: &str) -> bool {
    let mut at = Scan { rest: script };
    loop {
        at.skip(|c| c.is_whitespace() || c == ';' || c == '}');
        if at.rest.is_empty() {
            return true;
        }
        if !at.addresses() {
            return false;
        }
        let Some(command) = at.next() else { return false };
        let understood = match command {
            '{' | 'p' | 'd' | 'P' | 'D' | 'n' | 'N' | 'g' | 'G' | 'h' | 'H' | 'x' | '=' | 'z'
            | 'F' => true,
            'q' | 'Q' | 'l' | 'L' => {
                at.skip(|c| c.is_ascii_digit() || c == ' ');
                true
            }
            // Where a label ends differs; what may be a command behind it is looked at.
            ':' | 'b' | 't' | 'T' => {
                at.skip(|c| !matches!(c, '\n' | ';' | '}'));
                true
            }
            'r' | 'R' | '#' => {
                at.skip(|c| c != '\n');
                true
            }
            'a' | 'i' | 'c' => {
                // The text goes on after an escaped line end.
                let mut escaped = false;
                at.skip(|c| {
                    let on = c != '\n' || escaped;
                    escaped = c == '\\' && !escaped;
                    on
                });
                true
            }
            's' => at.parts(2) && at.flags(),
            // Its brackets are ordinary characters; such a script is rare enough.
            'y' => !at.rest.contains('[') && at.parts(2),
            _ => false,
        };
        at.skip(|c| c == ' ' || c == '\t');
        if !understood
            || !(at.rest.is_empty() || at.rest.starts_with(['\n', ';', '}', '#']) || command == '{')
        {
            return false;
        }
    }
}

struct Scan<'s> {
    rest: &'s str,
}

impl<'s> Scan<'s> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    fn take(&mut self, end: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn skip(&mut self, mut on: impl FnMut(char) -> bool) {
        let end = self.rest.find(|c| !on(c)).unwrap_or(self.rest.len());
        self.take(end);
    }

    /// `1`, `$`, `/re/I`, `\cREc`, `1,5`, `1~2`, `/a/,+3`, `1!`.
    fn addresses(&mut self) -> bool {
        loop {
            self.skip(|c| c == ' ' || c == '\t');
            match self.rest.chars().next() {
                Some(c) if c.is_ascii_digit() || "$,~+!".contains(c) => drop(self.next()),
                Some('/') => {
                    if !self.parts(1) {
                        return false;
                    }
                    self.skip(|c| c == 'I' || c == 'M');
                }
                Some('\\') => {
                    self.next();
                    if !self.parts(1) {
                        return false;
                    }
                    self.skip(|c| c == 'I' || c == 'M');
                }
                Some(_) => return true,
                None => return false,
            }
        }
    }

    /// A delimiter and `count` parts that end with it, the first a regular expression: within its
    /// brackets the delimiter is an ordinary character (for a sed that thinks otherwise the
    /// bracket doesn't end, which it refuses).
    fn parts(&mut self, count: usize) -> bool {
        let Some(delimiter) = self.next().filter(|c| !matches!(c, '\n' | '\\')) else {
            return false;
        };
        for part in 0..count {
            loop {
                match self.next() {
                    None => return false,
                    Some('\\') => drop(self.next()),
                    Some('[') if part == 0 => self.bracket(),
                    Some(c) if c == delimiter => break,
                    Some(_) => {}
                }
            }
        }
        true
    }

    /// The rest of `[…]`: a `]` at its begin, after `^`, or in `[:class:]` doesn't end it.
    fn bracket(&mut self) {
        self.rest = self.rest.strip_prefix('^').unwrap_or(self.rest);
        self.rest = self.rest.strip_prefix(']').unwrap_or(self.rest);
        while let Some(c) = self.next() {
            match c {
                ']' | '\n' => return,
                '[' if self.rest.starts_with([':', '.', '=']) => {
                    let mark = self.next().unwrap_or(':');
                    let end = self.rest.find(&format!("{mark}]")).map_or(0, |at| at + 2);
                    self.take(end);
                }
                _ => {}
            }
        }
    }

    /// The flags of `s`: `w` writes and `e` runs, all others only choose.
    fn flags(&mut self) -> bool {
        self.skip(|c| c.is_ascii_digit() || matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M'));
        !self.rest.starts_with(['w', 'e'])
    }
}
