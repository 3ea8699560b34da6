//! `repod version`: this binary, the daemon that runs, the OpenCode that would be started.

use super::{Outcome, client};
use crate::output;
use crate::settings::Settings;
use repod_opencode::Binary;
use repod_proto::{DaemonInfo, REPOD_VERSION, exit};
use serde::Serialize;

#[derive(Serialize)]
struct Versions {
    version: &'static str,
    daemon: Option<DaemonInfo>,
    opencode: Option<OpenCode>,
}

#[derive(Serialize)]
struct OpenCode {
    path: String,
    version: String,
}

pub(crate) async fn run(json: bool) -> Outcome {
    let client = client(true)?;
    let daemon = client.version().await.ok();
    let setting = Settings::load(&client.home().settings())?.backend.opencode;
    let opencode = Binary::locate(setting.as_deref(), &std::env::vars_os().collect());
    let versions = Versions {
        version: REPOD_VERSION,
        daemon,
        opencode: opencode.as_ref().ok().map(|binary| OpenCode {
            path: binary.path.display().to_string(),
            version: binary.version.to_string(),
        }),
    };
    if json {
        output::json(&versions);
        return Ok(exit::OK);
    }
    output::line(&format!("repod {REPOD_VERSION}"));
    match &versions.daemon {
        Some(daemon) => output::line(&format!("daemon {} (pid {})", daemon.version, daemon.pid)),
        None => output::line("daemon not running"),
    }
    match &opencode {
        Ok(binary) => {
            output::line(&format!("opencode {} ({})", binary.version, binary.path.display()));
        }
        Err(error) => output::warn(&error.to_string()),
    }
    Ok(exit::OK)
}
