//! The limit of open files, in a process of its own.

use crate::backend::HELPER;
use std::process::Command;

/// What a process whose limits are 256 and 512 makes of the wish.
fn raise(wanted: u64) -> String {
    let script = "ulimit -Sn 256; ulimit -Hn 512; exec \"$0\" raise-nofile \"$1\"";
    let mut command = Command::new("sh");
    let output =
        command.arg("-c").arg(script).arg(HELPER).arg(wanted.to_string()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_soft_limit_is_raised_as_far_as_wanted() {
    assert_eq!(raise(400), "NofileOutcome { soft: 400, hard: 512, warning: None }\n");
}

#[test]
fn a_limit_that_is_high_enough_is_not_lowered() {
    assert_eq!(raise(100), "NofileOutcome { soft: 256, hard: 512, warning: None }\n");
}

#[test]
fn a_wish_that_cannot_be_met_is_met_as_far_as_it_goes_and_says_what_to_do() {
    // More than `fs.nr_open` can ever be, so root is refused as well.
    let outcome = raise(1 << 40);
    assert!(outcome.contains("soft: 512, hard: 512"), "{outcome}");
    assert!(outcome.contains("repod harden"), "{outcome}");
}
