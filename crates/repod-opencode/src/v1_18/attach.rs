//! How OpenCode's own TUI is started on an endpoint.

use crate::Binary;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the TUI is to attach to.
#[derive(Clone, Copy)]
pub struct AttachTarget<'a> {
    /// The endpoint's base URL.
    pub url: &'a str,
    /// The directory to work in.
    pub directory: &'a Path,
    /// User name for basic authentication.
    pub username: &'a str,
    /// Password for basic authentication.
    pub password: &'a str,
}

impl fmt::Debug for AttachTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachTarget")
            .field("url", &self.url)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// A command to run in the user's own environment plus `env`. Holds the password: don't print it.
#[derive(Clone, PartialEq, Eq)]
pub struct AttachCommand {
    /// The OpenCode binary.
    pub program: PathBuf,
    /// Its arguments; no secret is among them.
    pub args: Vec<OsString>,
    /// What is to be added to the environment.
    pub env: BTreeMap<OsString, OsString>,
}

impl fmt::Debug for AttachCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachCommand")
            .field("program", &self.program)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// `opencode attach` on an endpoint. `extra` are the user's own arguments (`--session …`).
///
/// The password goes by environment: argv is open to every user of the machine.
pub fn attach_command(
    binary: &Binary,
    target: &AttachTarget<'_>,
    extra: &[OsString],
) -> AttachCommand {
    let mut args: Vec<OsString> =
        vec!["attach".into(), target.url.into(), "--dir".into(), target.directory.into()];
    args.extend_from_slice(extra);
    let env = [
        ("OPENCODE_SERVER_USERNAME", target.username),
        ("OPENCODE_SERVER_PASSWORD", target.password),
        // `run --attach` opens a database of its own even when attached; should `attach` ever do
        // so, it is not the user's.
        ("OPENCODE_DB", ":memory:"),
        // The client and the backend are one version; the user's own runs look for updates.
        ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    ];
    AttachCommand {
        program: binary.path.clone(),
        args,
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_never_enters_the_arguments() {
        let binary =
            Binary { path: "/bin/opencode".into(), version: semver::Version::new(1, 18, 33) };
        let target = AttachTarget {
            url: "http://127.0.0.1:4711",
            directory: Path::new("/src/web"),
            username: "opencode",
            password: "s3cret",
        };
        let command = attach_command(&binary, &target, &["--continue".into()]);
        let args: Vec<_> = command.args.iter().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(args, ["attach", "http://127.0.0.1:4711", "--dir", "/src/web", "--continue"]);
        let password = command.env.get(&OsString::from("OPENCODE_SERVER_PASSWORD"));
        assert_eq!(password, Some(&OsString::from("s3cret")));
        assert!(!format!("{command:?} {target:?}").contains("s3cret"));
    }
}
