//! `repod mcp`: repod's verbs as tools of the Model Context Protocol, for agents of any make.
//!
//! Reading is done here; whatever writes goes to the daemon, and from there to the target's backend.

mod answer;
mod edit;
mod place;
mod read;
mod tools;
mod write;

use answer::Answer;
use repod_client::Client;
use repod_proto::{ApiError, ErrorCode, REPOD_VERSION};
use rmcp::model::{CallToolResult, Implementation, ServerCapabilities, ServerConfig};
use rmcp::service::RequestContext;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleServer, ServerHandler, ServiceExt as _, tool_handler};
use std::path::PathBuf;
use write::Writer;

/// Longest message taken: a patch of 24 MiB as JSON writes it.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// Longest name of a client that is shown to others.
const NAME_MAX: usize = 60;

const INSTRUCTIONS: &str = "Reads and changes the repositories of this machine. Every repository has one \
    backend, and every branch one writer at a time: writes go to the backend of the repository they are \
    in and wait until nobody else writes there. Paths are absolute, or relative to the directory this \
    server was started in. Find repositories with `repos_list`; read with `repo_read`; change with \
    `repo_edit`, `repo_write` or `repo_apply_patch`. An error says what to do next.";

/// One server for one client, as long as its input is open.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    /// What paths that are not absolute are relative to.
    cwd: PathBuf,
    /// How many seconds a write may wait for its branch; the daemon's settings say it where absent.
    wait_seconds: Option<u64>,
}

impl Server {
    pub(crate) fn new(client: Client, cwd: PathBuf, wait_seconds: Option<u64>) -> Self {
        Self { client, cwd, wait_seconds }
    }

    /// Serves standard input and output until the input ends.
    pub(crate) async fn serve_stdio(self) -> Result<(), ApiError> {
        let (input, output) = rmcp::transport::io::stdio_pipes();
        let transport = AsyncRwTransport::new_server(input, output);
        let serving = self.serve(transport.with_max_line_length(MESSAGE_MAX)).await;
        let failed = |cause: String| {
            ApiError::new(ErrorCode::InvalidRequest, format!("no MCP client: {cause}"))
                .hint("`repod mcp` speaks the Model Context Protocol; docs/mcp.md says how to add it to an agent")
        };
        let running = match serving {
            Ok(running) => running,
            // A client that goes away before it has said anything is no failure.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(failed(error.to_string())),
        };
        running.waiting().await.map(drop).map_err(|error| failed(error.to_string()))
    }

    /// Does what a call asks for, unless the client takes it back meanwhile.
    async fn answer(
        &self,
        context: RequestContext<RoleServer>,
        work: impl AsyncFnOnce(&Self, String) -> Answer,
    ) -> CallToolResult {
        let owner = owner(&context);
        let answer = tokio::select! {
            biased;
            // The daemon sees that nobody waits for the answer any more.
            () = context.ct.cancelled() => {
                Err(ApiError::new(ErrorCode::Stopped, "the call was taken back"))
            }
            answer = work(self, owner) => answer,
        };
        answer.unwrap_or_else(|error| answer::refused(&error))
    }

    async fn place(&self, text: &str) -> Result<PathBuf, ApiError> {
        let (cwd, text) = (self.cwd.clone(), text.to_owned());
        let home = self.client.home().dir().to_owned();
        place::blocking(move || place::real(&cwd, &home, &text)).await
    }

    fn writer(&self, owner: String, tool: &'static str) -> Writer<'_> {
        Writer { client: &self.client, owner, tool, wait_seconds: self.wait_seconds }
    }
}

#[tool_handler]
impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("repod", REPOD_VERSION).with_title("repod"))
            .with_instructions(INSTRUCTIONS)
    }
}

/// The client's name as others see it in `repod leases`: one short line, whatever it says.
fn owner(context: &RequestContext<RoleServer>) -> String {
    let name = context.client_info().map(|client| client.name).unwrap_or_default();
    one_word(&name)
}

fn one_word(name: &str) -> String {
    let plain = |c: char| if c.is_control() || c.is_whitespace() { '-' } else { c };
    let name: String = name.trim().chars().map(plain).take(NAME_MAX).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_in_one_short_word() {
        assert_eq!(one_word("claude-code"), "claude-code");
        assert_eq!(one_word(" My\nAgent "), "My-Agent");
        assert_eq!(one_word(""), "unknown");
        assert_eq!(one_word(&"x".repeat(1000)).len(), NAME_MAX);
    }

    #[test]
    fn every_tool_is_described_and_says_whether_it_writes() {
        let tools = Server::tool_router().list_all();
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        let all = [
            "leases",
            "repo_apply_patch",
            "repo_edit",
            "repo_read",
            "repo_status",
            "repo_write",
            "repos_list",
        ];
        assert_eq!(names, all);
        for tool in tools {
            assert!(tool.description.as_ref().is_some_and(|text| text.len() > 50), "{tool:?}");
            let hints = tool.annotations.as_ref().unwrap();
            let writes = ["repo_write", "repo_edit", "repo_apply_patch"].contains(&&*tool.name);
            assert_eq!(hints.read_only_hint, Some(!writes), "{tool:?}");
            let schema = serde_json::Value::Object((*tool.input_schema).clone());
            for (name, argument) in schema["properties"].as_object().into_iter().flatten() {
                assert!(argument["description"].is_string(), "{}: {name}", tool.name);
            }
        }
    }
}
