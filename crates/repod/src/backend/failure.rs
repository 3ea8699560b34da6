//! From what went wrong below to what a person reads.

use repod_opencode::{BinaryError, LaunchError};
use repod_proto::{ApiError, ErrorCode, ExitCause, LastExit};
use repod_supervisor::launcher::ExitReason;
use repod_supervisor::lifecycle::{Failure, MAX_STARTS, WINDOW_MS};

pub(super) fn of_binary(error: &BinaryError) -> ApiError {
    let code = match error {
        BinaryError::Unsupported { .. } | BinaryError::Unreadable { .. } => {
            ErrorCode::OpencodeUnsupported
        }
        _ => ErrorCode::OpencodeMissing,
    };
    ApiError::new(code, error.to_string()).hint(error.hint())
}

pub(super) fn of_launch(error: &LaunchError) -> ApiError {
    ApiError::new(ErrorCode::StartFailed, error.to_string()).hint(error.hint())
}

/// The version a backend reports may differ from that of the file, if that was replaced meanwhile.
pub(super) fn refuse_unsupported(version: &str) -> Result<(), ApiError> {
    if repod_opencode::is_supported(version) {
        return Ok(());
    }
    let message = format!("the backend reports version `{version}`, which repod doesn't support");
    Err(ApiError::new(ErrorCode::OpencodeUnsupported, message)
        .hint("repod needs OpenCode 1.18 or newer 1.x"))
}

/// What is known beside the failure itself.
pub(super) struct Known<'a> {
    pub(super) was_ready: bool,
    pub(super) tail: &'a str,
    /// How this generation ended, if it did by itself.
    pub(super) death: Option<&'a LastExit>,
}

/// What a waiting caller is told.
pub(super) fn explain(failure: &Failure, parked: bool, known: &Known<'_>) -> ApiError {
    let error = match failure {
        Failure::Start(error) => error.clone(),
        Failure::Exited(reason) => match known.death {
            Some(death) if death.cause == ExitCause::Oom => of_memory(death, known),
            _ => of_exit(*reason, known.was_ready, known.tail),
        },
        Failure::PortLost => ApiError::new(ErrorCode::StartFailed, failure.to_string())
            .hint("something on this machine takes ports as fast as repod finds them"),
        Failure::Stopped => ApiError::new(ErrorCode::Stopped, failure.to_string())
            .hint("somebody stopped it; ask again to start it"),
        Failure::NotEnded { .. } => ApiError::new(ErrorCode::StopFailed, failure.to_string())
            .hint("they may be stuck in the kernel (state D in `ps`); `repod stop` tries again"),
    };
    if parked && error.code != ErrorCode::BackendParked { of_parking(&error) } else { error }
}

/// A process that ended before it was ready, or later, with what it said last.
fn of_exit(reason: ExitReason, was_ready: bool, tail: &str) -> ApiError {
    let when = if was_ready { "" } else { " before it was ready" };
    let mut message = format!("the backend {}{when}", said(reason));
    if let Some(cause) = repod_opencode::explain_exit(tail) {
        message.push_str(": ");
        message.push_str(&cause);
    }
    with_tail(ApiError::new(ErrorCode::StartFailed, message), tail)
}

fn of_memory(death: &LastExit, known: &Known<'_>) -> ApiError {
    let when = if known.was_ready { "" } else { " before it was ready" };
    let message = format!("the backend ended{when}: {}", death.message);
    let error = ApiError::new(ErrorCode::OutOfMemory, message).hint(
        "`repod status` shows what holds it: `limits.memory_limit` in repod.toml, or the limit of the \
         container or unit; `repod status --history` shows what it used",
    );
    with_tail(error, known.tail)
}

fn said(reason: ExitReason) -> String {
    match reason {
        ExitReason::Signal(_) => format!("was {reason}"),
        ExitReason::Code(_) | ExitReason::Unknown => reason.to_string(),
    }
}

/// Adds the log's tail where there is one.
pub(super) fn with_tail(error: ApiError, tail: &str) -> ApiError {
    if tail.trim().is_empty() || error.details.contains_key("log_tail") {
        error
    } else {
        error.detail("log_tail", tail.trim_end())
    }
}

fn of_parking(last: &ApiError) -> ApiError {
    let seconds = WINDOW_MS / 1000;
    let message =
        format!("parked after {MAX_STARTS} starts in {seconds} s; the last: {}", last.message);
    let mut error = ApiError::new(ErrorCode::BackendParked, message)
        .hint("once the cause is mended: `repod restart PATH`");
    error.details.clone_from(&last.details);
    error
}
