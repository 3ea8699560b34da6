//! The server as an OpenAI client sees it.

use super::answer::{Answer, Piece, split};
use super::{Kind, ModelServer, Outcome};
use crate::script::{Script, Step, ToolCall};
use crate::{Oc, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn assistant() -> Value {
    json!({ "role": "assistant", "content": "so far" })
}

async fn ask(server: &ModelServer, messages: Value) -> (u16, Value) {
    let body = json!({ "model": "plain", "messages": messages });
    let path = "/v1/chat/completions";
    let reply = Oc::new(server.url()).call("POST", path, None, Some(body), BOUND).await.unwrap();
    (reply.status, reply.body)
}

fn said(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

#[tokio::test]
async fn the_step_is_the_number_of_answers_since_the_user_spoke() {
    let server = ModelServer::start().unwrap();
    let script = Script::new().text("one").text("two").prompt("go");
    let old = [user("before"), assistant(), assistant()];
    let conversation = |answers: usize| {
        let mut all = old.to_vec();
        all.push(user(&script));
        all.extend(vec![assistant(); answers]);
        json!(all)
    };
    assert_eq!(said(&ask(&server, conversation(0)).await.1), "one");
    assert_eq!(said(&ask(&server, conversation(1)).await.1), "two");
    assert_eq!(said(&ask(&server, conversation(2)).await.1), "done");
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn without_a_script_the_user_is_echoed() {
    let server = ModelServer::start().unwrap();
    let parts = json!([{ "role": "user", "content": [{ "type": "text", "text": "hello you" }] }]);
    assert_eq!(said(&ask(&server, parts).await.1), "You said: hello you");
}

#[tokio::test]
async fn a_title_is_short_whatever_the_script_says() {
    let server = ModelServer::start().unwrap();
    let system = json!({ "role": "system", "content": "You are a title generator. …" });
    let prompt = Script::new().fail(500).to_string();
    let (status, body) = ask(&server, json!([system, user(&prompt)])).await;
    assert_eq!((status, said(&body)), (200, "Scripted session"));
    assert_eq!(server.requests()[0].kind, Kind::Title);
}

#[tokio::test]
async fn tool_calls_and_their_results_are_seen() {
    let server = ModelServer::start().unwrap();
    let calls = [ToolCall::bash("true"), ToolCall::read("/a")];
    let prompt = Script::new().tools(calls).text("end").to_string();
    let (_, first) = ask(&server, json!([user(&prompt)])).await;
    let choice = &first["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    let result = json!({ "role": "tool", "tool_call_id": calls[1]["id"], "content": "text of a" });
    ask(&server, json!([user(&prompt), choice["message"], result])).await;
    let seen = &server.requests()[1];
    assert_eq!((seen.step, seen.tool_results.len()), (1, 1));
    assert_eq!(seen.tool_results[0].tool.as_deref(), Some("read"));
    assert_eq!(seen.tool_results[0].text, "text of a");
}

#[tokio::test]
async fn failures_are_counted_when_the_script_limits_them() {
    let server = ModelServer::start().unwrap();
    let prompt = Script::new().flaky(503, 2).text("at last").to_string();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&server, json!([user(&prompt)])).await.0);
    }
    assert_eq!(statuses, [503, 503, 200]);
    assert_eq!(server.requests()[0].outcome(), Outcome::Failed(503));
}

#[tokio::test]
async fn a_script_that_can_not_be_read_says_why() {
    let server = ModelServer::start().unwrap();
    let (status, body) = ask(&server, json!([user(r#"SCRIPT: [{"txet":"x"}]"#)])).await;
    assert_eq!(status, 400);
    assert!(body["error"]["message"].as_str().unwrap().contains("txet"), "{body}");
}

#[tokio::test]
async fn a_prompt_quoted_by_opencode_run_is_understood() {
    let server = ModelServer::start().unwrap();
    let prompt = Script::new().text(r#"say "x""#).to_string();
    let quoted = format!("\"{}\"", prompt.replace('"', "\\\""));
    let (status, body) = ask(&server, json!([user(&quoted)])).await;
    assert_eq!((status, said(&body)), (200, r#"say "x""#));
    let child = Script::new().text("child");
    let nested = Script::new().task(&child).text("parent").prompt("words");
    let messages = json!([user(&nested), assistant()]);
    assert_eq!(said(&ask(&server, messages).await.1), "parent");
}

#[tokio::test]
async fn a_hanging_answer_ends_with_its_client() {
    let server = ModelServer::start().unwrap();
    let prompt = Script::new().hang().to_string();
    let body = json!({ "model": "plain", "messages": [user(&prompt)] });
    let patience = Duration::from_millis(200);
    let oc = Oc::new(server.url());
    let call = oc.call("POST", "/v1/chat/completions", None, Some(body), patience);
    assert!(call.await.is_err());
    wait_until("the server to notice", BOUND, async || {
        (server.requests()[0].outcome() == Outcome::ClientLeft).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_gate_holds_the_answer_until_it_is_opened() {
    let server = ModelServer::start().unwrap();
    let prompt = Script::new().gate("g").text("through").to_string();
    let (answer, ()) = tokio::join!(ask(&server, json!([user(&prompt)])), async {
        wait_until("the request at the gate", BOUND, async || {
            (server.waiting_at("g") == 1).then_some(())
        })
        .await;
        server.open("g");
    });
    assert_eq!(said(&answer.1), "through");
}

#[tokio::test]
async fn a_cut_stream_breaks_off_in_the_middle() {
    let server = ModelServer::start().unwrap();
    let prompt = Script::new().cut("first second").to_string();
    let body = json!({ "model": "plain", "stream": true, "messages": [user(&prompt)] });
    let oc = Oc::new(server.url());
    let call = oc.call("POST", "/v1/chat/completions", None, Some(body), BOUND);
    assert!(matches!(call.await, Err(crate::OcError::Http { .. })));
    assert_eq!(server.requests()[0].outcome(), Outcome::Cut);
}

#[tokio::test]
async fn a_stream_has_its_finish_its_usage_and_its_end() {
    let server = ModelServer::start().unwrap();
    let prompt = Script::new().reasoning("hm").paced("äöü!", 4, Duration::from_millis(1));
    let messages = json!([user(&prompt.to_string())]);
    let body = json!({ "model": "plain", "stream": true, "messages": messages });
    let oc = Oc::new(server.url());
    let call = oc.call("POST", "/v1/chat/completions", None, Some(body), BOUND);
    let text = call.await.unwrap().body.as_str().unwrap().to_owned();
    let chunks: Vec<Value> = text
        .split("\n\n")
        .filter_map(|block| serde_json::from_str(block.strip_prefix("data: ")?).ok())
        .collect();
    let delta = |name: &str| -> Vec<&str> {
        let deltas = chunks.iter().map(|c| &c["choices"][0]["delta"][name]);
        deltas.filter_map(Value::as_str).filter(|t| !t.is_empty()).collect()
    };
    assert_eq!(delta("content"), ["ä", "ö", "ü", "!"]);
    assert_eq!(delta("reasoning_content").concat(), "hm");
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert!(chunks[chunks.len() - 1]["usage"]["total_tokens"].as_u64().unwrap() > 2);
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[test]
fn the_pause_comes_before_each_delta() {
    let step = Step { text: Some("ab".into()), deltas: 2, delay_ms: 7, ..Step::default() };
    let answer = Answer { id: "1".into(), model: "m".into(), step, asked: 0 };
    let pieces = answer.pieces(false);
    let pauses = pieces.iter().filter(|p| matches!(p, Piece::Chunk(d, _) if !d.is_zero()));
    assert_eq!(pauses.count(), 2);
    assert_eq!(answer.total_pause(), Duration::from_millis(14));
    assert_eq!(split("abc", 2), ["ab", "c"]);
    assert_eq!(split("", 3), Vec::<&str>::new());
}
