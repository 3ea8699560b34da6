use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Answers one request with these bytes; gives back what was asked.
async fn answering(answer: Vec<u8>) -> (BackendClient, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let _ = stream.write_all(&answer).await;
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (BackendClient::new(port, "s3cret".to_owned()), asked)
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_healthy_backend_tells_its_version_to_whoever_has_the_password() {
    let (client, asked) =
        answering(http("200 OK", r#"{"healthy":true,"version":"1.18.33"}"#)).await;
    assert_eq!(client.health(LIMIT).await.unwrap().version, "1.18.33");
    let asked = asked.await.unwrap().to_lowercase();
    assert!(asked.starts_with("get /global/health http/1.1"), "{asked}");
    // "opencode:s3cret"
    assert!(asked.contains("authorization: basic b3blbmnvzgu6cznjcmv0"), "{asked}");
    assert!(!format!("{client:?}").contains("s3cret"));
    assert!(!asked.contains("x-request-id"), "{asked}");
    let (client, asked) =
        answering(http("200 OK", r#"{"healthy":true,"version":"1.18.33"}"#)).await;
    let id = "req-7".parse().unwrap();
    client.on_behalf_of(Some(&id)).health(LIMIT).await.unwrap();
    let asked = asked.await.unwrap().to_lowercase();
    assert!(asked.contains("\r\nx-request-id: req-7\r\n"), "{asked}");
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    let (client, _) = answering(http("401 Unauthorized", "")).await;
    let error = client.health(LIMIT).await.unwrap_err();
    assert!(matches!(error, ProbeError::Unauthorized) && error.is_final());

    for answer in
        [http("200 OK", "<html>"), http("404 Not Found", ""), b"SSH-2.0-x\r\n\r\n".to_vec()]
    {
        let (client, _) = answering(answer).await;
        let error = client.health(LIMIT).await.unwrap_err();
        assert!(matches!(error, ProbeError::NotOpencode(_)) && error.is_final(), "{error}");
    }

    let (client, _) = answering(http("503 Service Unavailable", "")).await;
    assert!(!client.health(LIMIT).await.unwrap_err().is_final());

    let body = r#"{"name":"ConfigInvalidError","data":{"path":"/r/opencode.json","issues":[]}}"#;
    let (client, _) = answering(http("400 Bad Request", body)).await;
    let error = client.session_count("/r").await.unwrap_err().to_string();
    assert_eq!(error, "it answered 400: ConfigInvalidError: /r/opencode.json");

    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = BackendClient::new(port, String::new());
    let short = Duration::from_millis(50);
    assert!(matches!(client.health(short).await, Err(ProbeError::TimedOut(_))));
    drop(listener);
    assert!(matches!(client.health(LIMIT).await, Err(ProbeError::Refused)));
}

#[tokio::test]
async fn busy_is_whatever_is_not_idle() {
    let body = r#"{"a":{"type":"busy"},"b":{"type":"retry","attempt":1,"message":"m","next":2},
        "c":{"type":"idle"},"d":{"type":"new-fangled"}}"#;
    let (client, asked) = answering(http("200 OK", body)).await;
    assert_eq!(client.busy_sessions("/src/a b&c").await.unwrap(), 3);
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /session/status?directory=/src/a%20b%26c HTTP"), "{asked}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ANSWER_MAX + 1);
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + ANSWER_MAX + 1, b' ');
    let (client, _) = answering(answer).await;
    assert!(matches!(client.session_count("/r").await, Err(ProbeError::TooLarge)));
}
