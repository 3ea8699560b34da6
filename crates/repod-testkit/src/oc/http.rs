//! HTTP/1.1 to one base URL, with basic authentication and an optional path prefix.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long anything but a turn may take.
pub(super) const BOUND: Duration = Duration::from_mins(1);

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum OcError {
    /// The base URL isn't `http://host:port[/prefix]`.
    #[error("`{0}` is no base URL")]
    Url(String),
    /// Nobody listens there.
    #[error("can't connect to `{authority}`")]
    Connect {
        /// Host and port.
        authority: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The connection or the protocol broke.
    #[error("`{call}` broke off")]
    Http {
        /// Method and path.
        call: String,
        /// The cause.
        #[source]
        source: hyper::Error,
    },
    /// The request can't be written.
    #[error("`{call}` is no request")]
    Request {
        /// Method and path.
        call: String,
        /// The cause.
        #[source]
        source: hyper::http::Error,
    },
    /// No answer in time.
    #[error("no answer to `{call}` within {bound:?}")]
    Timeout {
        /// Method and path, or what was waited for.
        call: String,
        /// The bound.
        bound: Duration,
    },
    /// An answer, but not a good one.
    #[error("`{call}` answered {status}: {body}")]
    Status {
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// The document, or the text as a JSON string.
        body: Value,
    },
    /// The event stream has ended.
    #[error("the events ended while waiting for {0}")]
    Ended(String),
}

/// A whole answer, good or bad.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Method and path it answers.
    pub call: String,
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: hyper::HeaderMap,
    /// The document; the text as a JSON string when it is none; null when empty.
    pub body: Value,
}

impl Reply {
    /// The document of a 2xx.
    ///
    /// # Errors
    /// [`OcError::Status`] for any other status.
    pub fn ok(self) -> Result<Value, OcError> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        Err(OcError::Status { call: self.call, status: self.status, body: self.body })
    }
}

/// An OpenCode server, or something that stands in front of one.
#[derive(Clone, Debug)]
pub struct Oc {
    url: String,
    authorization: Option<String>,
}

impl Oc {
    /// The server at `url`: `http://host:port`, with a path prefix if need be.
    pub fn new(url: impl Into<String>) -> Self {
        let url: String = url.into();
        Self { url: url.trim_end_matches('/').to_owned(), authorization: None }
    }

    /// With basic authentication.
    pub fn with_auth(mut self, username: &str, password: &str) -> Self {
        let credentials = BASE64_STANDARD.encode(format!("{username}:{password}"));
        self.authorization = Some(format!("Basic {credentials}"));
        self
    }

    /// What `repod ensure --json` answered.
    ///
    /// # Panics
    /// When the endpoint has no URL, that is, never had a backend.
    pub fn of(endpoint: &repod_proto::Endpoint) -> Self {
        let url = endpoint.url.as_deref().expect("the endpoint has a URL");
        match &endpoint.password {
            Some(password) => Self::new(url).with_auth(&endpoint.username, password),
            None => Self::new(url),
        }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Any request; the answer is read to its end, whatever its status.
    ///
    /// # Errors
    /// When there is no answer within `bound`.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        directory: Option<&Path>,
        body: Option<Value>,
        bound: Duration,
    ) -> Result<Reply, OcError> {
        let call = format!("{method} {path}");
        let whole = async {
            let response = self.send(method, path, directory, body).await?;
            let (head, body) = response.into_parts();
            let collected = body.collect().await;
            let bytes = collected
                .map_err(|source| OcError::Http { call: call.clone(), source })?
                .to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            let body = match bytes.is_empty() {
                true => Value::Null,
                false => serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
            };
            let status = head.status.as_u16();
            Ok(Reply { call: call.clone(), status, headers: head.headers, body })
        };
        let late = || OcError::Timeout { call: call.clone(), bound };
        tokio::time::timeout(bound, whole).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends a request; the body of the answer is still to be read.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        directory: Option<&Path>,
        body: Option<Value>,
    ) -> Result<Response<Incoming>, OcError> {
        let call = format!("{method} {path}");
        let base: Uri = self.url.parse().map_err(|_| OcError::Url(self.url.clone()))?;
        let authority = base.authority().ok_or_else(|| OcError::Url(self.url.clone()))?.to_string();
        let stream = TcpStream::connect(&authority)
            .await
            .map_err(|source| OcError::Connect { authority: authority.clone(), source })?;
        let broke = |source| OcError::Http { call: call.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // Ends when the answer has been read or dropped, since `sender` is gone by then.
        tokio::spawn(connection);

        let target =
            format!("{}{path}{}", base.path().trim_end_matches('/'), query(path, directory));
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, &authority)
            .header(header::ACCEPT, "*/*");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        if !bytes.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(bytes))
            .map_err(|source| OcError::Request { call: call.clone(), source })?;
        sender.send_request(request).await.map_err(broke)
    }
}

fn query(path: &str, directory: Option<&Path>) -> String {
    let Some(directory) = directory else {
        return String::new();
    };
    let sign = if path.contains('?') { '&' } else { '?' };
    let mut query = format!("{sign}directory=");
    for byte in directory.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                query.push(char::from(*byte));
            }
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_escaped_in_the_query() {
        assert_eq!(query("/event", Some(Path::new("/a b/ü"))), "?directory=/a%20b/%C3%BC");
        assert_eq!(query("/x?y=1", Some(Path::new("/a"))), "&directory=/a");
        assert_eq!(query("/x", None), "");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let error = Oc::new("http://127.0.0.1:1/p").health().await.unwrap_err();
        assert_eq!(error.to_string(), "can't connect to `127.0.0.1:1`");
    }
}
