//! forward: one request to one backend. Says of a failure what may follow from it: a request that
//! was never sent may be sent again; one that was lost may have been carried out.

use super::body::Sent;
use super::upstream::{Connection, Upstream};
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::io;

/// Why there is no answer.
pub(super) enum Broken {
    /// Nothing of it has reached the backend.
    Unsent(Box<Request<Sent>>, io::Error),
    /// It was sent, in part at least.
    Lost(hyper::Error),
}

pub(super) async fn forward(
    upstream: &Upstream,
    mut request: Request<Sent>,
) -> Result<(Response<Incoming>, Connection), Broken> {
    upstream.address(request.headers_mut());
    while let Some(mut connection) = upstream.idle().await {
        match connection.0.try_send_request(request).await {
            Ok(response) => return Ok((response, connection)),
            // The backend had closed it while it was idle.
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(Broken::Lost(error.into_error())),
            },
        }
    }
    let mut connection = match upstream.connect().await {
        Ok(connection) => connection,
        Err(error) => return Err(Broken::Unsent(Box::new(request), error)),
    };
    match connection.0.try_send_request(request).await {
        Ok(response) => Ok((response, connection)),
        Err(mut error) => Err(match error.take_message() {
            Some(unsent) => Broken::Unsent(Box::new(unsent), io::Error::other(error.into_error())),
            None => Broken::Lost(error.into_error()),
        }),
    }
}
