//! route: what a request is about. The port says which repo; the path may carry the capability.

use super::bound::DIRECTORY;
use super::coordinate::{self, Writes};
use super::refuse::{Reason, Refusal};
use crate::backend::Use;
use crate::capability::Capability;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, header};
use std::borrow::Cow;

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Streamed both ways.
    Plain,
    /// An event stream.
    Events,
    /// A connection that becomes a WebSocket.
    Upgrade,
    /// Would end the turns of a directory.
    Dispose,
    /// Refused, with the reason.
    Closed(&'static str),
}

impl Kind {
    /// What its client counts as while it is served.
    pub(super) fn used_as<B>(&self, request: &Request<B>) -> Use {
        let agent = request.headers().get(header::USER_AGENT);
        match self {
            Self::Events if agent.is_some_and(|agent| is_shim(agent.as_bytes())) => Use::Handle,
            Self::Events => Use::Listener,
            _ => Use::Request { stirs: !request.method().is_safe() },
        }
    }
}

/// Whether this is the user agent of the shim's `opencode serve`.
fn is_shim(agent: &[u8]) -> bool {
    agent.starts_with(crate::shim::AGENT.as_bytes())
}

/// Where a request wants to go.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) kind: Kind,
    /// How it writes in a repository, if it does.
    pub(super) writes: Option<Writes>,
    /// What the backend is asked for: without the capability and `auth_token`.
    pub(super) target: PathAndQuery,
    /// The capability in the path.
    pub(super) capability: Option<Capability>,
    /// The value of `auth_token` in the query, decoded once.
    pub(super) auth_token: Option<String>,
}

impl Route {
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let malformed = |what| Refusal::new(Reason::Malformed, what);
        if request.method() == Method::CONNECT {
            return Err(malformed("the gateway is no forward proxy"));
        }
        let path = request.uri().path();
        if !path.starts_with('/') {
            return Err(malformed("the request target must be a path"));
        }
        let (segment, path) = split_capability(path);
        let capability = segment.map(Capability::parse);
        let (auth_token, query) = split_auth_token(request.uri().query());
        let as_sent = request.uri().path_and_query().filter(|_| request.uri().scheme().is_none());
        let target = match (as_sent, query) {
            // Most requests: nothing was taken out, so nothing is put together again.
            (Some(as_sent), _) if capability.is_none() && auth_token.is_none() => {
                Ok(as_sent.clone())
            }
            (_, Some(query)) => PathAndQuery::try_from(format!("{path}?{query}")),
            (_, None) => PathAndQuery::try_from(path),
        };
        let target = target.map_err(|_| malformed("the request target can't be understood"))?;
        let kind = kind(request, path);
        let writes = coordinate::writes(request.method(), path, &normalised(path));
        Ok(Self { kind, writes, target, capability, auth_token })
    }
}

impl Route {
    /// The directory it names, as OpenCode has it: the query wins over the header.
    pub(super) fn directory(&self, headers: &HeaderMap) -> Option<String> {
        let query = self.target.query().unwrap_or_default();
        let named = query.split('&').find_map(|pair| pair.strip_prefix("directory="));
        let named = named.filter(|value| !value.is_empty()).map(|value| value.replace('+', " "));
        let header = || Some(headers.get(DIRECTORY)?.to_str().ok()?.to_owned());
        let directory = named.or_else(header).filter(|directory| !directory.is_empty())?;
        Some(String::from_utf8_lossy(&percent_decode(&directory)).into_owned())
    }
}

/// `/~<token>/rest` in two.
fn split_capability(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/~") else {
        return (None, path);
    };
    match rest.find('/') {
        Some(end) => (Some(&rest[..end]), &rest[end..]),
        None => (Some(rest), "/"),
    }
}

/// The first `auth_token`, and the query without any.
fn split_auth_token(query: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(query) = query else {
        return (None, None);
    };
    let is_token = |pair: &&str| *pair == "auth_token" || pair.starts_with("auth_token=");
    let token = query.split('&').find(is_token).map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        String::from_utf8_lossy(&percent_decode(value)).into_owned()
    });
    let rest: Vec<_> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let rest = (token.is_none() || !rest.is_empty()).then(|| rest.join("&"));
    (token, rest)
}

fn kind<B>(request: &Request<B>, path: &str) -> Kind {
    let method = request.method();
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if !reads && let Some(why) = closed(path) {
        return Kind::Closed(why);
    }
    if *method == Method::POST && normalised(path) == "/instance/dispose" {
        return Kind::Dispose;
    }
    if request.headers().contains_key(header::UPGRADE) && is_websocket(request) {
        return Kind::Upgrade;
    }
    if *method == Method::GET && ["/event", "/global/event"].contains(&path) {
        return Kind::Events;
    }
    Kind::Plain
}

fn is_websocket<B>(request: &Request<B>) -> bool {
    let named = |name, wanted: &str| {
        let values = request.headers().get_all(name).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)))
    };
    let asked = named(header::CONNECTION, "upgrade") && named(header::UPGRADE, "websocket");
    asked && *request.method() == Method::GET
}

/// Why a route that changes something is not for clients. OpenCode 1.18.33's `/api` runs no plugin
/// hook: what is written there passes every guard by.
fn closed(path: &str) -> Option<&'static str> {
    let plain = normalised(path);
    let below = |route: &str| plain == route || plain.starts_with(&format!("{route}/"));
    if below("/api") {
        Some("changes through `/api` would go round the coordination of writers")
    } else if below("/global/upgrade") {
        Some("the version of a backend is repod's to choose")
    } else if below("/global/dispose") {
        Some("it would end the sessions of every client; `repod restart` is the way")
    } else {
        None
    }
}

/// The path as a lenient router could read it: decoded, without empty and dot segments, lower case.
/// Only ever used to refuse.
fn normalised(path: &str) -> String {
    let mut bytes = Cow::Borrowed(path.as_bytes());
    // Decoded more than once: nobody needs `%2561pi`, and who knows who decodes it.
    for _ in 0..3 {
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = Cow::Owned(percent_decode(&String::from_utf8_lossy(&bytes)));
    }
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase().replace('\\', "/");
    let text = text.split(['?', '#', '\0']).next().unwrap_or_default();
    let mut segments = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default().trim() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                decoded.push(digit(*high).unwrap_or(0) << 4 | digit(*low).unwrap_or(0));
                rest = after;
            }
            _ => decoded.push(*first),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: &str, uri: &str) -> Route {
        Route::of(&Request::builder().method(method).uri(uri).body(()).unwrap()).unwrap()
    }

    #[test]
    fn the_capability_is_taken_out_of_the_path() {
        let token = |route: &Route| Some(route.capability.as_ref()?.token.clone());
        let found = route("GET", "/~t0ken/session/ses_1?x=1");
        assert_eq!(token(&found).as_deref(), Some("t0ken"));
        assert_eq!(found.target, "/session/ses_1?x=1");
        assert_eq!(route("GET", "/~t0ken").target, "/");
        assert_eq!(route("GET", "/~t0ken/event").kind, Kind::Events);
        assert_eq!(token(&route("GET", "/a/~b")), None);
        // Only one: a second is part of the path.
        assert_eq!(route("GET", "/~a/~b/c").target, "/~b/c");
        let bound = route("GET", "/~t0ken~L3NyYy93ZWI~0a/event?x=1");
        assert_eq!((token(&bound).as_deref(), bound.kind), (Some("t0ken"), Kind::Events));
        assert_eq!(bound.target, "/event?x=1");
        assert!(matches!(route("POST", "/~t0ken~L3NyYw/api/session").kind, Kind::Closed(_)));
    }

    #[test]
    fn the_auth_token_never_reaches_the_backend() {
        let found = route("GET", "/pty/1/connect?a=1&auth_token=b3A6eA%3D%3D&b=2&auth_token=x");
        assert_eq!(found.auth_token.as_deref(), Some("b3A6eA=="));
        assert_eq!(found.target, "/pty/1/connect?a=1&b=2");
        assert_eq!(route("GET", "/x?auth_token=a").target, "/x");
        assert_eq!(route("GET", "/x?").target, "/x?");
        assert_eq!(route("GET", "/x?y&z=%26").target, "/x?y&z=%26");
    }

    #[test]
    fn what_would_go_round_the_coordination_is_closed_however_it_is_written() {
        for path in [
            "/api/session",
            "/api",
            "//api//session",
            "/x/../api/session",
            "/%61pi/session",
            "/%2561pi/session",
            "/API/session",
            "/./api/session/",
            "/~t/api/session",
            "/api;a=b/s",
            "/%2e%2e/api/s",
            "/global/upgrade",
            "/global/upgrade/",
            "/global/dispose",
            "/api%2Fsession",
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "FROB"] {
                assert!(matches!(route(method, path).kind, Kind::Closed(_)), "{method} {path}");
            }
            assert_eq!(route("GET", path).kind, Kind::Plain, "{path}");
        }
        assert_eq!(route("POST", "/~t/instance//dispose/?a=b").kind, Kind::Dispose);
        for path in ["/session", "/apis", "/global/health", "/session/api/x", "/instance"] {
            assert_eq!(route("POST", path).kind, Kind::Plain, "{path}");
        }
    }

    #[test]
    fn a_forward_proxy_is_not_offered() {
        let request = |method: &str, uri: &str| {
            Route::of(&Request::builder().method(method).uri(uri).body(()).unwrap())
        };
        assert_eq!(request("CONNECT", "example.com:443").unwrap_err().reason(), Reason::Malformed);
        assert_eq!(request("OPTIONS", "*").unwrap_err().reason(), Reason::Malformed);
    }

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        let kind = |connection: &str, upgrade: &str| {
            let request = Request::builder().uri("/pty/1/connect");
            let request = request.header("connection", connection).header("upgrade", upgrade);
            Route::of(&request.body(()).unwrap()).unwrap().kind
        };
        assert_eq!(kind("keep-alive, Upgrade", "WebSocket"), Kind::Upgrade);
        assert_eq!(kind("Upgrade, HTTP2-Settings", "h2c"), Kind::Plain);
        assert_eq!(kind("close", "websocket"), Kind::Plain);
    }
}
