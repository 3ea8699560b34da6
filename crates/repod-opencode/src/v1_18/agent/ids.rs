//! OpenCode's ids rise with time: 12 hex digits of it, in 1/4096 ms, which wrap every 2.2 years.

use crate::v1_18::told::now_millis;
use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering as Sequence};

/// An id for the message of a prompt (`messageID`), made now. OpenCode orders a session's messages by
/// their ids, so it must be sent soon, and before any other of the session.
pub fn prompt_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let counter = COUNTER.fetch_add(1, Sequence::Relaxed);
    let time = now_millis().wrapping_mul(0x1000).wrapping_add(counter & 0xfff) & 0xffff_ffff_ffff;
    format!("msg_{time:012x}repod{:09x}", counter & 0xf_ffff_ffff)
}

/// Which of two ids of one kind was made first.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    match (time(one), time(other)) {
        (Some(a), Some(b)) if a != b => {
            if is_later(a, b) {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        _ => one.cmp(other),
    }
}

/// Whether a time is behind another one.
pub(super) fn is_later(time: u64, other: u64) -> bool {
    time != other && time.wrapping_sub(other) & 0xffff_ffff_ffff < 1 << 47
}

/// The time in an id.
pub(super) fn time(id: &str) -> Option<u64> {
    u64::from_str_radix(id.split_once('_')?.1.get(..12)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_s_id_has_opencode_s_form_and_is_of_now() {
        let (one, other) = (prompt_id(), prompt_id());
        assert_eq!(one.len(), "msg_21f5fae090013oGig7lGAJpiHS".len());
        assert_ne!(one, other);
        assert!(time(&one).unwrap().abs_diff((now_millis() * 0x1000) & 0xffff_ffff_ffff) < 1 << 24);
    }

    #[test]
    fn ids_are_ordered_by_their_time_even_when_that_wraps() {
        let id = |time: &str| format!("msg_{time}zizHXHzxhV25B1");
        assert_eq!(compare(&id("1fd1f9482001"), &id("1fd1f9482002")), Ordering::Less);
        assert_eq!(compare(&id("000000000001"), &id("ffffffffffff")), Ordering::Greater);
        assert_eq!(compare("msg_a", "msg_b"), Ordering::Less);
        assert_eq!(compare("msg_a", "msg_a"), Ordering::Equal);
    }
}
