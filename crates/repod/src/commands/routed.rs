//! `repod __routed`: what a backend's shell becomes for a command that belongs to another repository
//! (`plugin/shell.js`). The daemon has it run there; this prints what came of it and ends as it did.
//!
//! Nothing is ever run here. When this process is ended, by an abort or a timeout of OpenCode's, its
//! connection closes, and the daemon ends the command.

use super::Outcome;
use crate::output;
use repod_proto::{ApiError, ErrorCode};
use serde::Deserialize;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The daemon's socket.
const SOCKET: &str = "REPOD_ROUTED";
/// The call's token, session and id, as the daemon wants them.
const CALL: &str = "REPOD_ROUTED_CALL";
/// Longer than any command; OpenCode's own timeout is two minutes by default.
const LONGEST: Duration = Duration::from_hours(24);
const ANSWER_MAX: u64 = 64 << 20;

/// What the command came to.
#[derive(Deserialize)]
struct Ran {
    output: String,
    exit: i32,
}

#[derive(Deserialize)]
struct Refused {
    error: ApiError,
}

pub(super) fn run() -> Outcome {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| {
            ApiError::new(
                ErrorCode::InvalidRequest,
                format!("`__routed` is repod's own: no {name}"),
            )
        })
    };
    let (socket, call) = (variable(SOCKET)?, variable(CALL)?);
    let answer = exchange(&socket, &call).map_err(|error| {
        let message = format!(
            "repod can't be reached, so it is not known whether this command was run: {error}"
        );
        ApiError::new(ErrorCode::DaemonUnavailable, message)
            .hint("`repod ps` starts repod's daemon; then look at the other repository")
    })?;
    let Ran { output, exit } = read(&answer)?;
    output::raw(&output);
    Ok(u8::try_from(exit).unwrap_or(1))
}

/// HTTP/1.0: the end of the answer is the end of the connection.
fn exchange(socket: &str, body: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LONGEST))?;
    write!(
        stream,
        "POST /v1/guard/shell HTTP/1.0\r\nhost: repod\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

fn read(answer: &[u8]) -> Result<Ran, ApiError> {
    const END: &[u8] = b"\r\n\r\n";
    let at = answer.windows(END.len()).position(|window| window == END);
    let body = at.and_then(|at| answer.get(at + END.len()..)).unwrap_or_default();
    if let Ok(Refused { error }) = serde_json::from_slice(body) {
        return Err(error);
    }
    serde_json::from_slice(body).map_err(|_| {
        ApiError::new(ErrorCode::Internal, "repod's answer was cut off")
            .hint("look at the other repository before running the command again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_ran_or_why_not() {
        let ran =
            read(b"HTTP/1.0 200 OK\r\nx: y\r\n\r\n{\"output\":\"hi\\n\",\"exit\":3}").unwrap();
        assert_eq!((ran.output.as_str(), ran.exit), ("hi\n", 3));
        let refused = r#"{"error":{"code":"write_refused","message":"no","hint":"later"}}"#;
        let error = read(format!("HTTP/1.0 409 Conflict\r\n\r\n{refused}").as_bytes());
        assert_eq!(error.err().unwrap().message, "no");
        assert_eq!(read(b"HTTP/1.0 200 OK\r\n\r\n{\"out").err().unwrap().code, ErrorCode::Internal);
        assert!(read(b"").is_err());
    }
}
