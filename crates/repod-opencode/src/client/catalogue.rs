//! What an editor asks before the first turn: which conversations there are, and the model that is set.

use super::{BackendClient, CALL_LIMIT, ProbeError, SessionInfo, escape, parse};
use hyper::Method;
use serde::Deserialize;

impl BackendClient {
    /// Sessions of a directory, those changed last first; those of subagents are left out.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn root_sessions(
        &self,
        directory: &str,
        limit: u32,
    ) -> Result<Vec<SessionInfo>, ProbeError> {
        let route = format!("/session?roots=true&limit={limit}&directory={}", escape(directory));
        let mut sessions: Vec<SessionInfo> =
            parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)?;
        sessions.retain(|session| session.parent.is_none());
        Ok(sessions)
    }

    /// The model that the configuration of a directory names, `provider/model`.
    ///
    /// # Errors
    /// When it doesn't answer within 10 s.
    pub async fn configured_model(&self, directory: &str) -> Result<Option<String>, ProbeError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(default)]
            model: Option<String>,
        }
        let route = format!("/config?directory={}", escape(directory));
        let config: Config = parse(&self.call(&Method::GET, &route, CALL_LIMIT).await?)?;
        Ok(config.model)
    }
}
