//! Credentials as clients send them, compared in constant time.

use crate::backend::Credentials;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::HeaderMap;
use hyper::header;
use subtle::{Choice, ConstantTimeEq as _};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Whether this is the endpoint's capability.
pub(super) fn is_token(ours: &Credentials<'_>, sent: &str) -> bool {
    is_same(ours.token, sent)
}

/// Whether these are the same secret.
pub(super) fn is_same(ours: &str, sent: &str) -> bool {
    ours.as_bytes().ct_eq(sent.as_bytes()).into()
}

/// Whether this is the endpoint's `user:password` in base64.
pub(super) fn is_pair(ours: &Credentials<'_>, sent: &str) -> bool {
    let sent = sent.trim();
    let Ok(pair) = STANDARD.decode(sent).or_else(|_| URL_SAFE.decode(sent)) else {
        return false;
    };
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let user: Choice = ours.username.as_bytes().ct_eq(&pair[..colon]);
    let password: Choice = ours.password.as_bytes().ct_eq(&pair[colon + 1..]);
    (user & password).into()
}

/// What follows `Basic` in the `Authorization` header; none when there is no such header, or more
/// than one.
pub(super) fn basic(headers: &HeaderMap) -> Option<&str> {
    after("basic", headers)
}

/// The same of `Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    after("bearer", headers)
}

fn after<'a>(wanted: &str, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Credentials<'_> =
        Credentials { username: "opencode", password: "p:w", token: "t0ken" };

    #[test]
    fn only_the_very_credentials_are_taken() {
        assert!(is_token(&OURS, "t0ken"));
        for wrong in ["", "t0ke", "t0kenn", "T0KEN"] {
            assert!(!is_token(&OURS, wrong), "{wrong}");
        }
        let pair = |text: &str| is_pair(&OURS, &STANDARD.encode(text));
        assert!(pair("opencode:p:w"));
        for wrong in ["opencode:p", "opencode:p:w ", ":p:w", "opencode", "root:p:w", ""] {
            assert!(!pair(wrong), "{wrong}");
        }
        assert!(is_pair(&OURS, STANDARD.encode("opencode:p:w").trim_end_matches('=')));
        assert!(!is_pair(&OURS, "%%%"));
    }

    #[test]
    fn two_authorization_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", "basic eA==".parse().unwrap());
        assert_eq!(basic(&headers), Some("eA=="));
        headers.append("authorization", "Basic eQ==".parse().unwrap());
        assert_eq!(basic(&headers), None);
    }
}
