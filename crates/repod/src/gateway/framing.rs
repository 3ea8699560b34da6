//! Requests that are well-formed by the letter, and that the next reader could take for other ones.

use super::refuse::{Reason, Refusal};
use super::route::Kind;
use hyper::Request;
use hyper::body::Body;
use hyper::header::{HeaderValue, TRANSFER_ENCODING};

/// `chunked` is taken off and put on again on the way; what else is in `Transfer-Encoding` would be
/// lost, and the body with it. A WebSocket begins where its head ends: to the backend the body of
/// one would be the next request.
pub(super) fn check<B: Body>(request: &Request<B>, kind: Kind) -> Result<(), Refusal> {
    let malformed = |what| Err(Refusal::new(Reason::Malformed, what));
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if is_chunked(coding) => {}
        _ => return malformed("the one `Transfer-Encoding` taken is `chunked`, once"),
    }
    if kind == Kind::Upgrade && !request.body().is_end_stream() {
        return malformed("a request for a WebSocket can't have a body");
    }
    Ok(())
}

/// Says of a body without a known length that it comes in chunks: of a `GET` this would not be
/// assumed, and the body would be left out.
pub(super) fn keep_chunks<B: Body>(request: &mut Request<B>) {
    if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}
