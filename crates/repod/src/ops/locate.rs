//! locate: which repo a path lies in, without a file system that hangs hanging the daemon.
//!
//! The first look at a path is made on a thread that may block, under a limit. What turns out to lie
//! on a local file system is looked at in place from then on: that saves two thread switches on every
//! warm `ensure`, and a branch or a link that changed is still seen at once.

use crate::repo::{self, Located};
use repod_proto::{ApiError, ErrorCode};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// How long a file system may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Paths remembered as local; when there are more, remembering starts over.
const REMEMBERED_MAX: usize = 16 * 1024;
/// `f_type` of the file systems that answer without a network or another process (statfs(2)):
/// ext2-4, xfs, btrfs, tmpfs, f2fs, zfs, bcachefs, overlayfs.
const LOCAL: [u64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0xF2F5_2010,
    0x2FC1_2FC1,
    0xCA45_1A4E,
    0x794C_7630,
];

/// Finds the repo of a path.
#[derive(Default)]
pub(crate) struct Locator {
    local: RwLock<HashSet<String>>,
}

impl Locator {
    /// Which repo the path lies in.
    pub(crate) async fn locate(&self, path: &str) -> Result<Located, ApiError> {
        let is_local = self.local.read().unwrap_or_else(PoisonError::into_inner).contains(path);
        if is_local {
            return repo::locate(Path::new(path));
        }
        let owned = PathBuf::from(path);
        let looking = tokio::task::spawn_blocking(move || {
            let located = repo::locate(&owned)?;
            Ok((lies_locally(&owned) && lies_locally(&located.repo.identity), located))
        });
        match tokio::time::timeout(LIMIT, looking).await {
            Ok(Ok(Ok((is_local, located)))) => {
                if is_local {
                    self.remember(path);
                }
                Ok(located)
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(error)) => Err(ApiError::new(ErrorCode::Internal, error.to_string())),
            Err(_) => {
                let message = format!("`{path}` did not answer within {} s", LIMIT.as_secs());
                Err(ApiError::new(ErrorCode::Deadline, message)
                    .hint("is it on a network file system that is down?"))
            }
        }
    }

    fn remember(&self, path: &str) {
        let mut local = self.local.write().unwrap_or_else(PoisonError::into_inner);
        if local.len() >= REMEMBERED_MAX {
            local.clear();
        }
        local.insert(path.to_owned());
    }
}

fn lies_locally(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| LOCAL.contains(&kind)))
}
