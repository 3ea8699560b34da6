//! authorise: who may come in. First where the request comes from (another user, a web page that
//! resolved a name of its own to this machine), then whether it knows the endpoint's secret.

use super::cors::Cors;
use super::credential;
use super::peer::Peer;
use super::refuse::{Reason, Refusal};
use super::route::Route;
use crate::backend::View;
use hyper::{Request, header};

/// Whether requests from there are listened to at all.
pub(super) fn surroundings<B>(
    peer: Peer,
    cors: &Cors,
    request: &Request<B>,
) -> Result<(), Refusal> {
    if let Peer::Foreign(uid) = peer {
        let message = format!("this endpoint belongs to another user, not to uid {uid}");
        return Err(Refusal::new(Reason::ForeignUser, message));
    }
    if !asks_for_loopback(request) {
        let message = "the `Host` of a request must be 127.0.0.1, [::1] or localhost";
        return Err(Refusal::new(Reason::ForeignHost, message));
    }
    if cors.is_foreign() {
        let message = "web pages of this origin may not use the endpoint";
        return Err(Refusal::new(Reason::ForeignOrigin, message)
            .hint("`[gateway] origins` in repod.toml lists those that may"));
    }
    Ok(())
}

/// Whether the request carries what opens this endpoint.
pub(super) fn credentials<B>(
    view: &View,
    route: &Route,
    request: &Request<B>,
) -> Result<(), Refusal> {
    let Some(ours) = view.credentials() else {
        return Err(Refusal::new(Reason::Gone, "this repo has no endpoint"));
    };
    let wrong =
        || Refusal::new(Reason::WrongCredentials, "the credentials are not this endpoint's");
    // A path that begins like a capability is one; what else is sent doesn't make a wrong one right.
    if let Some(capability) = &route.capability {
        return if credential::is_token(&ours, &capability.token) { Ok(()) } else { Err(wrong()) };
    }
    let sent = [credential::basic(request.headers()), route.auth_token.as_deref()];
    if sent.iter().flatten().any(|pair| credential::is_pair(&ours, pair)) {
        return Ok(());
    }
    if route.auth_token.is_some() || request.headers().contains_key(header::AUTHORIZATION) {
        return Err(wrong());
    }
    Err(Refusal::new(Reason::NoCredentials, "this endpoint needs its password")
        .hint("`repod status` shows it; `repod run` puts it into a program's environment"))
}

/// Both the `Host` header and an absolute request target must name this machine, by a name that no
/// DNS server has a say in.
pub(super) fn asks_for_loopback<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let authority = request.uri().authority().map(|authority| authority.as_str());
    host.to_str().is_ok_and(is_loopback) && authority.is_none_or(is_loopback)
}

/// `127.0.0.1`, `localhost` or `[::1]`, with or without a port.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    let named = ["127.0.0.1", "localhost", "[::1]"].iter().any(|n| host.eq_ignore_ascii_case(n));
    named && port.is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_without_a_dns_server_behind_them_are_loopback() {
        for good in ["127.0.0.1", "127.0.0.1:4711", "localhost", "LocalHost:1", "[::1]", "[::1]:80"]
        {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:4711",
            "127.0.0.1.evil.example",
            "localhost.evil:1",
            "127.0.0.2",
            "0.0.0.0",
            "::1",
            "user@localhost",
            "localhost:80:80",
            "localhost:x",
            "127.1",
            "[::1",
            "localhost.",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn an_absolute_target_and_a_second_host_are_looked_at_too() {
        let asks = |uri: &str, hosts: &[&str]| {
            let request = Request::builder().uri(uri);
            let request = hosts.iter().fold(request, |it, host| it.header("host", *host));
            asks_for_loopback(&request.body(()).unwrap())
        };
        assert!(asks("/x", &["localhost:1"]));
        assert!(asks("http://localhost:1/x", &["localhost:1"]));
        assert!(!asks("http://evil.example/x", &["localhost:1"]));
        assert!(!asks("/x", &["localhost", "evil.example"]));
        assert!(!asks("/x", &[]));
    }
}
