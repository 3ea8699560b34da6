//! Reading a text file or a directory, in bounded pieces, without changing anything.
//!
//! The text is the file's own, without line numbers: what was read is what `repo_edit` matches.

use repod_proto::{ApiError, ErrorCode};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Most lines, or entries of a directory, in one answer.
const LINES_MAX: usize = 2000;
/// Most bytes of text in one answer.
const BYTES_MAX: usize = 50 * 1024;
/// How far into a file a line is looked for.
const SCAN_MAX: u64 = 256 * 1024 * 1024;
/// How much of a file shows whether it is text.
const SNIFF: u64 = 8 * 1024;
/// Most entries of a directory that are looked at.
const ENTRIES_MAX: usize = 100_000;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) text: String,
    /// What the reader should know: what is missing, and how to go on.
    pub(super) note: Option<String>,
}

/// Which part of it.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// The first line, from 1.
    pub(super) offset: usize,
    /// How many lines.
    pub(super) limit: usize,
}

impl Part {
    /// As asked for, within what one answer holds.
    pub(super) fn new(offset: Option<u64>, limit: Option<u64>) -> Self {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            offset: offset.map_or(1, size).max(1),
            limit: limit.map_or(LINES_MAX, size).clamp(1, LINES_MAX),
        }
    }
}

/// Reads a file, or lists a directory. Blocking.
///
/// # Errors
/// When it isn't there, is no text, or has no such part.
pub(super) fn read(path: &Path, part: Part) -> Result<Page, ApiError> {
    let failed = |error: io::Error| cannot(path, &error);
    // Opening a pipe must not wait for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = opened.map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return list(path, part);
    }
    if !meta.is_file() {
        let message = format!("`{}` is neither a file nor a directory", path.display());
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let mut head = Vec::new();
    (&mut file).take(SNIFF).read_to_end(&mut head).map_err(failed)?;
    if head.contains(&0) {
        let message = format!("`{}` is a binary file of {} bytes", path.display(), meta.len());
        return Err(ApiError::new(ErrorCode::InvalidRequest, message)
            .hint("only text can be read; look at it with a tool of your own"));
    }
    file.rewind().map_err(failed)?;
    lines(file, path, part)
}

fn lines(file: File, path: &Path, part: Part) -> Result<Page, ApiError> {
    let failed = |error: io::Error| cannot(path, &error);
    let mut reader = BufReader::new(file.take(SCAN_MAX));
    let mut number = 1;
    while number < part.offset && skip_line(&mut reader).map_err(failed)? {
        number += 1;
    }
    let mut bytes = Vec::new();
    let mut taken = 0;
    while taken < part.limit && bytes.len() < BYTES_MAX {
        let room = u64::try_from(BYTES_MAX - bytes.len()).unwrap_or(0);
        let before = bytes.len();
        let read = (&mut reader).take(room).read_until(b'\n', &mut bytes).map_err(failed)?;
        if read == 0 {
            break;
        }
        taken += 1;
        if bytes.last() != Some(&b'\n') && bytes.len() == BYTES_MAX && !at_end(&mut reader) {
            // A line that doesn't fit comes whole in the next answer, unless no answer holds it.
            if taken > 1 {
                bytes.truncate(before);
                return Ok(page(bytes, Some(goes_on(part.offset, taken - 1))));
            }
            to_whole_characters(&mut bytes);
            let (line, kib, next) = (part.offset, BYTES_MAX / 1024, part.offset + 1);
            let note = format!("only the first {kib} KiB of line {line}; the next: offset {next}");
            return Ok(page(bytes, Some(note)));
        }
    }
    if taken == 0 && number == 1 && part.offset == 1 {
        return Ok(Page { text: String::new(), note: Some("the file is empty".to_owned()) });
    }
    if taken == 0 {
        let message = match number - 1 {
            _ if reader.get_ref().limit() == 0 => {
                format!("line {} is more than {} MiB into the file", part.offset, SCAN_MAX >> 20)
            }
            last => format!("the file has {last} lines, and none with number {}", part.offset),
        };
        return Err(
            ApiError::new(ErrorCode::InvalidRequest, message).hint("give a smaller `offset`")
        );
    }
    let more = (!at_end(&mut reader)).then(|| goes_on(part.offset, taken));
    Ok(page(bytes, more))
}

/// Whether nothing follows; what can't be read any more is taken for the end.
fn at_end(reader: &mut impl BufRead) -> bool {
    reader.fill_buf().map_or(true, <[u8]>::is_empty)
}

/// Passes over one line, whatever its length; whether there was one.
fn skip_line(reader: &mut impl BufRead) -> io::Result<bool> {
    let mut any = false;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(length);
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn goes_on(first: usize, taken: usize) -> String {
    let next = first + taken;
    format!("lines {first} to {}; the file goes on: offset {next}", next - 1)
}

fn page(bytes: Vec<u8>, note: Option<String>) -> Page {
    match String::from_utf8(bytes) {
        Ok(text) => Page { text, note },
        Err(bad) => {
            let text = String::from_utf8_lossy(bad.as_bytes()).into_owned();
            let warning = "not all of it is UTF-8: what is shown as \u{fffd} is something else";
            let note = note.map_or_else(|| warning.to_owned(), |note| format!("{warning}; {note}"));
            Page { text, note: Some(note) }
        }
    }
}

/// Takes away the part of a character at the end of what was cut.
fn to_whole_characters(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}

/// The entries of a directory by name, directories with a slash, links with where they lead.
fn list(path: &Path, part: Part) -> Result<Page, ApiError> {
    let failed = |error: io::Error| cannot(path, &error);
    let mut names = Vec::new();
    let mut all = true;
    for entry in std::fs::read_dir(path).map_err(failed)? {
        if names.len() == ENTRIES_MAX {
            all = false;
            break;
        }
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        names.push(match entry.file_type() {
            Ok(kind) if kind.is_dir() => format!("{name}/"),
            Ok(kind) if kind.is_symlink() => match std::fs::read_link(entry.path()) {
                Ok(to) => format!("{name} -> {}", to.display()),
                Err(_) => name,
            },
            _ => name,
        });
    }
    names.sort();
    let total = names.len();
    let mut text = String::new();
    let mut taken = 0;
    for name in names.iter().skip(part.offset - 1).take(part.limit) {
        if text.len() + name.len() >= BYTES_MAX {
            break;
        }
        text.push_str(name);
        text.push('\n');
        taken += 1;
    }
    let last = part.offset - 1 + taken;
    let note = match (last < total, all) {
        (true, _) => {
            format!("entries {} to {last} of {total}; the next: offset {}", part.offset, last + 1)
        }
        (false, true) => format!("a directory with {total} entries"),
        (false, false) => format!("only {ENTRIES_MAX} of its entries were looked at"),
    };
    Ok(Page { text, note: Some(note) })
}

pub(super) fn cannot(path: &Path, error: &io::Error) -> ApiError {
    let shown = path.display();
    if error.kind() == io::ErrorKind::NotFound {
        return ApiError::new(ErrorCode::PathNotFound, format!("`{shown}` does not exist"))
            .hint("`repo_read` of its directory shows what is there");
    }
    ApiError::new(ErrorCode::PathUnreadable, format!("`{shown}` can't be read: {error}"))
}

#[cfg(test)]
mod tests;
