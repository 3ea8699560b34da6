//! `endpoint.json`: what is known of a repo, crash-safe on disk.
//!
//! A file that can't be understood is kept and said; it is never replaced by an empty one, and it
//! concerns its own repo only.

use crate::backend::Confinement;
use crate::repo::Repo;
use crate::secret::random_hex;
use repod_proto::home::RepoDir;
use repod_proto::{ApiError, BackendState, ErrorCode, Generation, LastExit, RepoId};
use repod_supervisor::files::{self, LockError, LockFile, PrivateError};
use repod_supervisor::identity::ProcessIdentity;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The format written by this version. Older ones are read, newer ones refused.
const FORMAT: u32 = 1;
/// A record is about one kilobyte; what is larger than this is not one.
const RECORD_MAX: u64 = 1024 * 1024;

/// One registry entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) repo_id: RepoId,
    pub(crate) root: PathBuf,
    /// The canonical git common directory (the path itself without git): what the id stands for.
    pub(crate) identity: PathBuf,
    pub(crate) state: BackendState,
    pub(crate) generation: Generation,
    /// The gateway's address. In a record without a capability URL (written before there was a
    /// gateway) it is the backend's own, and so is the password.
    pub(crate) url: Option<String>,
    pub(crate) username: String,
    pub(crate) password: Option<String>,
    #[serde(default)]
    pub(crate) capability_url: Option<String>,
    pub(crate) backend: Option<BackendRecord>,
    #[serde(default)]
    pub(crate) failure: Option<ApiError>,
    /// The last time it ended by itself.
    #[serde(default)]
    pub(crate) last_exit: Option<LastExit>,
    /// What users of the endpoint should know; as long as this daemon lives.
    #[serde(skip)]
    pub(crate) warnings: Vec<String>,
}

/// The process behind it, with all a later daemon needs to know it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BackendRecord {
    #[serde(flatten)]
    pub(crate) identity: ProcessIdentity,
    pub(crate) port: u16,
    pub(crate) password: String,
    /// Value of `REPOD_BACKEND` in the environment of every process of this backend.
    pub(crate) marker: String,
    /// What its guards say who they are with; empty in records of older daemons.
    #[serde(default)]
    pub(crate) guard: String,
    pub(crate) version: Option<String>,
    pub(crate) started_at: String,
    /// Where the output of this generation begins in `backend.log`.
    pub(crate) log_offset: u64,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// What holds it; nothing in records of older daemons.
    #[serde(default)]
    pub(crate) confinement: Confinement,
}

impl Record {
    /// The entry of a repo that was never started.
    pub(crate) fn new(repo: &Repo) -> Self {
        Self {
            version: FORMAT,
            repo_id: repo.id.clone(),
            root: repo.root.clone(),
            identity: repo.identity.clone(),
            state: BackendState::Stopped,
            generation: Generation::default(),
            url: None,
            username: repod_opencode::USERNAME.to_owned(),
            password: None,
            capability_url: None,
            backend: None,
            failure: None,
            last_exit: None,
            warnings: Vec::new(),
        }
    }

    /// The repo this entry is about.
    pub(crate) fn repo(&self) -> Repo {
        Repo { id: self.repo_id.clone(), identity: self.identity.clone(), root: self.root.clone() }
    }

    /// The port clients know of; none where there never was a gateway.
    pub(crate) fn gateway_port(&self) -> Option<u16> {
        self.capability_url.as_ref()?;
        self.url.as_deref()?.rsplit(':').next()?.parse().ok()
    }

    /// Notes where the gateway listens; makes the credentials where there are none. Says whether
    /// that was news.
    pub(crate) fn listens_on(&mut self, port: u16) -> Result<bool, ApiError> {
        if self.gateway_port() == Some(port) && self.password.is_some() {
            return Ok(false);
        }
        if self.capability_url.is_none() || self.password.is_none() {
            self.password = Some(random_hex::<32>()?);
            self.capability_url = Some(capability_url(port, &random_hex::<32>()?));
        } else if let Some((_, token)) = self.capability_url.as_deref().and_then(split_token) {
            self.capability_url = Some(capability_url(port, token));
        }
        self.url = Some(format!("http://127.0.0.1:{port}"));
        Ok(true)
    }

    /// Replaces password and capability; the old ones are worth nothing from then on.
    pub(crate) fn rotate(&mut self) -> Result<(), ApiError> {
        let Some(port) = self.gateway_port() else {
            return Err(ApiError::new(ErrorCode::Internal, "this repo has no endpoint yet"));
        };
        let (password, token) = (random_hex::<32>()?, random_hex::<32>()?);
        self.password = Some(password);
        self.capability_url = Some(capability_url(port, &token));
        Ok(())
    }

    /// Reads the entry of `id`; `None` when there is none.
    pub(crate) fn read(dir: &RepoDir, id: &RepoId) -> Result<Option<Self>, ApiError> {
        let file = dir.endpoint();
        let meta = match fs_err::symlink_metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| unreadable(&file, &error))?,
        };
        check_owner(&file, &meta)?;
        if !meta.is_file() || meta.len() > RECORD_MAX {
            return Err(corrupt(&file, "it is not a plain file of a sensible size"));
        }
        let text = fs_err::read(&file).map_err(|error| unreadable(&file, &error))?;
        let record = parse(&file, &text)?;
        if record.repo_id != *id {
            let cause = format!("it is about `{}`", record.repo_id);
            return Err(corrupt(&file, &cause));
        }
        Ok(Some(record))
    }

    /// Writes the entry and the port file; what was there stays until the new one is whole.
    pub(crate) fn write(&self, dir: &RepoDir) -> Result<(), ApiError> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| {
            ApiError::new(ErrorCode::Internal, format!("the record can't be written: {error}"))
        })?;
        let failed = |file: &Path, error: &dyn std::error::Error| {
            let message = format!("`{}` can't be written: {error}", file.display());
            ApiError::new(ErrorCode::StateIo, message)
                .hint("is the disk full? what was there is unchanged")
        };
        let file = dir.endpoint();
        files::write_atomic(&file, &text, 0o600).map_err(|error| failed(&file, &error))?;
        let port = self.url.as_deref().and_then(|url| url.rsplit(':').next());
        if let Some(port) = port {
            let file = dir.port();
            if fs_err::read_to_string(&file).ok().as_deref().map(str::trim) != Some(port) {
                let text = format!("{port}\n");
                files::write_atomic(&file, text.as_bytes(), 0o600)
                    .map_err(|error| failed(&file, &error))?;
            }
        }
        Ok(())
    }
}

/// A URL that carries the credential as its first path segment.
fn capability_url(port: u16, token: &str) -> String {
    format!("http://127.0.0.1:{port}/~{token}")
}

/// A capability URL in two: up to the token, and the token.
pub(crate) fn split_token(capability_url: &str) -> Option<(&str, &str)> {
    capability_url.split_once("/~")
}

fn parse(file: &Path, text: &[u8]) -> Result<Record, ApiError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let found: Versioned =
        serde_json::from_slice(text).map_err(|error| corrupt(file, &error.to_string()))?;
    if found.version > FORMAT {
        let message = format!(
            "`{}` was written by a newer repod (format {}, this one knows {FORMAT})",
            file.display(),
            found.version
        );
        return Err(ApiError::new(ErrorCode::StateTooNew, message)
            .hint("use that newer repod; the file was kept as it is"));
    }
    serde_json::from_slice(text).map_err(|error| corrupt(file, &error.to_string()))
}

/// Creates the repo's directory, private, and takes its lock.
pub(crate) fn claim(dir: &RepoDir) -> Result<LockFile, ApiError> {
    let io_failed = |error: &dyn std::error::Error| {
        ApiError::new(
            ErrorCode::StateIo,
            format!("`{}` can't be used: {error}", dir.dir().display()),
        )
        .hint("is the disk full, or repod's home read-only?")
    };
    files::create_private_dir(dir.dir()).map_err(|error| match error {
        PrivateError::Foreign { .. }
        | PrivateError::Open { .. }
        | PrivateError::WrongKind { .. } => {
            ApiError::new(ErrorCode::StateForeign, error.to_string())
                .hint("it must be a directory of yours that is closed to others")
        }
        error => io_failed(&error),
    })?;
    files::create_private_dir(&dir.dir().join("log")).map_err(|error| io_failed(&error))?;
    if let Err(error) = files::sweep_temps(dir.dir()) {
        tracing::warn!(dir = %dir.dir().display(), %error, "temporary files can't be swept");
    }
    LockFile::try_acquire(&dir.lock()).map_err(|error| match error {
        LockError::Held { .. } => ApiError::new(ErrorCode::LockBusy, error.to_string())
            .hint("`fuser -v` on that file shows by whom; repod tries again at the next request"),
        error => io_failed(&error),
    })
}

fn check_owner(file: &Path, meta: &std::fs::Metadata) -> Result<(), ApiError> {
    let ours = rustix::process::geteuid().as_raw();
    if meta.uid() != ours {
        let message = format!("`{}` belongs to another user (uid {})", file.display(), meta.uid());
        return Err(ApiError::new(ErrorCode::StateForeign, message)
            .hint(format!("it was kept; if it is yours: chown {ours} {}", file.display())));
    }
    if meta.mode() & 0o022 != 0 {
        let message = format!("`{}` can be written by other users", file.display());
        return Err(ApiError::new(ErrorCode::StateForeign, message)
            .hint(format!("look at it, then: chmod 600 {}", file.display())));
    }
    Ok(())
}

fn corrupt(file: &Path, cause: &str) -> ApiError {
    ApiError::new(
        ErrorCode::StateCorrupt,
        format!("`{}` can't be understood: {cause}", file.display()),
    )
    .hint(format!(
        "it was kept as it is; repair it, or move it away and ask again: mv {0} {0}.bad",
        file.display()
    ))
    .detail("path", file.display().to_string())
}

fn unreadable(file: &Path, error: &io::Error) -> ApiError {
    ApiError::new(ErrorCode::StateIo, format!("`{}` can't be read: {error}", file.display()))
        .detail("path", file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new(&Repo {
            id: "web-3f2a9c1b04de".parse().unwrap(),
            identity: "/src/web/.git".into(),
            root: "/src/web".into(),
        })
    }

    #[test]
    fn credentials_are_made_once_and_outlive_a_change_of_port() {
        let mut record = record();
        assert_eq!(record.gateway_port(), None);
        assert!(record.listens_on(4711).unwrap());
        let first = record.clone();
        assert_eq!(first.password.as_ref().unwrap().len(), 64);
        assert!(!record.listens_on(4711).unwrap());
        assert_eq!(record, first);
        assert!(record.listens_on(4712).unwrap());
        assert_eq!(record.url.as_deref(), Some("http://127.0.0.1:4712"));
        assert_eq!(record.password, first.password);
        let token = |record: &Record| {
            split_token(record.capability_url.as_deref().unwrap()).unwrap().1.to_owned()
        };
        assert_eq!(token(&record), token(&first));
        record.rotate().unwrap();
        assert_ne!(record.password, first.password);
        assert_ne!(token(&record), token(&first));
        assert_eq!(record.gateway_port(), Some(4712));
    }

    #[test]
    fn a_record_from_before_the_gateway_gets_an_endpoint_of_its_own() {
        let mut old = serde_json::to_value(record()).unwrap();
        old["url"] = "http://127.0.0.1:40211".into();
        old["password"] = "the backend's own".into();
        old.as_object_mut().unwrap().remove("capability_url");
        let mut old: Record = serde_json::from_value(old).unwrap();
        assert_eq!(old.gateway_port(), None);
        assert!(old.listens_on(4711).unwrap());
        assert_eq!(old.url.as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(old.password.as_ref().unwrap().len(), 64);
    }
}
