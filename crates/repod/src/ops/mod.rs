//! The operations, one verb a file, without HTTP types. API and gateway reach everything from here.

mod ensure;
mod gc;
mod ps;
mod restart;
mod shutdown;
mod status;
mod stop;

pub(crate) use ensure::{ensure, ensure_stream};
pub(crate) use gc::gc;
pub(crate) use ps::ps;
pub(crate) use restart::restart;
pub(crate) use shutdown::shutdown;
pub(crate) use status::status;
pub(crate) use stop::{stop, stop_all};

use crate::backend::RepoHandle;
use crate::daemon::Daemon;
use crate::repo::{self, Located};
use repod_proto::{ApiError, ErrorCode, Target};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A path on a file system that hangs must not hang its asker for ever.
const LOCATE_LIMIT: Duration = Duration::from_secs(5);

/// Which repo a path lies in; the looking is done off the async threads.
pub(crate) async fn locate(path: &str) -> Result<Located, ApiError> {
    let path = PathBuf::from(path);
    let shown = path.display().to_string();
    let looking = tokio::task::spawn_blocking(move || repo::locate(&path));
    match tokio::time::timeout(LOCATE_LIMIT, looking).await {
        Ok(Ok(located)) => located,
        Ok(Err(error)) => Err(ApiError::new(ErrorCode::Internal, error.to_string())),
        Err(_) => {
            let message = format!("`{shown}` did not answer within {} s", LOCATE_LIMIT.as_secs());
            Err(ApiError::new(ErrorCode::Deadline, message)
                .hint("is it on a network file system that is down?"))
        }
    }
}

/// The known repos a target means. A path whose directory is gone still finds its repo by the root
/// it had.
async fn targets(daemon: &Daemon, target: &Target) -> Result<Vec<RepoHandle>, ApiError> {
    match target {
        Target::All => Ok(daemon.fleet.all()),
        Target::Id(id) => Ok(daemon.fleet.known(id)?.into_iter().collect()),
        Target::Path(path) => match locate(path).await {
            Ok(located) => Ok(daemon.fleet.known(&located.repo.id)?.into_iter().collect()),
            Err(error) => {
                let wanted = Path::new(path);
                let known = daemon.fleet.all();
                match known.into_iter().find(|handle| handle.repo().root == wanted) {
                    Some(handle) => Ok(vec![handle]),
                    None => Err(error),
                }
            }
        },
    }
}
