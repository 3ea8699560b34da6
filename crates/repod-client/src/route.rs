//! Writes that are no tool call of a session: applied by the target's backend, under its lease.

use crate::call::{Client, absolute};
use hyper::Method;
use repod_proto::{
    ApiError, ErrorCode, MutationInfo, RouteApplyRequest, RouteBy, RouteReport, RouteWriteRequest,
};
use std::path::{Path, PathBuf};

impl Client {
    /// Applies a patch in the repo its path lies in. All of it or nothing.
    ///
    /// # Errors
    /// When it can't be applied, or the branch does not come free in time; then nothing is changed.
    pub async fn route_apply(
        &self,
        mut request: RouteApplyRequest,
    ) -> Result<RouteReport, ApiError> {
        request.path = absolute(Path::new(&request.path))?;
        named(&mut request.by)?;
        self.live(&request.path).await?;
        self.call(Method::POST, "/v1/route/apply", &request).await
    }

    /// Writes files, in one repo or in several. All of them or none.
    ///
    /// # Errors
    /// As for [`route_apply`](Self::route_apply).
    pub async fn route_write(
        &self,
        mut request: RouteWriteRequest,
    ) -> Result<RouteReport, ApiError> {
        named(&mut request.by)?;
        for file in &mut request.files {
            file.path = absolute(Path::new(&file.path))?;
            self.live(&file.path).await?;
        }
        self.call(Method::POST, "/v1/route/write", &request).await
    }

    /// What crossed repos or was routed, the newest first; 100 entries where no limit is given.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub async fn mutations(&self, limit: Option<u32>) -> Result<Vec<MutationInfo>, ApiError> {
        let query = limit.map_or_else(String::new, |limit| format!("?limit={limit}"));
        self.call(Method::GET, &format!("/v1/mutations{query}"), &()).await
    }

    /// A client that may start nothing must not wake a backend either, and a write would.
    pub(crate) async fn live(&self, path: &str) -> Result<(), ApiError> {
        if self.may_start() {
            return Ok(());
        }
        let endpoint = self.status(nearest_directory(path)).await?.summary.endpoint;
        if endpoint.state.is_live() {
            return Ok(());
        }
        let message = format!("no backend of {} is running", endpoint.repo_id);
        Err(ApiError::new(ErrorCode::NotRunning, message)
            .hint(format!("leave out `--no-start`, or run `repod up {}`", endpoint.root)))
    }
}

/// Gives the write a name of its own: a request whose daemon died before it answered is sent again,
/// and must not be done twice.
fn named(by: &mut RouteBy) -> Result<(), ApiError> {
    if by.operation_id.is_some() {
        return Ok(());
    }
    by.operation_id = Some(random_id("op")?);
    Ok(())
}

/// A name nobody else has.
pub(crate) fn random_id(prefix: &str) -> Result<String, ApiError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| ApiError::new(ErrorCode::Internal, format!("no random: {error}")))?;
    Ok(format!("{prefix}-{:032x}", u128::from_be_bytes(random)))
}

/// Where a path that may not be there yet will be.
fn nearest_directory(path: &str) -> PathBuf {
    let path = Path::new(path);
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use repod_proto::Home;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    /// One request's body, from a connection that carries one.
    async fn body(stream: &mut tokio::net::UnixStream) -> serde_json::Value {
        let mut bytes = Vec::new();
        loop {
            stream.read_buf(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body));
            if let Some(Ok(body)) = body {
                return body;
            }
        }
    }

    #[tokio::test]
    async fn a_write_that_is_sent_again_after_a_daemon_s_death_is_the_same_write() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let listener = UnixListener::bind(home.socket()).unwrap();
        let asking = tokio::spawn(async move {
            let by = RouteBy::default();
            let request = RouteWriteRequest { files: vec![], by };
            Client::new(home).route_write(request).await
        });
        // The first dies over it.
        let (mut stream, _) = listener.accept().await.unwrap();
        let first = body(&mut stream).await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        let second = body(&mut stream).await;
        assert_eq!(first, second);
        assert!(first["operation_id"].as_str().is_some_and(|id| id.len() > 16), "{first}");
        let answer = r#"{"operation_id":"x","outcome":"applied","targets":[],"diff":""}"#;
        let length = answer.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(asking.await.unwrap().unwrap().operation_id, "x");
    }

    #[test]
    fn every_write_has_a_name_of_its_own_and_the_caller_s_is_kept() {
        let (mut one, mut two) = (RouteBy::default(), RouteBy::default());
        named(&mut one).unwrap();
        named(&mut two).unwrap();
        assert_ne!(one.operation_id, two.operation_id);
        let mut mine = RouteBy { operation_id: Some("mine".into()), ..RouteBy::default() };
        named(&mut mine).unwrap();
        assert_eq!(mine.operation_id.as_deref(), Some("mine"));
    }
}
