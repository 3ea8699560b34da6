//! What a person has answered, on its way to the backend, over a daemon's or a backend's death.

use super::link::{Link, Live};
use repod_opencode::{PermissionReply, ProbeError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a daemon or a backend that died is waited for, and the pause between two tries.
pub(super) const BACK_LIMIT: Duration = Duration::from_mins(1);
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// The session a turn is of.
#[derive(Clone)]
pub(super) struct Of {
    pub(super) link: Link,
    pub(super) session: String,
    pub(super) directory: String,
}

/// What a person has answered.
pub(super) enum Reply {
    Permission(PermissionReply),
    /// Labels for each question; `None` when there is no answer.
    Question(Option<Vec<Vec<String>>>),
}

impl Of {
    /// An answer of a person's is not asked for twice because a daemon died.
    pub(super) async fn deliver(&self, request: &str, reply: Reply) {
        let since = Instant::now();
        loop {
            let error = match self.link.live().await {
                Ok(live) => match self.deliver_once(&live, request, &reply).await {
                    Ok(()) | Err(ProbeError::Failed { status: 400..=499, .. }) => return,
                    Err(error) => error.to_string(),
                },
                Err(error) => error.message,
            };
            if since.elapsed() > BACK_LIMIT {
                tracing::warn!(error, "an answer does not reach the backend");
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn deliver_once(
        &self,
        live: &Live,
        request: &str,
        reply: &Reply,
    ) -> Result<(), ProbeError> {
        let (backend, directory) = (&live.backend, &self.directory);
        match reply {
            Reply::Permission(reply) => {
                backend.reply_permission(directory, request, *reply, None).await
            }
            Reply::Question(Some(given)) => backend.reply_question(directory, request, given).await,
            Reply::Question(None) => backend.reject_question(directory, request).await,
        }
    }
}
