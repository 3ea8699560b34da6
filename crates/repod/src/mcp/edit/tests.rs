use super::*;
use proptest::prelude::*;

fn edit<'a>(old: &'a str, new: &'a str) -> Edit<'a> {
    Edit { old, new, all: false }
}

#[test]
fn the_only_place_is_replaced_and_nothing_else_is_touched() {
    let text = "one\n\ttwo  \nthree";
    let made = apply(text, edit("\ttwo  \n", "2\n")).unwrap();
    assert_eq!(made, ("one\n2\nthree".to_owned(), 1));
    assert_eq!(apply("x$1y", edit("$1", "\\0")).unwrap().0, "x\\0y");
    assert_eq!(apply("gone", edit("gone", "")).unwrap().0, "");
}

#[test]
fn several_places_are_refused_with_their_lines_or_all_replaced() {
    let text = "a = 1\nb = 2\na = 1\n";
    let error = apply(text, edit("a = 1", "a = 3")).unwrap_err();
    assert_eq!(error, EditError::Several { count: 2, lines: vec![1, 3] });
    assert_eq!(error.to_string(), "`old_string` occurs 2 times, on lines 1, 3");
    assert!(error.hint().contains("replace_all"));
    let made = apply(text, Edit { all: true, ..edit("a = 1", "a = 3") }).unwrap();
    assert_eq!(made, ("a = 3\nb = 2\na = 3\n".to_owned(), 2));
}

#[test]
fn two_places_that_overlap_are_two() {
    let error = apply("aaa", edit("aa", "b")).unwrap_err();
    assert_eq!(error, EditError::Several { count: 2, lines: vec![1, 1] });
}

#[test]
fn what_is_not_there_is_said_with_the_line_it_is_like() {
    let error = apply("fn a() {\n\treturn 1;\n}\n", edit("    return 1;", "x")).unwrap_err();
    assert_eq!(error, EditError::NotFound { alike: vec![2] });
    assert!(error.hint().contains("line 2"), "{}", error.hint());
    let error = apply("text\n", edit("other", "x")).unwrap_err();
    assert_eq!(error, EditError::NotFound { alike: vec![] });
    assert!(error.hint().contains("repo_read"));
}

#[test]
fn nothing_to_find_and_nothing_to_change_are_errors() {
    assert_eq!(apply("x", edit("", "y")).unwrap_err(), EditError::Empty);
    assert_eq!(apply("x", edit("x", "x")).unwrap_err(), EditError::Same);
}

#[test]
fn a_file_with_crlf_keeps_it() {
    let text = "one\r\ntwo\r\nthree\r\n";
    let (made, _) = apply(text, edit("one\ntwo\n", "1\n2\nmore\n")).unwrap();
    assert_eq!(made, "1\r\n2\r\nmore\r\nthree\r\n");
    // Who writes the `\r` is taken by the byte, and can take it away.
    assert_eq!(apply(text, edit("one\r\ntwo", "1\n2")).unwrap().0, "1\n2\r\nthree\r\n");
    let all = Edit { all: true, ..edit("\r\n", "\n") };
    assert_eq!(apply(text, all).unwrap(), ("one\ntwo\nthree\n".to_owned(), 3));
    assert_eq!(apply(text, edit("one\ntwo", "one\r\ntwo")).unwrap_err(), EditError::Same);
    // A file of both kinds is taken by the byte.
    let mixed = "one\r\ntwo\n";
    assert_eq!(
        apply(mixed, edit("one\ntwo", "x")).unwrap_err(),
        EditError::NotFound { alike: vec![1] }
    );
    assert_eq!(apply(mixed, edit("two\n", "2\n")).unwrap().0, "one\r\n2\n");
}

proptest! {
    #[test]
    fn a_made_edit_is_the_text_before_the_new_text_and_the_text_after(
        before in "[ab\n]{0,12}", old in "[cä\n]{1,4}", new in "[d\r\n]{0,4}", after in "[ab\n]{0,12}",
    ) {
        let text = format!("{before}{old}{after}");
        if let Ok((made, count)) = apply(&text, edit(&old, &new)) {
            prop_assert_eq!(count, 1);
            let at = text.find(&old).unwrap();
            prop_assert_eq!(made, format!("{}{new}{}", &text[..at], &text[at + old.len()..]));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,40}", old in ".{0,4}", new in ".{0,4}", all: bool) {
        let _ = apply(&text, Edit { old: &old, new: &new, all });
    }
}
