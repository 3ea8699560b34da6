//! Sessions that wait for each other.

use super::super::{branch, session};
use super::{Story, granted, refused};
use repod_proto::ErrorCode;

#[test]
fn of_two_that_wait_for_each_other_the_younger_is_refused() {
    let (a, b) = (session(0, 1), session(1, 2));
    let (x, y) = (branch(0, 0), branch(1, 0));
    let mut story = Story::new();
    let _ = story.ask("a-x", &a, &x);
    let _ = story.ask("b-y", &b, &y);
    assert_eq!(story.ask("a-y", &a, &y), []);
    let error = refused(&story.ask("b-x", &b, &x), "b-x");
    assert_eq!(error.code, ErrorCode::LeaseDeadlock);
    assert!(error.message.ends_with("wait for `repo0-000000000000/ses_1`, and that one for you"));
    let _ = story.report("b-y");
    assert_eq!(story.turn_ended(&b), granted("a-y", 2));
}

#[test]
fn the_younger_is_refused_also_when_it_is_the_one_that_waits_already() {
    let (a, b) = (session(0, 1), session(1, 2));
    let (x, y) = (branch(0, 0), branch(1, 0));
    let mut story = Story::new();
    let _ = story.ask("a-x", &a, &x);
    let _ = story.ask("b-y", &b, &y);
    assert_eq!(story.ask("b-x", &b, &x), []);
    let answers = story.ask("a-y", &a, &y);
    assert_eq!(answers.len(), 1, "the older waits on");
    assert_eq!(refused(&answers, "b-x").code, ErrorCode::LeaseDeadlock);
}

#[test]
fn a_circle_through_a_place_in_line_is_one_too() {
    let (a, b, c) = (session(0, 1), session(0, 2), session(1, 3));
    let (x, y) = (branch(0, 0), branch(1, 0));
    let mut story = Story::new();
    let _ = story.ask("a-x", &a, &x);
    let _ = story.ask("c-y", &c, &y);
    assert_eq!(story.ask("b-x", &b, &x), []);
    assert_eq!(story.ask("c-x", &c, &x), [], "behind b");
    let answers = story.ask("b-y", &b, &y);
    assert_eq!(refused(&answers, "b-y").code, ErrorCode::LeaseDeadlock, "b would never end");
    assert_eq!(answers.len(), 1);
}

#[test]
fn three_in_a_row_are_no_circle() {
    let (a, b, c) = (session(0, 1), session(0, 2), session(0, 3));
    let (x, y, z) = (branch(0, 0), branch(0, 1), branch(0, 2));
    let mut story = Story::new();
    for (owner, key) in [(&a, &x), (&b, &y), (&c, &z)] {
        assert_eq!(story.ask(&key.to_string(), owner, key).len(), 1);
    }
    assert_eq!(story.ask("b-x", &b, &x), []);
    assert_eq!(story.ask("c-y", &c, &y), []);
    assert_eq!(story.ask("c-x", &c, &x), []);
}

#[test]
fn a_circle_of_three_is_told_in_its_order() {
    let (a, b, c) = (session(0, 1), session(0, 2), session(0, 3));
    let (x, y, z) = (branch(0, 0), branch(0, 1), branch(0, 2));
    let mut story = Story::new();
    for (owner, key) in [(&a, &x), (&b, &y), (&c, &z)] {
        assert_eq!(story.ask(&key.to_string(), owner, key).len(), 1);
    }
    assert_eq!(story.ask("b-x", &b, &x), []);
    assert_eq!(story.ask("a-z", &a, &z), []);
    let error = refused(&story.ask("c-y", &c, &y), "c-y");
    let (b, a) = (b.to_string(), a.to_string());
    let told = format!("you would wait for `{b}`, that one for `{a}`, and that one for you");
    assert!(error.message.ends_with(&told), "{error}");
}
