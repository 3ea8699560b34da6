//! `repo_edit`'s matching: exact, and an error that says what to do where it isn't.

/// What is to be replaced by what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit<'a> {
    pub(super) old: &'a str,
    pub(super) new: &'a str,
    /// Every place instead of the only one.
    pub(super) all: bool,
}

/// Why nothing is replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditError {
    #[error("`old_string` is empty")]
    Empty,
    #[error("`old_string` and `new_string` are the same")]
    Same,
    #[error("`old_string` does not occur in the file")]
    NotFound {
        /// Lines that differ from its first one only in white space.
        alike: Vec<usize>,
    },
    #[error("`old_string` occurs {count} times, on lines {}", listed(.lines))]
    Several {
        count: usize,
        /// The first of them.
        lines: Vec<usize>,
    },
}

/// How many lines an error names.
const NAMED: usize = 5;

impl EditError {
    /// What the caller can do.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Empty => "to make a file or replace all of it use `repo_write`".to_owned(),
            Self::Same => "there is nothing to change".to_owned(),
            Self::NotFound { alike } if alike.is_empty() => {
                "read the file again with `repo_read` and copy the text to replace from there"
                    .to_owned()
            }
            Self::NotFound { alike } => format!(
                "its first line is like line {} but for white space: read the file again with \
                 `repo_read` and copy the text from there",
                listed(alike)
            ),
            Self::Several { .. } => {
                "add lines before or after until it is unique, or set `replace_all`".to_owned()
            }
        }
    }
}

/// The text with the replacement made, and how many there were.
///
/// Where every line of the file ends in CRLF, a `\n` means its line end, in both texts: nobody sees a
/// `\r`, and the file keeps its form. Who writes a `\r` to be replaced is taken by the byte.
///
/// # Errors
/// When the text to replace is not there, or not once.
pub(super) fn apply(text: &str, edit: Edit<'_>) -> Result<(String, usize), EditError> {
    if edit.old.is_empty() {
        return Err(EditError::Empty);
    }
    let (old, new) = match ends_in_crlf(text) && !edit.old.contains('\r') {
        true => (crlf(edit.old), crlf(edit.new)),
        false => (edit.old.to_owned(), edit.new.to_owned()),
    };
    if old == new {
        return Err(EditError::Same);
    }
    let places = overlapping(text, &old);
    match places.len() {
        0 => return Err(EditError::NotFound { alike: alike(text, edit.old) }),
        1 => {}
        _ if edit.all => {}
        count => {
            let lines = places.iter().take(NAMED).map(|at| line_of(text, *at)).collect();
            return Err(EditError::Several { count, lines });
        }
    }
    Ok((text.replace(&old, &new), text.matches(&old).count()))
}

/// Where it occurs, also where that overlaps: two places that share a character are two.
fn overlapping(text: &str, old: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    let step = old.chars().next().map_or(1, char::len_utf8);
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(old)) {
        places.push(from + at);
        from += at + step;
    }
    places
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Lines that are like the first line of `old` that says anything.
fn alike(text: &str, old: &str) -> Vec<usize> {
    let Some(wanted) = old.lines().map(squeezed).find(|line| !line.is_empty()) else {
        return Vec::new();
    };
    let found = text.lines().enumerate().filter(|(_, line)| squeezed(line) == wanted);
    found.map(|(at, _)| at + 1).take(NAMED).collect()
}

fn squeezed(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn ends_in_crlf(text: &str) -> bool {
    let ends = text.matches('\n').count();
    ends > 0 && ends == text.matches("\r\n").count()
}

fn crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn listed(lines: &[usize]) -> String {
    lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
