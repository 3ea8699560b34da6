//! The name of one request, the same on its whole way: command line, daemon, endpoint, backend.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The header that carries a [`RequestId`].
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// The variable of the environment that names the request a program is part of.
pub const REQUEST_ID_VARIABLE: &str = "REPOD_REQUEST_ID";

/// Longest name of a request.
const LENGTH_MAX: usize = 128;

/// The name of a request: 1 to 128 letters, digits, or `-_.:/+=`. So it can stand in a header, in a line
/// of a log and in a shell as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(Arc<str>);

/// A text that can't name a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request's name has 1 to {LENGTH_MAX} letters, digits, or `-_.:/+=`")]
pub struct RequestIdError;

impl RequestId {
    /// One made of random bits, which nobody else has.
    pub fn random(bits: u128) -> Self {
        Self(format!("req-{bits:032x}").into())
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte);
        if text.is_empty() || text.len() > LENGTH_MAX || !text.bytes().all(is_plain) {
            return Err(RequestIdError);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for RequestId {
    type Error = RequestIdError;

    fn try_from(text: String) -> Result<Self, RequestIdError> {
        text.parse()
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_harmless_in_a_header_a_log_and_a_shell_is_a_name() {
        let long = "x".repeat(LENGTH_MAX);
        for good in ["a", "req-0:1", "4bf92f3577b34da6", "a/b_c.d+e=", &long] {
            assert_eq!(good.parse::<RequestId>().unwrap().as_str(), good);
        }
        let longer = "x".repeat(LENGTH_MAX + 1);
        for bad in
            ["", " ", "a b", "a\nb", "a\r", "ä", "a;b", "\"a\"", "a$b", "\u{1b}[31m", &longer]
        {
            assert_eq!(bad.parse::<RequestId>(), Err(RequestIdError), "{bad:?}");
        }
        let made = RequestId::random(7);
        assert_eq!(made.as_str().parse::<RequestId>(), Ok(made));
    }
}
