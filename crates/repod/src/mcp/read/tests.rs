use super::*;
use std::path::PathBuf;

fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs_err::write(&path, content).unwrap();
    (dir, path)
}

fn part(offset: u64, limit: u64) -> Part {
    Part::new(Some(offset), Some(limit))
}

fn all() -> Part {
    Part::new(None, None)
}

#[test]
fn a_text_is_read_as_it_is() {
    for text in ["one\r\ntwo\n", "no end", "\u{feff}ä\n", "\n\n"] {
        let (_dir, path) = file(text);
        assert_eq!(read(&path, all()).unwrap(), Page { text: text.to_owned(), note: None });
    }
    let (_dir, path) = file("");
    assert_eq!(read(&path, all()).unwrap().note.unwrap(), "the file is empty");
}

#[test]
fn a_part_says_how_to_go_on_and_the_parts_make_the_whole() {
    let text: String = (1..=5000).map(|n| format!("line {n}\n")).collect();
    let (_dir, path) = file(&text);
    let first = read(&path, all()).unwrap();
    assert_eq!(first.note.unwrap(), "lines 1 to 2000; the file goes on: offset 2001");
    let second = read(&path, part(2001, 10_000)).unwrap();
    assert_eq!(second.note.unwrap(), "lines 2001 to 4000; the file goes on: offset 4001");
    let third = read(&path, part(4001, 1000)).unwrap();
    assert_eq!(third.note, None);
    assert_eq!([first.text, second.text, third.text].concat(), text);
    let two = read(&path, part(10, 2)).unwrap();
    assert_eq!(two.text, "line 10\nline 11\n");
}

#[test]
fn a_line_beyond_the_end_is_an_error_that_says_how_many_there_are() {
    let (_dir, path) = file("one\ntwo\n");
    let error = read(&path, part(3, 1)).unwrap_err();
    assert_eq!(error.message, "the file has 2 lines, and none with number 3");
    let error = read(&path, part(100, 1)).unwrap_err();
    assert_eq!(error.message, "the file has 2 lines, and none with number 100");
}

#[test]
fn bytes_are_bounded_at_a_line_s_end_or_else_between_characters() {
    let long = "x".repeat(BYTES_MAX - 10);
    let (_dir, path) = file(format!("{long}\nsecond line\nthird\n"));
    let page = read(&path, all()).unwrap();
    assert_eq!(page.text, format!("{long}\n"));
    assert_eq!(page.note.unwrap(), "lines 1 to 1; the file goes on: offset 2");
    // The one line is longer than an answer, and an `ä` lies across its end.
    let (_dir, path) = file(format!("x{}\nsecond\n", "ä".repeat(BYTES_MAX)));
    let page = read(&path, all()).unwrap();
    assert_eq!(page.text.len(), BYTES_MAX - 1);
    assert_eq!(page.note.unwrap(), "only the first 50 KiB of line 1; the next: offset 2");
    assert_eq!(read(&path, part(2, 1)).unwrap().text, "second\n");
    // One that fits exactly is whole.
    let (_dir, path) = file("x".repeat(BYTES_MAX));
    assert_eq!(read(&path, all()).unwrap().note, None);
}

#[test]
fn binary_files_pipes_and_missing_files_are_said_to_be_so() {
    let (dir, path) = file(b"\x7fELF\0\0");
    assert!(read(&path, all()).unwrap_err().message.contains("is a binary file of 6 bytes"));
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    assert!(read(&pipe, all()).unwrap_err().message.contains("neither a file nor a directory"));
    let error = read(&dir.path().join("missing"), all()).unwrap_err();
    assert_eq!(error.code, ErrorCode::PathNotFound);
    let (_dir, path) = file(b"caf\xe9\n");
    let page = read(&path, all()).unwrap();
    assert_eq!(page.text, "caf\u{fffd}\n");
    assert!(page.note.unwrap().starts_with("not all of it is UTF-8"));
}

#[test]
fn a_directory_is_listed_by_name_with_what_its_entries_are() {
    let (dir, _) = file("x");
    fs_err::create_dir_all(dir.path().join("src")).unwrap();
    std::os::unix::fs::symlink("src", dir.path().join("link")).unwrap();
    let page = read(dir.path(), all()).unwrap();
    assert_eq!(page.text, "file\nlink -> src\nsrc/\n");
    assert_eq!(page.note.unwrap(), "a directory with 3 entries");
    let page = read(dir.path(), part(2, 1)).unwrap();
    assert_eq!(page.text, "link -> src\n");
    assert_eq!(page.note.unwrap(), "entries 2 to 2 of 3; the next: offset 3");
}
