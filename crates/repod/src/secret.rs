//! Random secrets, as text: passwords, capability tokens, markers.

use repod_proto::{ApiError, ErrorCode};
use std::fmt::Write as _;

/// `N` bytes of the kernel's randomness in lower-case hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> Result<String, ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        ApiError::new(ErrorCode::Internal, format!("no randomness from the kernel: {error}"))
    })?;
    Ok(hex(&bytes))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
