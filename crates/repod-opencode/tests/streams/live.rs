//! The same on an OpenCode that runs: prompts under ids of our own, told as they come.

use repod_opencode::v1_18::agent::{
    Incoming, Kin, Progress, TranslateOptions, Translator, prompt_id, transcripts,
};
use repod_opencode::{BackendClient, SseDecoder};
use repod_proto::agent::{Transcript, TurnOutcome};
use repod_testkit::{Script, World};
use serde_json::json;
use std::time::Duration;

const BOUND: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_turn_under_an_id_of_our_own_is_told_as_it_is_stored() {
    let world = World::bare_builder().build();
    let repo = world.git_repo("live");
    let server = world.bare(&repo);
    let oc = server.oc();
    let port = server.url().rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
    let session = oc.create_session(&repo).await.unwrap();
    let mut body = BackendClient::new(port, String::new()).global_events(BOUND).await.unwrap();
    let mut translator = Translator::new(&session, TranslateOptions::default());
    let (mut decoder, mut kin) = (SseDecoder::new(1 << 20), Kin::default());
    let child = Script::new().text("The child is done.");
    let scripts = [
        Script::new().reasoning("hm").bash("echo one").task(&child).text("First."),
        Script::new().write(repo.join("a.txt"), "a\n").text("Second."),
    ];
    for script in scripts {
        let prompt = prompt_id();
        translator.begin_turn(Some(&prompt));
        let parts = json!([{ "type": "text", "text": script.to_string() }]);
        let asked = json!({ "messageID": prompt, "parts": parts });
        oc.post(&format!("/session/{session}/prompt_async"), None, asked).await.unwrap();
        let mut told = Vec::new();
        let mut end = None;
        while end.is_none() {
            let piece = tokio::time::timeout(BOUND, body.next()).await.expect("events in time");
            decoder.each(&piece.unwrap().unwrap(), |data| {
                let Some(event) = Incoming::read(data) else { return };
                kin.note(&event);
                if kin.root(event.session()) != session {
                    return;
                }
                if let Progress::Settled(settled) = translator.feed(event, &mut told) {
                    end = Some(settled);
                }
            });
        }
        assert_eq!(end.unwrap().outcome, TurnOutcome::Completed);
        let stored =
            transcripts(&oc.messages(&session).await.unwrap(), &TranslateOptions::default());
        let (id, stored) = stored.last().unwrap();
        assert_eq!((*id == prompt, &Transcript::of(&told)), (true, stored));
    }
    drop(server);
    world.finish();
}
