//! OpenCode's ids rise with time: 12 hex digits of it, in 1/4096 ms, which wrap every 2.2 years.

use std::cmp::Ordering;

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
    fn ids_are_ordered_by_their_time_even_when_that_wraps() {
        let id = |time: &str| format!("msg_{time}zizHXHzxhV25B1");
        assert_eq!(compare(&id("1fd1f9482001"), &id("1fd1f9482002")), Ordering::Less);
        assert_eq!(compare(&id("000000000001"), &id("ffffffffffff")), Ordering::Greater);
        assert_eq!(compare("msg_a", "msg_b"), Ordering::Less);
        assert_eq!(compare("msg_a", "msg_a"), Ordering::Equal);
    }
}
