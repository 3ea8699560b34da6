//! Sessions of two clones, carried over and back, cut short, repeated, changed on either side.
//!
//! The schema is the one the real OpenCode 1.18.33 makes; the end-to-end tests use its own database.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod land;

use land::{Land, rows};
use repod_history::{Adoption, HistoryError, Report, eject, holders};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn adopt(land: &Land, clone: &str) -> Result<Report, HistoryError> {
    adopt_until(land, clone, usize::MAX).await
}

/// Breaks off before the session of this number.
async fn adopt_until(land: &Land, clone: &str, cut: usize) -> Result<Report, HistoryError> {
    let adoption = Adoption::begin(&land.database()).await?.unwrap();
    let selection = adoption.survey().select(clone, &land.standings(clone));
    let told = AtomicUsize::new(0);
    let progress = |_, _| {
        if told.fetch_add(1, Ordering::SeqCst) == cut {
            panic!("cut");
        }
    };
    let state = land.state_dir(clone);
    adoption.carry(&state, &land.data(), &selection, &progress).await
}

fn own(land: &Land, clone: &str) -> std::path::PathBuf {
    land.state_dir(clone).join("data/opencode/opencode.db")
}

#[tokio::test]
async fn each_clone_gets_its_own_sessions_byte_for_byte_and_the_source_is_not_written() {
    let land = Land::new(12).await;
    let (file, log) = (land.bytes(""), land.bytes("-wal"));
    for clone in ["/a", "/b"] {
        let report = adopt(&land, clone).await.unwrap();
        assert_eq!(report.added, 6, "{clone}");
        assert_eq!(report.logins, ["account"]);
        let expected = rows(&land.database(), Some(clone)).await;
        assert_eq!(rows(&own(&land, clone), None).await, expected, "{clone}");
        assert!(land.state_dir(clone).join("history.json").exists());
        assert!(!land.state_dir(clone).join("data/opencode/adopting.db").exists());
        assert_eq!(land.count(&own(&land, clone), "SELECT count(*) FROM account").await, 0);
        let worktree = format!("SELECT count(*) FROM project WHERE worktree = '{clone}'");
        assert_eq!(land.count(&own(&land, clone), &worktree).await, 1);
        let again = adopt(&land, clone).await.unwrap();
        assert_eq!((again.added, again.unchanged), (0, 6), "{clone}, again");
    }
    assert_eq!((land.bytes(""), land.bytes("-wal")), (file, log), "the source was written");
}

#[tokio::test]
async fn what_a_killed_process_left_in_the_log_is_read_and_stays_there() {
    let land = Land::new(4).await;
    let left = land.left_by_a_death();
    let (file, log) = (left.bytes(""), left.bytes("-wal"));
    assert!(log.len() > 4096, "nothing is in the log");
    assert_eq!(adopt(&left, "/a").await.unwrap().added, 2);
    assert!((left.bytes(""), left.bytes("-wal")) == (file, log), "the source was written");
}

#[tokio::test]
async fn cut_short_anywhere_it_goes_on_and_nobody_sees_a_half() {
    for cut in 0..=6 {
        let land = Arc::new(Land::new(12).await);
        let shared = Arc::clone(&land);
        let cut_short = tokio::spawn(async move { adopt_until(&shared, "/a", cut).await });
        assert!(cut_short.await.unwrap_err().is_panic(), "cut at {cut}");
        assert!(!own(&land, "/a").exists(), "a half was seen after the cut at {cut}");
        assert!(repod_history::is_due(&land.state_dir("/a")).unwrap());
        let report = adopt(&land, "/a").await.unwrap();
        assert_eq!((report.unchanged, report.added), (cut, 6 - cut), "resumed after {cut}");
        let expected = rows(&land.database(), Some("/a")).await;
        assert_eq!(rows(&own(&land, "/a"), None).await, expected, "cut at {cut}");
        assert!(!repod_history::is_due(&land.state_dir("/a")).unwrap());
    }
}

#[tokio::test]
async fn what_was_added_since_follows_and_what_was_deleted_here_stays_so() {
    let land = Land::new(8).await;
    adopt(&land, "/a").await.unwrap();
    let here = own(&land, "/a");
    land.session("ses_new", "/a").await;
    land.go_on(&land.database(), "ses_0", "there").await;
    land.delete(&here, "ses_2").await;
    land.go_on(&here, "ses_4", "here").await;
    land.go_on(&here, "ses_6", "here").await;
    land.go_on(&land.database(), "ses_6", "there").await;
    let report = adopt(&land, "/a").await.unwrap();
    let Report { added, updated, unchanged, merged, deleted, .. } = report;
    assert_eq!((added, updated, unchanged, merged, deleted), (1, 1, 1, 1, 1));
    let texts = |id: &str| format!("SELECT count(*) FROM message WHERE session_id = '{id}'");
    assert_eq!(land.count(&here, &texts("ses_0")).await, 3);
    assert_eq!(land.count(&here, &texts("ses_2")).await, 0);
    assert_eq!(land.count(&here, &texts("ses_4")).await, 3, "what went on here stays");
    assert_eq!(land.count(&here, &texts("ses_6")).await, 4, "what went on in both is united");
}

#[tokio::test]
async fn eject_brings_old_and_new_back_once() {
    let land = Land::new(8).await;
    adopt(&land, "/a").await.unwrap();
    adopt(&land, "/b").await.unwrap();
    let others = rows(&land.database(), Some("/b")).await;
    land.go_on(&own(&land, "/a"), "ses_0", "here").await;
    land.session_in(&own(&land, "/a"), "ses_made_here", "/a").await;
    let expected = rows(&own(&land, "/a"), None).await;

    let report = eject(&land.state_dir("/a"), &land.shared(), &|_, _| {}).await.unwrap();
    assert_eq!((report.added, report.updated, report.unchanged), (1, 1, 3));
    assert_eq!(rows(&land.database(), Some("/a")).await, expected);
    assert_eq!(rows(&land.database(), Some("/b")).await, others, "the other clone's are as before");
    assert!(!own(&land, "/a").exists());
    assert!(report.kept.unwrap().exists());
    assert_eq!(land.count(&land.database(), "SELECT count(*) FROM account").await, 1);

    let again = eject(&land.state_dir("/a"), &land.shared(), &|_, _| {}).await.unwrap();
    assert_eq!((again.added, again.kept), (0, None));
    assert!(repod_history::is_due(&land.state_dir("/a")).unwrap(), "the next start begins anew");
}

#[tokio::test]
async fn eject_cut_short_has_brought_all_of_it_or_nothing() {
    for cut in 0..=4 {
        let land = Arc::new(Land::new(8).await);
        adopt(&land, "/a").await.unwrap();
        for n in [0, 2, 4, 6] {
            land.go_on(&own(&land, "/a"), &format!("ses_{n}"), "here").await;
        }
        let before = rows(&land.database(), None).await;
        let expected = rows(&own(&land, "/a"), None).await;
        let shared = Arc::clone(&land);
        let cut_short = tokio::spawn(async move {
            let progress = move |done, _| assert!(done != cut, "cut");
            eject(&shared.state_dir("/a"), &shared.shared(), &progress).await
        });
        assert!(cut_short.await.unwrap_err().is_panic(), "cut at {cut}");
        assert!(own(&land, "/a").exists(), "cut at {cut}");
        let is_whole = rows(&land.database(), Some("/a")).await == expected;
        let is_untouched = rows(&land.database(), None).await == before;
        assert!(is_whole == (cut == 4) && is_untouched == (cut < 4), "cut at {cut}");
        let report = eject(&land.state_dir("/a"), &land.shared(), &|_, _| {}).await.unwrap();
        assert_eq!(report.updated + report.unchanged, 4, "cut at {cut}");
        assert_eq!(rows(&land.database(), Some("/a")).await, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn eject_does_not_write_while_somebody_has_it_open() {
    let land = Land::new(4).await;
    adopt(&land, "/a").await.unwrap();
    let file = std::fs::File::open(land.database()).unwrap();
    let mut sleeper = std::process::Command::new("sleep").arg("60").stdin(file).spawn().unwrap();
    let holding = holders(&land.database()).unwrap();
    let refused = eject(&land.state_dir("/a"), &land.shared(), &|_, _| {}).await;
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(holding, [(sleeper.id(), "sleep".to_owned())]);
    assert!(matches!(refused, Err(HistoryError::InUse { .. })), "{refused:?}");
    assert!(own(&land, "/a").exists());
    eject(&land.state_dir("/a"), &land.shared(), &|_, _| {}).await.unwrap();
}

#[tokio::test]
async fn a_schema_that_is_not_known_is_refused_and_the_way_out_named() {
    for (change, said) in [
        ("INSERT INTO migration VALUES ('20990101_future', 1)", "20990101_future"),
        ("ALTER TABLE part ADD COLUMN more TEXT", "another column `more`"),
        ("CREATE TABLE other (id TEXT)", "another table `other`"),
        ("DROP TABLE todo", "lacks the table `todo`"),
        ("DELETE FROM migration WHERE id LIKE '20260622202450%'", "older OpenCode"),
    ] {
        let land = Land::new(2).await;
        land.run(&land.database(), change).await;
        let error = Adoption::begin(&land.database()).await.unwrap_err();
        assert!(error.to_string().contains(said), "{change}: {error}");
        assert!(error.hint().contains("OpenCode 1.18.33"), "{}", error.hint());
    }
    assert!(Adoption::begin(Path::new("/nowhere/opencode.db")).await.unwrap().is_none());
}

#[tokio::test]
async fn snapshots_of_the_clones_own_worktrees_come_along() {
    let land = Land::new(2).await;
    adopt(&land, "/a").await.unwrap();
    let own = land.state_dir("/a").join("data/opencode/snapshot/p");
    assert_eq!(fs_err::read(own.join("of-a/objects/ab/object")).unwrap(), b"object");
    assert!(own.join("of-a/config").exists());
    assert!(!own.join("of-a/index.lock").exists() && !own.join("of-b").exists());
}
