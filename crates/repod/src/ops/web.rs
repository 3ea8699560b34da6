//! web: the dashboard, served from the first time that somebody asks for it.

use crate::daemon::Daemon;
use repod_proto::{ApiError, WebOpened};
use std::sync::Arc;

pub(crate) async fn web(daemon: &Arc<Daemon>) -> Result<WebOpened, ApiError> {
    daemon.web.open(daemon).await
}
