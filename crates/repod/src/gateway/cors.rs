//! Web pages: which may use the endpoint, and what their browser has to be told.
//!
//! OpenCode has a list of its own; it never sees an `Origin`, so that there is one rule and it is ours.

use super::authorise::is_loopback;
use super::body::GateBody;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

const PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// Where a request comes from, as its browser says.
pub(super) enum Cors {
    /// Not from a web page of another origin.
    None,
    /// From one that may.
    Granted(HeaderValue),
    /// From one that may not.
    Foreign,
}

impl Cors {
    pub(super) fn of(headers: &HeaderMap, allowed: &[String]) -> Self {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Self::None,
            (Some(origin), None) if may(origin, allowed) => Self::Granted(origin.clone()),
            _ => Self::Foreign,
        }
    }

    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign)
    }

    /// The answer to a browser that asks before it sends. It sends no credentials with that.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<GateBody>> {
        let headers = request.headers();
        let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if !matches!(self, Self::Granted(_)) || *request.method() != Method::OPTIONS {
            return None;
        }
        let mut response = Response::new(GateBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let granted = response.headers_mut();
        granted.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            granted.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        if headers.contains_key(PRIVATE_NETWORK) {
            granted.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        Some(response)
    }

    /// The answer, with the right to read it.
    pub(super) fn grant(self, mut response: Response<GateBody>) -> Response<GateBody> {
        if let Self::Granted(origin) = self {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        response
    }
}

fn may(origin: &HeaderValue, allowed: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let local = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    local.is_some_and(is_loopback) || allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_pages_and_configured_ones_may_nobody_else() {
        let allowed = ["https://app.example".to_owned()];
        let may = |origin: &str| may(&origin.parse().unwrap(), &allowed);
        for good in ["http://localhost:3000", "https://127.0.0.1", "https://APP.example"] {
            assert!(may(good), "{good}");
        }
        for bad in [
            "null",
            "",
            "https://evil.example",
            "http://localhost.evil",
            "ftp://localhost",
            "http://app.example",
        ] {
            assert!(!may(bad), "{bad}");
        }
    }

    #[test]
    fn a_preflight_of_a_page_that_may_is_answered() {
        let request = Request::options("/session").header("origin", "http://localhost:1");
        let request = request.header("access-control-request-method", "PATCH");
        let request = request.header("access-control-request-headers", "authorization").body(());
        let request = request.unwrap();
        let cors = Cors::of(request.headers(), &[]);
        let answer = cors.preflight(&request).unwrap();
        let answer = cors.grant(answer);
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-origin"], "http://localhost:1");
        assert_eq!(answer.headers()["access-control-allow-headers"], "authorization");
        assert!(Cors::None.preflight(&request).is_none());
    }
}
