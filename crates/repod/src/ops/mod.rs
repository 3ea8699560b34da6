//! The operations, one verb a file, without HTTP types. API and gateway reach everything from here.

mod activity;
mod audit;
mod ensure;
mod gc;
pub(crate) mod guard;
mod hibernate;
mod history;
mod leases;
mod locate;
mod memory;
mod ps;
mod restart;
pub(crate) mod route;
pub(crate) mod sessions;
mod shutdown;
mod status;
mod stop;
mod web;

pub(crate) use activity::activity;
pub(crate) use audit::{Audits, audit};
pub(crate) use ensure::{Ensures, ensure, ensure_stream};
pub(crate) use gc::gc;
pub(crate) use hibernate::hibernate;
pub(crate) use history::{adopt, eject};
pub(crate) use leases::{hold, leases, release};
pub(crate) use locate::Locator;
pub(crate) use memory::memory;
pub(crate) use ps::ps;
pub(crate) use restart::restart;
pub(crate) use shutdown::shutdown;
pub(crate) use status::status;
pub(crate) use stop::{stop, stop_all};
pub(crate) use web::web;

use crate::backend::RepoHandle;
use crate::daemon::Daemon;
use repod_proto::{ApiError, Target};
use std::path::Path;

/// The known repos a target means. A path whose directory is gone still finds its repo by the root
/// it had.
async fn targets(daemon: &Daemon, target: &Target) -> Result<Vec<RepoHandle>, ApiError> {
    match target {
        Target::All => Ok(daemon.fleet.all()),
        Target::Id(id) => Ok(daemon.fleet.known(id).await?.into_iter().collect()),
        Target::Path(path) => match daemon.locator.locate(path).await {
            Ok(located) => Ok(daemon.fleet.known(&located.repo.id).await?.into_iter().collect()),
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
