//! What is true of the store of agent sessions, whichever database holds it.
//!
//! Each story is played on SQLite as a test of its own, and all of them on one real PostgreSQL, each in a
//! database of its own. A second `open` is a second daemon.

mod events;
mod owners;
mod sessions;
mod turns;

use crate::place::Place;
use repod_testkit::Postgres;

macro_rules! stories {
    ($($room:ident::$story:ident,)*) => {
        mod on_sqlite {
            use super::Place;
            $(
                #[tokio::test]
                async fn $story() {
                    Box::pin(super::$room::$story(&Place::sqlite())).await;
                }
            )*
        }

        #[tokio::test]
        async fn every_story_is_true_of_postgres_too() {
            let server = Postgres::start().await;
            $(
                println!(concat!("-- ", stringify!($story)));
                let place = Place::postgres(&server, stringify!($story)).await;
                Box::pin($room::$story(&place)).await;
            )*
            // What PostgreSQL itself finds wrong with a statement is a mistake in it.
            let log = server.log();
            let wrong: Vec<_> = log.lines().filter(|line| line.contains("ERROR:")).collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    };
}

stories! {
    sessions::a_new_name_is_a_new_session_and_a_known_one_is_resumed,
    sessions::a_session_is_bound_to_a_generation_and_never_to_an_older_one,
    sessions::a_crashed_session_is_idle_again_with_a_new_conversation,
    sessions::a_closed_name_begins_anew_and_its_turns_count_on,
    sessions::lists_begin_with_the_last_active,
    sessions::names_may_hold_anything,
    owners::a_newer_start_ends_what_the_older_one_may_do,
    owners::of_two_daemons_one_has_the_session,
    owners::a_lapsed_daemon_loses_its_session_and_its_turns_end,
    owners::many_daemons_that_fight_for_a_session_never_have_it_both,
    owners::turns_left_by_a_start_are_recovered_by_the_next,
    owners::a_daemon_that_retires_is_not_waited_for,
    turns::a_turn_is_begun_once_by_its_name,
    turns::turns_run_one_after_the_other_in_the_order_they_came,
    turns::who_would_wait_too_long_is_refused,
    turns::a_turn_settles_once_whoever_comes_first,
    turns::a_turn_that_waits_for_a_person_is_not_over,
    turns::a_queued_turn_can_be_cancelled,
    turns::a_prompt_can_be_too_large,
    events::events_are_read_from_where_one_left_off,
    events::a_batch_given_twice_is_kept_once,
    events::the_oldest_events_are_let_go,
    events::the_last_event_may_come_after_the_outcome,
    events::what_is_old_goes,
}
