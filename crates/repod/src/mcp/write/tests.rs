//! The daemon is a stub here: what is shown is which requests reach it, and when one is repeated.

use super::*;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use repod_client::{Home, StartPolicy};
use repod_proto::{ErrorBody, MutationOutcome};
use std::sync::{Arc, Mutex};

/// What the stub does with its n-th request.
type Reply = Box<dyn FnMut(usize, &RouteFile) -> Result<(), ApiError> + Send>;

struct Stub {
    reply: Reply,
    asked: Vec<RouteWriteRequest>,
}

struct World {
    dir: tempfile::TempDir,
    client: Client,
    stub: Arc<Mutex<Stub>>,
}

async fn write(
    State(stub): State<Arc<Mutex<Stub>>>,
    Json(request): Json<RouteWriteRequest>,
) -> Result<Json<RouteReport>, (StatusCode, Json<ErrorBody>)> {
    let mut stub = stub.lock().unwrap();
    stub.asked.push(request.clone());
    let count = stub.asked.len();
    (stub.reply)(count, &request.files[0]).map_err(|error| {
        (StatusCode::from_u16(error.code.http_status()).unwrap(), Json(ErrorBody { error }))
    })?;
    let operation_id = request.by.operation_id.unwrap_or_default();
    let outcome = MutationOutcome::Applied;
    Ok(Json(RouteReport { operation_id, outcome, targets: vec![], diff: String::new() }))
}

impl World {
    fn new(reply: impl FnMut(usize, &RouteFile) -> Result<(), ApiError> + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let stub = Arc::new(Mutex::new(Stub { reply: Box::new(reply), asked: Vec::new() }));
        let router = Router::new().route("/v1/route/write", post(write)).with_state(stub.clone());
        let listener = tokio::net::UnixListener::bind(home.socket()).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        // It listens, so nothing is started; should it not, this could start nothing.
        let policy = StartPolicy::With("/nonexistent".into());
        let client = Client::new(home).start_policy(policy);
        Self { dir, client, stub }
    }

    fn file(&self, content: &str) -> PathBuf {
        let path = self.dir.path().join("file.txt");
        fs_err::write(&path, content).unwrap();
        path
    }

    fn writer(&self) -> Writer<'_> {
        let owner = "agent".to_owned();
        Writer { client: &self.client, owner, tool: "repo_edit", wait_seconds: Some(3) }
    }

    fn asked(&self) -> Vec<RouteWriteRequest> {
        self.stub.lock().unwrap().asked.clone()
    }
}

const EDIT: Edit<'_> = Edit { old: "two", new: "2", all: false };

fn sent(request: &RouteWriteRequest) -> (String, Option<String>) {
    let file = &request.files[0];
    let content = STANDARD.decode(file.content_base64.as_ref().unwrap()).unwrap();
    (String::from_utf8(content).unwrap(), file.expected_sha256.clone())
}

fn refused() -> ApiError {
    ApiError::new(ErrorCode::WriteRefused, "not as it was when it was read")
}

#[tokio::test]
async fn an_edit_says_who_makes_it_and_what_it_was_made_from() {
    let world = World::new(|_, _| Ok(()));
    let path = world.file("one two");
    let report = world.writer().edit(&path, EDIT).await.unwrap();
    let asked = world.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(sent(&asked[0]), ("one 2".to_owned(), Some(sha256(b"one two"))));
    let by = &asked[0].by;
    assert_eq!((by.name.as_deref(), &*by.tool), (Some("mcp:agent"), "mcp:repo_edit"));
    assert_eq!((by.title.as_str(), by.wait_seconds), ("mcp:agent: repo_edit file.txt", Some(3)));
    assert_eq!(by.operation_id.as_ref(), Some(&report.operation_id));
    // The daemon writes; nothing is written here.
    assert_eq!(fs_err::read_to_string(path).unwrap(), "one two");
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_edited_anew() {
    let world = World::new(|count, file| {
        if count == 1 {
            fs_err::write(&file.path, "another one, two").unwrap();
            return Err(refused());
        }
        Ok(())
    });
    let path = world.file("one two");
    world.writer().edit(&path, EDIT).await.unwrap();
    let asked = world.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(sent(&asked[1]), ("another one, 2".to_owned(), Some(sha256(b"another one, two"))));
    assert_ne!(asked[0].by.operation_id, asked[1].by.operation_id, "it is another write");
}

#[tokio::test]
async fn an_edit_that_does_not_fit_any_more_is_refused() {
    let world = World::new(|_, file| {
        fs_err::write(&file.path, "all else").unwrap();
        Err(refused())
    });
    let path = world.file("one two");
    let error = world.writer().edit(&path, EDIT).await.unwrap_err();
    assert!(error.message.contains("does not occur"), "{error:?}");
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn a_file_that_never_rests_is_given_up_after_three_tries() {
    let world = World::new(|count, file| {
        fs_err::write(&file.path, format!("{count} two")).unwrap();
        Err(refused())
    });
    let path = world.file("one two");
    assert_eq!(world.writer().edit(&path, EDIT).await.unwrap_err(), refused());
    assert_eq!(world.asked().len(), 3);
}

#[tokio::test]
async fn what_may_have_been_written_is_not_tried_again() {
    let codes = [ErrorCode::BackendBroke, ErrorCode::WriteConflict, ErrorCode::LeaseTimeout];
    for code in codes {
        let world = World::new(move |_, file| {
            fs_err::write(&file.path, "changed, and two again").unwrap();
            Err(ApiError::new(code, "broken"))
        });
        let path = world.file("one two");
        assert_eq!(world.writer().edit(&path, EDIT).await.unwrap_err().code, code);
        assert_eq!(world.asked().len(), 1);
    }
    // A refusal for another reason isn't repeated either.
    let world = World::new(|_, _| Err(refused()));
    let path = world.file("one two");
    assert_eq!(world.writer().edit(&path, EDIT).await.unwrap_err(), refused());
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test]
async fn what_is_no_text_is_not_edited() {
    let world = World::new(|_, _| Ok(()));
    let path = world.file("");
    fs_err::write(&path, b"two\xff").unwrap();
    let error = world.writer().edit(&path, EDIT).await.unwrap_err();
    assert!(error.message.contains("UTF-8"), "{error:?}");
    assert!(world.asked().is_empty());
}

#[test]
fn the_digest_is_the_one_everybody_knows() {
    assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
