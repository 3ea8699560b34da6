//! Files git itself would change on the way in or out: `eol`, `ident`, filters such as LFS.
//!
//! For these `git apply` compares and writes something else than the bytes on disk, so what it
//! leaves must be compared with what was wanted.

use super::git::{self, GitError};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A path with an attribute that converts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Converted {
    pub(crate) path: PathBuf,
    /// `eol`
    pub(crate) attribute: String,
    /// `crlf`
    pub(crate) value: String,
}

const ATTRIBUTES: &[&str] = &["text", "eol", "crlf", "filter", "ident", "working-tree-encoding"];

/// Which of `paths` (relative to `root`) the repo converts.
///
/// # Errors
/// When git fails.
pub(crate) async fn converted(root: &Path, paths: &[PathBuf]) -> Result<Vec<Converted>, GitError> {
    let mut args: Vec<OsString> = ["check-attr", "-z", "--stdin"].map(OsString::from).to_vec();
    args.extend(ATTRIBUTES.iter().map(OsString::from));
    let mut input = Vec::new();
    for path in paths {
        input.extend(path.as_os_str().as_bytes());
        input.push(0);
    }
    let out = git::run(root, &args, &input, 0, false).await?;
    let fields: Vec<&[u8]> = out.split(|byte| *byte == 0).collect();
    let mut found = Vec::new();
    for record in fields.chunks_exact(3) {
        let [path, attribute, value] = record else { continue };
        let (attribute, value) =
            (String::from_utf8_lossy(attribute), String::from_utf8_lossy(value));
        // `text` alone makes CRLF into LF on the way in.
        if !matches!(&*value, "unspecified" | "unset") {
            found.push(Converted {
                path: OsString::from_vec(OsStr::from_bytes(path).as_bytes().to_vec()).into(),
                attribute: attribute.into_owned(),
                value: value.into_owned(),
            });
        }
    }
    Ok(found)
}
