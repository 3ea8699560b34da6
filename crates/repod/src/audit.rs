//! Where an audit looks: the same for `repod audit` and for those who ask the daemon.

use crate::settings::Settings;
use repod_audit::read::Sources;
use repod_opencode::Binary;
use repod_proto::{ApiError, Home};
use std::path::{Path, PathBuf};

/// This machine, as this home's settings want it; and why these can't be used, where they can't.
pub(crate) fn sources(home: &Home, only: Vec<PathBuf>) -> (Sources, Option<ApiError>) {
    let (settings, error) = match Settings::load(&home.settings()) {
        Ok(settings) => (settings, None),
        Err(error) => (Settings::default(), Some(error)),
    };
    let mut sources = Sources::here(home.dir().to_owned(), only, settings.limits.nofile);
    sources.installed = installed(settings.backend.opencode.as_deref());
    (sources, error)
}

/// What a backend would be started with, as far as its files tell.
fn installed(setting: Option<&Path>) -> Option<(PathBuf, String)> {
    let path = Binary::find(setting, &std::env::vars_os().collect()).ok()?;
    let version = Binary::told_version(&path)?.to_string();
    Some((path, version))
}
