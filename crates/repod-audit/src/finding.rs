//! What an audit says: findings, each with what proves it, and what was looked at.

use crate::catalogue::{RULES, Rule};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AuditSeverity)]
pub enum Severity {
    /// Data is lost, work is overwritten, or somebody else can get in.
    Error,
    /// It works today and fails under load, or at the next start.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// Its name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that proves a finding. Never the value of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEvidence)]
pub struct Evidence {
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The file or directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub path: Option<PathBuf>,
    /// The TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The environment variable or kernel setting that decides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// What was seen there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Evidence {
    /// About a process.
    pub fn pid(pid: u32) -> Self {
        Self { pid: Some(pid), ..Self::default() }
    }

    /// About a file.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// About a kernel setting.
    pub fn variable(name: &str) -> Self {
        Self { variable: Some(name.to_owned()), ..Self::default() }
    }

    pub(crate) fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    pub(crate) fn maybe_at(self, path: Option<&Path>) -> Self {
        match path {
            Some(path) => self.at(path),
            None => self,
        }
    }

    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    pub(crate) fn by(mut self, variable: &str) -> Self {
        self.variable = Some(variable.to_owned());
        self
    }

    pub(crate) fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AuditFinding)]
pub struct Finding {
    /// The rule's id; it never comes to mean something else.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What the rule is about.
    pub title: &'static str,
    /// What was found here.
    pub message: String,
    /// What proves it, at least one piece.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub fix: &'static str,
}

impl Finding {
    /// A finding of this rule.
    pub(crate) fn of(id: &str, message: impl Into<String>, evidence: Vec<Evidence>) -> Self {
        let rule = Rule::of(id);
        Self {
            id: rule.id,
            severity: rule.severity,
            title: rule.title,
            message: message.into(),
            evidence,
            fix: rule.fix,
        }
    }
}

/// One rule that was gone through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AuditChecked)]
pub struct Checked {
    /// The rule.
    pub id: &'static str,
    /// How often it found something.
    pub findings: usize,
}

/// All that an audit says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = AuditReport)]
pub struct Report {
    /// The faults, the worst first.
    pub findings: Vec<Finding>,
    /// The rules that were gone through.
    pub checked: Vec<Checked>,
    /// What could not be looked at, and why: no finding there means nothing.
    pub skipped: Vec<String>,
}

impl Report {
    /// Sorts what was found: by severity, then rule, then evidence.
    pub(crate) fn new(mut findings: Vec<Finding>, skipped: Vec<String>) -> Self {
        for finding in &mut findings {
            finding.evidence.sort();
            finding.evidence.dedup();
        }
        findings
            .sort_by(|a, b| (a.severity, a.id, &a.evidence).cmp(&(b.severity, b.id, &b.evidence)));
        let count = |id| findings.iter().filter(|finding| finding.id == id).count();
        let checked = RULES.iter().map(|rule| Checked { id: rule.id, findings: count(rule.id) });
        Self { checked: checked.collect(), findings, skipped }
    }
}
