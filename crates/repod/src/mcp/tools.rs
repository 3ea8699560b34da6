//! The tools: their names, arguments and descriptions, which is what a model knows of them.

use super::Server;
use super::answer;
use super::edit::Edit;
use super::place;
use super::read::{self, Part};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::CallToolResult;
use rmcp::service::RequestContext;
use rmcp::{RoleServer, schemars, tool, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PathArgument {
    /// A path in the repository, absolute or relative to the server's working directory.
    path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ReadArguments {
    /// A file or directory, absolute or relative to the server's working directory.
    path: String,
    /// The first line (of a directory: entry) to return, counted from 1; the first by default.
    offset: Option<u64>,
    /// How many lines (entries) to return; 2000 by default and at most.
    limit: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct WriteArguments {
    /// The file, absolute or relative to the server's working directory. Directories are made.
    path: String,
    /// All the file is to hold, as UTF-8 text.
    content: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct EditArguments {
    /// The file, absolute or relative to the server's working directory.
    path: String,
    /// The text to replace, exactly as `repo_read` shows it, white space included. It must occur once,
    /// unless `replace_all` is set.
    old_string: String,
    /// The text to put there.
    new_string: String,
    /// Replace every occurrence instead of the only one.
    #[serde(default)]
    replace_all: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct PatchArguments {
    /// Any path in the target repository's worktree, absolute or relative to the server's working
    /// directory.
    path: String,
    /// A patch as `git diff` or `diff -u` makes it. Its paths (`a/…`, `b/…`) are relative to the root of
    /// the worktree. New files, deletions, renames, mode changes and `git diff --binary` are understood.
    patch: String,
}

#[tool_router(vis = "pub(super)")]
impl Server {
    /// List the repositories repod knows on this machine, with the state of each one's backend. Use it to
    /// find out where other repositories are. Starts nothing.
    #[tool(annotations(
        title = "List repositories",
        read_only_hint = true,
        open_world_hint = false
    ))]
    async fn repos_list(&self, context: RequestContext<RoleServer>) -> CallToolResult {
        self.answer(context, async |server: &Server, _| {
            answer::data("repos", &server.client.ps().await?)
        })
        .await
    }

    /// Read a text file, or list a directory, of any repository on this machine. At most 2000 lines or
    /// 50 KiB are returned; where something is left out, the answer says with which `offset` to go on.
    /// Reading never waits for those who write.
    #[tool(annotations(title = "Read a file", read_only_hint = true, open_world_hint = false))]
    async fn repo_read(
        &self,
        Parameters(ReadArguments { path, offset, limit }): Parameters<ReadArguments>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async |server: &Server, _| {
            let path = server.place(&path).await?;
            place::must_be_in_a_repo(&server.client, &path).await?;
            let part = Part::new(offset, limit);
            let page = place::blocking(move || read::read(&path, part)).await?;
            let note = page.note.map(|note| format!("[{note}]"));
            Ok(answer::texts(std::iter::once(page.text).chain(note)))
        })
        .await
    }

    /// Write a whole file in any repository, new or in place of what is there. The repository's own
    /// backend writes it (and is woken if it sleeps), under the lease of the branch that is checked out
    /// there, so nobody else's work on that branch is trampled; if somebody is writing there, this waits.
    /// Returns the diff.
    #[tool(annotations(
        title = "Write a file",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = true,
        open_world_hint = false
    ))]
    async fn repo_write(
        &self,
        Parameters(WriteArguments { path, content }): Parameters<WriteArguments>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async |server: &Server, owner| {
            let path = server.place(&path).await?;
            let writer = server.writer(owner, "repo_write");
            Ok(answer::written(&writer.write(&path, &content).await?))
        })
        .await
    }

    /// Replace text in a file of any repository. `old_string` must match exactly and once (or set
    /// `replace_all`); read the file first. Written like `repo_write`; if the file changes meanwhile, the
    /// edit is made on what is there then, or refused. Returns the diff.
    #[tool(annotations(
        title = "Edit a file",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn repo_edit(
        &self,
        Parameters(arguments): Parameters<EditArguments>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let EditArguments { path, old_string, new_string, replace_all } = arguments;
        self.answer(context, async |server: &Server, owner| {
            let path = server.place(&path).await?;
            let edit = Edit { old: &old_string, new: &new_string, all: replace_all };
            let writer = server.writer(owner, "repo_edit");
            Ok(answer::written(&writer.edit(&path, edit).await?))
        })
        .await
    }

    /// Apply a git or unified diff in another repository: all of it, or nothing and the reason. Written
    /// like `repo_write`. Returns the diff of what changed.
    #[tool(annotations(
        title = "Apply a patch",
        read_only_hint = false,
        destructive_hint = true,
        idempotent_hint = false,
        open_world_hint = false
    ))]
    async fn repo_apply_patch(
        &self,
        Parameters(PatchArguments { path, patch }): Parameters<PatchArguments>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async |server: &Server, owner| {
            let path = server.place(&path).await?;
            let writer = server.writer(owner, "repo_apply_patch");
            Ok(answer::written(&writer.patch(&path, &patch).await?))
        })
        .await
    }

    /// One repository: its root, the branch that is checked out at the path, and its backend's state.
    /// Starts nothing.
    #[tool(annotations(title = "Status", read_only_hint = true, open_world_hint = false))]
    async fn repo_status(
        &self,
        Parameters(PathArgument { path }): Parameters<PathArgument>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        self.answer(context, async |server: &Server, _| {
            let path = server.place(&path).await?;
            let mut status = server.client.status(place::directory(&path)).await?;
            // A model has no use for them, and what it reads ends up in transcripts.
            status.summary.endpoint.password = None;
            status.summary.endpoint.capability_url = None;
            answer::data("status", &status)
        })
        .await
    }

    /// Who may write on which branch at the moment, since when, what they do, and who waits in line. Use
    /// it when a write was refused because somebody else has the branch.
    #[tool(annotations(title = "Leases", read_only_hint = true, open_world_hint = false))]
    async fn leases(&self, context: RequestContext<RoleServer>) -> CallToolResult {
        self.answer(context, async |server: &Server, _| {
            answer::data("leases", &server.client.leases().await?)
        })
        .await
    }
}
