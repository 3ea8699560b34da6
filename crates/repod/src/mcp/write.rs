//! Writing through the daemon: by the target's own backend, under its branch's lease.

use super::edit::{self, Edit};
use super::place::{blocking, directory};
use super::read::cannot;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use repod_client::Client;
use repod_proto::{
    ApiError, ErrorCode, RouteApplyRequest, RouteBy, RouteFile, RouteReport, RouteWriteRequest,
};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How often an edit is made anew when the file changes meanwhile.
const TRIES: u32 = 3;
/// Largest file that is edited, and largest content or patch that is taken.
const SIZE_MAX: usize = 24 * 1024 * 1024;

/// Who writes, and how long a write may wait.
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    /// The client's own name.
    pub(super) owner: String,
    /// The tool that was called.
    pub(super) tool: &'static str,
    pub(super) wait_seconds: Option<u64>,
}

impl Writer<'_> {
    /// Puts this content where the path says.
    pub(super) async fn write(&self, path: &Path, content: &str) -> Result<RouteReport, ApiError> {
        self.put(path, content.as_bytes(), None).await
    }

    /// Replaces text; a file that changed meanwhile is read and matched again.
    pub(super) async fn edit(&self, path: &Path, edit: Edit<'_>) -> Result<RouteReport, ApiError> {
        let mut before = content(path.to_owned()).await?;
        let mut tries = 1;
        loop {
            let (after, _) = edit::apply(&before, edit).map_err(|error| {
                let message = format!("`{}`: {error}", path.display());
                ApiError::new(ErrorCode::InvalidRequest, message).hint(error.hint())
            })?;
            let expected = sha256(before.as_bytes());
            let error = match self.put(path, after.as_bytes(), Some(expected)).await {
                Ok(report) => return Ok(report),
                Err(error) => error,
            };
            // Only what was surely not written may be tried again.
            if tries == TRIES || error.code != ErrorCode::WriteRefused {
                return Err(error);
            }
            let now = content(path.to_owned()).await?;
            if now == before {
                return Err(error);
            }
            before = now;
            tries += 1;
        }
    }

    /// Applies a patch in the repo the path lies in.
    pub(super) async fn patch(&self, path: &Path, patch: &str) -> Result<RouteReport, ApiError> {
        within("patch", patch.len())?;
        // Of a path that isn't there nobody knows which repo was meant.
        let directory = if path.is_file() { directory(path) } else { path };
        let mut patch = patch.to_owned();
        // Models forget it, and without it git takes the last line for a broken one.
        if !patch.ends_with('\n') {
            patch.push('\n');
        }
        let request = RouteApplyRequest {
            path: text(directory),
            branch: None,
            patch_base64: STANDARD.encode(patch),
            by: self.by(path),
        };
        self.client.route_apply(request).await
    }

    async fn put(
        &self,
        path: &Path,
        content: &[u8],
        expected_sha256: Option<String>,
    ) -> Result<RouteReport, ApiError> {
        within("content", content.len())?;
        let file = RouteFile {
            path: text(path),
            content_base64: Some(STANDARD.encode(content)),
            executable: None,
            expected_sha256,
        };
        let request = RouteWriteRequest { files: vec![file], by: self.by(path) };
        self.client.route_write(request).await
    }

    fn by(&self, path: &Path) -> RouteBy {
        let name = format!("mcp:{}", self.owner);
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        RouteBy {
            operation_id: None,
            title: format!("{name}: {} {file}", self.tool),
            name: Some(name),
            tool: format!("mcp:{}", self.tool),
            pid: Some(std::process::id()),
            wait_seconds: self.wait_seconds,
        }
    }
}

/// The text of a file that is to be edited.
async fn content(path: PathBuf) -> Result<String, ApiError> {
    blocking(move || {
        let failed = |error: std::io::Error| cannot(&path, &error);
        let invalid = |message: String| ApiError::new(ErrorCode::InvalidRequest, message);
        if !path.metadata().map_err(failed)?.is_file() {
            return Err(invalid(format!("`{}` is not a file", path.display())));
        }
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path).map_err(failed)?;
        let limit = u64::try_from(SIZE_MAX).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        within("file", bytes.len())?;
        String::from_utf8(bytes).map_err(|_| {
            invalid(format!("`{}` is not a text in UTF-8, and can't be edited", path.display()))
                .hint("`repo_apply_patch` takes a binary patch (`git diff --binary`)")
        })
    })
    .await
}

fn within(what: &str, length: usize) -> Result<(), ApiError> {
    if length <= SIZE_MAX {
        return Ok(());
    }
    let message = format!("the {what} is larger than {} MiB", SIZE_MAX >> 20);
    Err(ApiError::new(ErrorCode::InvalidRequest, message))
}

/// Places are UTF-8: that was looked at when they were resolved.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
