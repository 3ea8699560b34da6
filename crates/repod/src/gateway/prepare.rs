//! prepare: what belongs to one connection stays there, and no secret of the endpoint goes on.
//! The backend's own credentials are added where the connection to it is (`upstream`).

use super::body::Sent;
use super::route::Route;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri, Version};

/// Headers about a connection, not about a message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// What the gateway itself has dealt with: its credentials, where the request came from, and
/// `Expect`, which is answered when the backend begins to take the body.
const DEALT_WITH: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::ORIGIN,
    header::EXPECT,
    header::HOST,
    HeaderName::from_static("x-http-method-override"),
];
/// OpenCode's own idea of which web pages may read it.
const GRANTS: [HeaderName; 5] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];
/// What a body of unknown size is taken for while it is held: buffers of sockets, not of ours.
const UNKNOWN_SIZE: u64 = 64 * 1024;

/// The size of the body that the client announces.
pub(super) fn announced(request: &Request<Incoming>) -> u64 {
    match request.body().size_hint().exact() {
        Some(size) => size,
        None => UNKNOWN_SIZE,
    }
}

/// Makes a request fit to be passed on.
pub(super) fn request<B>(request: &mut Request<B>, route: &Route) {
    strip(request.headers_mut());
    for name in &DEALT_WITH {
        request.headers_mut().remove(name);
    }
    *request.uri_mut() = Uri::from(route.target.clone());
    *request.version_mut() = Version::HTTP_11;
}

/// The same for one that wants to become a WebSocket: that much of its connection is passed on.
pub(super) fn upgrade<B>(upgrading: &mut Request<B>, route: &Route) {
    request(upgrading, route);
    let headers = upgrading.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Makes an answer fit to be passed on.
pub(super) fn response<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    strip(headers);
    for name in &GRANTS {
        headers.remove(name);
    }
    *response.version_mut() = Version::HTTP_11;
    response
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// A request that may be asked twice: a `GET` without a body, as prepared.
pub(super) struct Repeatable(Parts);

pub(super) fn repeatable(request: &Request<Incoming>) -> Option<Repeatable> {
    if *request.method() != Method::GET || !request.body().is_end_stream() {
        return None;
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.headers = request.headers().clone();
    Some(Repeatable(parts))
}

impl Repeatable {
    pub(super) fn request(&self) -> Request<Sent> {
        Request::from_parts(self.0.clone(), Sent::Right(Empty::<Bytes>::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(head: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().uri("/~t/session?auth_token=x&a=1");
        let request = head.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        let mut request = request.body(()).unwrap();
        let route = Route::of(&request).unwrap();
        super::request(&mut request, &route);
        request
    }

    #[test]
    fn what_belongs_to_the_connection_stays_there() {
        let request = prepared(&[
            ("host", "localhost"),
            ("connection", "keep-alive, x-mine"),
            ("connection", "X-Other"),
            ("x-mine", "1"),
            ("x-other", "1"),
            ("x-stays", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "1"),
            ("authorization", "Basic eA=="),
            ("proxy-authorization", "x"),
            ("origin", "http://localhost"),
            ("expect", "100-continue"),
            ("x-opencode-directory", "/src"),
        ]);
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-opencode-directory", "x-stays"]);
        assert_eq!(request.uri(), "/session?a=1");
    }

    #[test]
    fn an_answer_s_connection_and_grants_are_not_passed_on() {
        let answer = Response::builder().header("connection", "close, x-a").header("x-a", "1");
        let answer = answer.header("access-control-allow-origin", "*").header("etag", "1");
        let answer = response(answer.body(()).unwrap());
        let names: Vec<_> = answer.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["etag"]);
    }
}
