//! The one rescue place: everything that ends a request before its answer, with whose fault it is.
//! Each is counted by reason.

use super::body::GateBody;
use super::patient::Unfinished;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use repod_proto::{ApiError, ErrorBody, ErrorCode, RequestId};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $code:ident, $fault:literal;)+) => {
        /// Why a request was not served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Reason {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its public name.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            const fn code(self) -> ErrorCode {
                match self { $(Self::$variant => ErrorCode::$code,)+ }
            }

            const fn fault(self) -> &'static str {
                match self { $(Self::$variant => $fault,)+ }
            }
        }
    };
}

reasons! {
    /// No password, no capability.
    NoCredentials = "no_credentials", Unauthorized, "client";
    /// One that is not this endpoint's.
    WrongCredentials = "wrong_credentials", Unauthorized, "client";
    /// A `Host` that is not loopback.
    ForeignHost = "foreign_host", Forbidden, "client";
    /// A web page that may not.
    ForeignOrigin = "foreign_origin", Forbidden, "client";
    /// Another user of the machine.
    ForeignUser = "foreign_user", Forbidden, "client";
    /// A route that is not for clients.
    ClosedRoute = "closed_route", Forbidden, "client";
    /// A capability bound to a directory that is not this repo's, or not there.
    WrongDirectory = "wrong_directory", Forbidden, "client";
    /// It would end turns that are in flight.
    Busy = "busy", BackendBusy, "client";
    /// A program's handle that it has closed.
    HandleClosed = "handle_closed", Stopped, "client";
    /// Not a request that can be passed on.
    Malformed = "malformed", InvalidRequest, "client";
    /// A connection that let nobody in within the time for that, or a body that stopped coming.
    TooSlow = "too_slow", InvalidRequest, "client";
    /// A client that was gone before its request had come to an end.
    ClientLeft = "client_left", InvalidRequest, "client";
    /// More connections than are served; or one without credentials that had to make room.
    Crowded = "crowded", Overloaded, "repod";
    /// More is held already than may be.
    HoldFull = "hold_full", Overloaded, "repod";
    /// Held as long as it may be.
    HoldExpired = "hold_expired", HoldExpired, "backend";
    /// The backend can't be had.
    NoBackend = "no_backend", StartFailed, "backend";
    /// The backend broke off before it answered.
    Broke = "backend_broke", BackendBroke, "backend";
    /// The guard of the directory is not there: no turn may write.
    GuardMissing = "guard_missing", GuardMissing, "repod";
    /// Somebody else has the branch.
    WriteRefused = "write_refused", LeaseBusy, "client";
    /// The repo is no longer managed.
    Gone = "gone", ShuttingDown, "repod";
}

/// How many requests were refused, by reason.
#[derive(Default)]
pub(super) struct Refusals([AtomicU64; Reason::ALL.len()]);

impl Refusals {
    pub(super) fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Every reason with its count.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Reason, u64)> {
        let count = |reason: &Reason| (*reason, self.0[*reason as usize].load(Ordering::Relaxed));
        Reason::ALL.iter().map(count)
    }
}

/// A request that ends here.
#[derive(Debug)]
pub(super) struct Refusal {
    reason: Reason,
    error: Box<ApiError>,
    retry_after: Option<u32>,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let retry_after = (reason.code().http_status() == 503).then_some(1);
        Self { reason, error: Box::new(ApiError::new(reason.code(), message)), retry_after }
    }

    /// One with an error of its own.
    pub(super) fn of(reason: Reason, error: ApiError) -> Self {
        Self { reason, error: Box::new(error), retry_after: None }
    }

    /// A backend that could not be had, as `ensure` says it.
    pub(super) fn no_backend(error: ApiError) -> Self {
        Self { reason: Reason::NoBackend, error: Box::new(error), retry_after: Some(5) }
    }

    /// A directory that can't be looked at, as locating it says it.
    pub(super) fn wrong_directory(error: ApiError) -> Self {
        Self { reason: Reason::WrongDirectory, error: Box::new(error), retry_after: None }
    }

    /// An exchange that broke off. Where the client's own body did, it has been told to the backend
    /// by the end of the connection; else it is not known what the backend did with it.
    pub(super) fn broke(error: &hyper::Error) -> Self {
        match std::error::Error::source(error).and_then(|source| source.downcast_ref()) {
            Some(late @ Unfinished::Stalled) => {
                return Self::new(Reason::TooSlow, late.to_string());
            }
            Some(bad @ Unfinished::Broken(cause)) => {
                let io = std::error::Error::source(cause).and_then(|it| it.downcast_ref());
                let reason = match io.map(io::Error::kind) {
                    Some(ErrorKind::InvalidInput | ErrorKind::InvalidData) => Reason::Malformed,
                    _ => Reason::ClientLeft,
                };
                return Self::new(reason, bad.to_string());
            }
            None => {}
        }
        let message = format!("the backend broke off before it answered: {error}");
        Self::new(Reason::Broke, message).hint("what was asked may or may not have been done")
    }

    pub(super) fn hint(mut self, hint: &str) -> Self {
        self.error.hint = Some(hint.to_owned());
        self
    }

    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// Whose fault it is: what prevents a backend from starting may be repod's.
    fn fault(&self) -> &'static str {
        use ErrorCode::{BackendParked, BackendUnresponsive, OpencodeMissing, OpencodeUnsupported};
        let of_backend = [
            ErrorCode::StartFailed,
            BackendParked,
            BackendUnresponsive,
            OpencodeMissing,
            OpencodeUnsupported,
        ];
        match self.reason {
            Reason::NoBackend if !of_backend.contains(&self.error.code) => "repod",
            reason => reason.fault(),
        }
    }

    /// What a gateway answers: 502, 503 or 504 for what isn't the client's doing.
    fn status(&self) -> StatusCode {
        let status = match self.error.code.http_status() {
            status @ (502..=504) => status,
            status if self.fault() == "client" => status,
            _ => 503,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
    }

    pub(super) fn into_response(self, id: Option<&RequestId>) -> Response<GateBody> {
        let (status, fault) = (self.status(), self.fault());
        tracing::debug!(reason = self.reason.as_str(), %status, fault, "refused");
        let mut error = self.error.detail("reason", self.reason.as_str()).detail("fault", fault);
        if let Some(id) = id {
            error = error.detail("request_id", id.as_str());
        }
        let text = serde_json::to_vec(&ErrorBody { error }).unwrap_or_default();
        let mut response = Response::new(GateBody::own(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if [Reason::Malformed, Reason::TooSlow, Reason::ClientLeft, Reason::Crowded]
            .contains(&self.reason)
        {
            // What follows on this connection may not be what it looks like, or has no place.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"repod\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after.filter(|_| status == 503) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_was_decides_the_status() {
        let of = |code| Refusal::no_backend(ApiError::new(code, "x"));
        assert_eq!(
            (of(ErrorCode::StartFailed).status().as_u16(), of(ErrorCode::StartFailed).fault()),
            (502, "backend")
        );
        assert_eq!(of(ErrorCode::BackendUnresponsive).status(), 504);
        assert_eq!(
            (of(ErrorCode::StateIo).status().as_u16(), of(ErrorCode::StateIo).fault()),
            (503, "repod")
        );
        assert_eq!(of(ErrorCode::Stopped).status(), 503);
        let closed = Refusal::new(Reason::ClosedRoute, "x");
        assert_eq!((closed.status().as_u16(), closed.fault()), (403, "client"));
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let refusals = Refusals::default();
        refusals.count(Reason::Gone);
        refusals.count(Reason::ForeignHost);
        refusals.count(Reason::ForeignHost);
        let seen: Vec<_> = refusals.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(seen, [(Reason::ForeignHost, 2), (Reason::Gone, 1)]);
    }
}
