//! The name of a request: the client's own, or a new one. The backend gets it, logs have it, and the
//! answer says it.

use super::body::GateBody;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Response};
use repod_proto::{REQUEST_ID_HEADER, RequestId};

const HEADER: HeaderName = HeaderName::from_static(REQUEST_ID_HEADER);

/// Gives the request its name. What a client sends that can't be one is replaced.
pub(super) fn name(headers: &mut HeaderMap) -> Option<RequestId> {
    let given = {
        let mut all = headers.get_all(&HEADER).iter();
        let (first, second) = (all.next(), all.next());
        first.filter(|_| second.is_none()).and_then(|value| value.to_str().ok()?.parse().ok())
    };
    // Without randomness it goes on without a name.
    let id: Option<RequestId> = given.or_else(|| repod_client::random_request().ok());
    match id.as_ref().and_then(value) {
        Some(value) => headers.insert(HEADER, value),
        None => headers.remove(HEADER),
    };
    id
}

/// Says it to the client.
pub(super) fn tell(mut response: Response<GateBody>, id: Option<&RequestId>) -> Response<GateBody> {
    if let Some(value) = id.and_then(value) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn value(id: &RequestId) -> Option<HeaderValue> {
    HeaderValue::from_str(id.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_own_name_is_kept_and_what_is_none_replaced() {
        let named = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, value.parse().unwrap());
            }
            let id = name(&mut headers).unwrap();
            assert_eq!(headers.get_all(HEADER).iter().collect::<Vec<_>>(), [id.as_str()]);
            id.as_str().to_owned()
        };
        assert_eq!(named(&["mine-7"]), "mine-7");
        for wrong in [&["a b"][..], &[""], &["one", "two"], &[], &["x".repeat(500).as_str()]] {
            assert!(named(wrong).starts_with("req-"), "{wrong:?}");
        }
    }
}
