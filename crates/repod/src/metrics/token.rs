//! The token of the metrics' port, in a file of its own: made once, kept over daemons, the user's own where
//! he has put one there.

use crate::secret::random_hex;
use repod_proto::{ApiError, ErrorCode};
use repod_supervisor::files::write_atomic;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A token that is shorter can be guessed; a file that is longer is something else.
const LENGTH_MIN: usize = 32;
const LENGTH_MAX: u64 = 4096;

/// The token in the file, which is made where there is none.
pub(super) fn token(file: &Path) -> Result<String, ApiError> {
    let io = |error: io::Error| {
        ApiError::new(ErrorCode::StateIo, format!("`{}`: {error}", file.display()))
    };
    match File::open(file) {
        Ok(open) => read(file, open).map_err(io)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = random_hex::<32>()?;
            write_atomic(file, format!("{token}\n").as_bytes(), 0o600).map_err(io)?;
            Ok(token)
        }
        Err(error) => Err(io(error)),
    }
}

fn read(file: &Path, open: File) -> io::Result<Result<String, ApiError>> {
    let wrong = |code, what: &str| {
        let message = format!("`{}` {what}", file.display());
        Err(ApiError::new(code, message).hint("remove it, and the next daemon makes a new one"))
    };
    let meta = open.metadata()?;
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        let what = "is another user's or open to others, so its token is no secret";
        return Ok(wrong(ErrorCode::StateForeign, what));
    }
    let mut text = String::new();
    open.take(LENGTH_MAX).read_to_string(&mut text)?;
    let token = text.trim();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.len() < LENGTH_MIN || !is_plain {
        let what = "holds no token: 32 or more printable characters in one line are one";
        return Ok(wrong(ErrorCode::StateCorrupt, what));
    }
    Ok(Ok(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("metrics.token");
        let made = token(&file).unwrap();
        assert_eq!(fs_err::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!((made.len(), token(&file).unwrap()), (64, made));
        let mine = "m".repeat(LENGTH_MIN);
        fs_err::write(&file, &mine).unwrap();
        assert_eq!(token(&file).unwrap(), mine);
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(token(&file).unwrap_err().code, ErrorCode::StateForeign);
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        for wrong in ["", "short", "two words that are long enough, but two"] {
            fs_err::write(&file, wrong).unwrap();
            assert_eq!(token(&file).unwrap_err().code, ErrorCode::StateCorrupt, "{wrong}");
            assert_eq!(fs_err::read_to_string(&file).unwrap(), wrong, "it is kept");
        }
    }
}
