//! The end of a backend's log, for the log page.

use repod_supervisor::log_tail;
use std::io;
use std::path::Path;

/// How far back, in bytes and lines.
const TAIL_MAX: u64 = 256 * 1024;
const LINES_MAX: usize = 2000;

/// The last lines; `None` when the log is as long as it was.
pub(super) fn read(file: &Path, was: Option<u64>) -> io::Result<Option<(u64, Vec<String>)>> {
    let length = match fs_err::metadata(file) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    if was == Some(length) {
        return Ok(None);
    }
    let text = log_tail::tail(file, TAIL_MAX, 0)?;
    let lines: Vec<_> = text.lines().map(plain).collect();
    let first = lines.len().saturating_sub(LINES_MAX);
    Ok(Some((length, lines[first..].to_vec())))
}

/// A line without the sequences that colour it.
fn plain(line: &str) -> String {
    anstream::adapter::strip_str(line).to_string().replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_again_only_when_it_has_moved() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backend.log");
        assert_eq!(read(&file, None).unwrap(), Some((0, Vec::new())));
        fs_err::write(&file, "one\n\u{1b}[31mtwo\u{1b}[0m\tx\n").unwrap();
        let (length, lines) = read(&file, Some(0)).unwrap().unwrap();
        assert_eq!(lines, ["one", "two    x"]);
        assert_eq!(read(&file, Some(length)).unwrap(), None);
    }
}
