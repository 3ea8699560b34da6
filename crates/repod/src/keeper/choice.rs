//! Which backend sleeps when there are too many: a pure choice.

use crate::backend::Awake;
use std::time::Duration;

/// How long what has to be waited for is left alone before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One backend that is awake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) stand: Stand,
    /// How long nobody has used it.
    pub(super) quiet: Duration,
}

/// What can be expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It may sleep.
    Idle,
    /// It comes up or goes down.
    Moving,
    /// Something keeps it awake.
    Awake(Awake),
    /// It does not answer: nothing is known of it, and nothing will be soon.
    Silent,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Put this one to sleep.
    Sleep(usize),
    /// Look again after this time: one of them will be idle soon.
    Wait(Duration),
    /// All are in use.
    Nobody,
}

/// The longest unused of those that may sleep. Requests in flight are waited for, until that has
/// taken too long (`impatient`): then who sends them uses it.
pub(super) fn choose(candidates: &[Candidate], impatient: bool) -> Choice {
    let idle = candidates.iter().enumerate().filter(|(_, c)| c.stand == Stand::Idle);
    if let Some((index, _)) = idle.max_by_key(|(_, candidate)| candidate.quiet) {
        return Choice::Sleep(index);
    }
    let soon = candidates.iter().filter_map(|candidate| match candidate.stand {
        Stand::Moving => Some(LOOK_AGAIN),
        Stand::Awake(Awake::Recent(left)) => Some(left),
        Stand::Awake(awake) if !awake.is_used() && !impatient => Some(LOOK_AGAIN),
        _ => None,
    });
    soon.min().map_or(Choice::Nobody, |left| {
        Choice::Wait(left.clamp(Duration::from_millis(10), LOOK_AGAIN))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(stand: Stand, quiet: u64) -> Candidate {
        Candidate { stand, quiet: Duration::from_secs(quiet) }
    }

    #[test]
    fn the_longest_unused_of_the_idle_sleeps() {
        let all = [
            candidate(Stand::Idle, 10),
            candidate(Stand::Awake(Awake::Busy(1)), 500),
            candidate(Stand::Idle, 90),
            candidate(Stand::Moving, 900),
        ];
        assert_eq!(choose(&all, false), Choice::Sleep(2));
    }

    #[test]
    fn who_is_in_use_is_never_chosen_and_not_waited_for() {
        let used = [Awake::Busy(1), Awake::Waiting(1), Awake::Terminals(1), Awake::Clients(1)];
        let used = used.map(|awake| candidate(Stand::Awake(awake), 500));
        assert_eq!(choose(&used, false), Choice::Nobody);
        assert_eq!(choose(&[candidate(Stand::Silent, 500)], false), Choice::Nobody);
        assert_eq!(choose(&[], false), Choice::Nobody);
    }

    #[test]
    fn what_will_be_idle_soon_is_waited_for_within_limits() {
        let moving = candidate(Stand::Moving, 0);
        assert_eq!(choose(&[moving], true), Choice::Wait(LOOK_AGAIN));
        let recent = candidate(Stand::Awake(Awake::Recent(Duration::from_millis(40))), 0);
        assert_eq!(choose(&[moving, recent], false), Choice::Wait(Duration::from_millis(40)));
        let asked = candidate(Stand::Awake(Awake::Requests(1)), 0);
        assert_eq!(choose(&[asked], false), Choice::Wait(LOOK_AGAIN));
        assert_eq!(choose(&[asked], true), Choice::Nobody);
    }
}
