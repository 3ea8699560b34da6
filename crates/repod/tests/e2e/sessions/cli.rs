//! `repod prompt` and `repod sessions`.

use crate::{BOUND, builder, world};
use repod_proto::agent::{AgentEvent, Transcript, TurnOutcome};
use repod_proto::{SessionDetail, SessionInfo, exit};
use repod_testkit::{Permissions, Script, wait_until};
use rustix::process::Signal;

#[test]
fn a_prompt_prints_the_answer_and_says_by_its_exit_code_how_it_ended() {
    let world = world();
    let repo = world.git_repo("web");
    let script = Script::new().write(repo.join("a.txt"), "x\n").text("the answer");
    let output = world.repod(["prompt", "--repo"]).arg(&repo).arg(script.prompt("do")).bound(BOUND);
    let output = output.ok();
    assert_eq!(output.stdout, "the answer\n");
    assert!(output.stderr.contains("write") && output.stderr.contains("a.txt"), "{output:?}");

    // From standard input, as NDJSON, in a session of a name.
    let script = Script::new().reasoning("hm").text("one").prompt("do");
    let prompt = ["prompt", "--json", "--session", "mine", "--repo"];
    let output = world.repod(prompt).arg(&repo).stdin(script.as_str()).bound(BOUND).ok();
    let events: Vec<AgentEvent> = output.ndjson();
    let Some(AgentEvent::Turn(end)) = events.last() else { panic!("{output:?}") };
    assert_eq!((end.outcome, &end.error), (TurnOutcome::Completed, &None));
    let transcript = Transcript::of(&events);
    assert_eq!((&*transcript.text, &*transcript.reasoning), ("one", "hm"));
    let first = output.stdout.lines().next().unwrap();
    assert!(first.starts_with(r#"{"type":"status""#), "{first}");

    let failing = Script::new().fail(400).prompt("do");
    let code = world.repod(["prompt", "--session", "mine", "--repo"]).arg(&repo).arg(failing);
    assert_eq!(code.bound(BOUND).code(), i32::from(exit::FAILURE));
    let usage = world.repod(["prompt", "--model", "/", "--repo"]).arg(&repo).arg("x").code();
    assert_eq!(usage, i32::from(exit::USAGE));

    let all: Vec<SessionInfo> = world.repod(["sessions", "--json"]).json();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].session_id, "mine");
    let shown: SessionDetail = world.repod(["sessions", "show", "mine", "--json"]).json();
    let states: Vec<_> = shown.turns.iter().map(|turn| turn.state.as_str()).collect();
    assert_eq!(states, ["failed", "completed"]);
    assert_eq!(shown.turns[1].prompt, script.trim());
    world.repod(["sessions", "close", "mine"]).ok();
    let open: Vec<SessionInfo> = world.repod(["sessions", "list", "--json"]).json();
    assert_eq!(open.len(), 1);
    world.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_turn_and_a_turn_that_waits_is_answered_later() {
    let world = builder().permissions(Permissions::Ask).build();
    let repo = world.git_repo("web");
    let script = Script::new().gate("go").text("never").prompt("do");
    let running = world.repod(["prompt", "--session", "mine", "--repo"]).arg(&repo).arg(script);
    let running = running.bound(BOUND).spawn();
    wait_until("the model", BOUND, async || (world.model().waiting_at("go") > 0).then_some(()))
        .await;
    running.handle().signal(Signal::INT).unwrap();
    assert_eq!(running.wait(BOUND).code, i32::from(exit::INTERRUPTED));
    world.model().open("go");

    let script = Script::new().write(repo.join("a.txt"), "x").text("done").prompt("do");
    let output = world.repod(["prompt", "--json", "--session", "mine", "--repo"]).arg(&repo);
    let output = output.arg(script).bound(BOUND).run();
    assert_eq!(output.code, i32::from(exit::WAITING), "{output:?}");
    let events: Vec<AgentEvent> = output.ndjson();
    let ask = events.iter().find_map(|event| match event {
        AgentEvent::Permission(ask) => Some(ask.request_id.clone()),
        _ => None,
    });
    let answer = ["sessions", "answer", "mine", &ask.unwrap(), "--option", "once"];
    world.repod(answer).ok();
    let follow = world.repod(["sessions", "follow", "mine"]).bound(BOUND).run();
    // From its begin, where it still waited; or to its end.
    assert!([exit::OK, exit::WAITING].map(i32::from).contains(&follow.code));
    wait_until("the file", BOUND, async || repo.join("a.txt").exists().then_some(())).await;
    world.finish();
}
