//! The one place of the tests that sleeps: a level-triggered wait with a bound and a name.

use std::time::{Duration, Instant};

/// First pause between two looks; doubled up to [`LONGEST_TICK`].
const FIRST_TICK: Duration = Duration::from_millis(5);
const LONGEST_TICK: Duration = Duration::from_millis(100);

/// Looks until `look` gives something and returns that.
///
/// The level is looked at again and again, so an event between two looks can't be missed. A look
/// that itself doesn't come back is cut off at the bound as well.
///
/// # Panics
/// At the bound, naming `what` was waited for.
#[expect(clippy::panic, reason = "a test that waited in vain has failed")]
pub async fn wait_until<T, F>(what: &str, bound: Duration, mut look: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let deadline = Instant::now() + bound;
    let mut tick = FIRST_TICK;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, look()).await {
            Ok(Some(found)) => return found,
            Ok(None) if !left.is_zero() => {}
            _ => panic!("waited {bound:?} in vain for {what}"),
        }
        tokio::time::sleep(tick.min(left)).await;
        tick = (tick * 2).min(LONGEST_TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_later_is_seen() {
        let mut looks = 0;
        let seen = wait_until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await;
        assert_eq!(seen, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for a miracle")]
    async fn a_wait_in_vain_names_what_it_waited_for() {
        wait_until("a miracle", Duration::from_millis(20), async || None::<()>).await;
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for an answer")]
    async fn a_look_that_hangs_is_cut_off() {
        wait_until("an answer", Duration::from_millis(20), async || {
            std::future::pending::<Option<()>>().await
        })
        .await;
    }
}
