//! How results reach a person or a script: JSON, tables, errors. The only room that prints.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use repod_proto::{ApiError, BackendState, ErrorBody, MutationOutcome, SessionStatus};
use serde::Serialize;

const RED: Style = AnsiColor::Red.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) {
    // Everything printed is a plain data type of ours, which always serialises.
    if let Ok(text) = serde_json::to_string_pretty(value) {
        line(&text);
    }
}

/// Prints one line of NDJSON.
pub(crate) fn ndjson(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        line(&text);
    }
}

/// Prints one line of NDJSON at once; an error when nobody reads it.
pub(crate) fn try_ndjson(value: &impl Serialize) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints one line. A reader that went away (`repod logs | head`) is not an error.
pub(crate) fn line(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(anstream::stdout(), "{text}");
}

/// A command's output as it is, colours and all.
pub(crate) fn raw(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a piece of text as it is, at once.
pub(crate) fn text(text: &str) {
    use std::io::Write as _;
    let mut out = anstream::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Asks, on stderr, without ending the line.
pub(crate) fn ask(text: &str) {
    anstream::eprint!("{CYAN}{text}{CYAN:#}");
}

/// One line of a diff, beside the data.
pub(crate) fn diff_line(line: &str) {
    let style = match line.as_bytes().first() {
        Some(b'+') => GREEN,
        Some(b'-') => AnsiColor::Red.on_default(),
        _ => DIM,
    };
    anstream::eprintln!("  {style}{line}{style:#}");
}

/// Says something beside the data: on stderr.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{DIM}{text}{DIM:#}");
}

/// Warns.
pub(crate) fn warn(text: &str) {
    anstream::eprintln!("{YELLOW}warning{YELLOW:#}: {text}");
}

/// Prints an error: for scripts on stdout where they asked for JSON, for people on stderr.
pub(crate) fn error(error: &ApiError, as_json: bool) {
    if as_json {
        json(&ErrorBody { error: error.clone() });
        return;
    }
    anstream::eprintln!("{RED}error{RED:#}: {}", error.message);
    if let Some(tail) = error.details.get("log_tail").and_then(|tail| tail.as_str()) {
        for line in tail.lines() {
            anstream::eprintln!("  {DIM}| {line}{DIM:#}");
        }
    }
    if let Some(hint) = &error.hint {
        anstream::eprintln!("{CYAN}hint{CYAN:#}: {hint}");
    }
}

/// A table without lines, as `docker ps` has made people expect.
pub(crate) struct Rows {
    table: Table,
}

impl Rows {
    pub(crate) fn new(head: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head.iter().map(|name| format!("{DIM}{name}{DIM:#}")));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
            column.set_cell_alignment(CellAlignment::Left);
        }
        Self { table }
    }

    pub(crate) fn push(&mut self, cells: Vec<String>) {
        self.table.add_row(cells);
    }

    pub(crate) fn print(&self) {
        for row in self.table.lines() {
            line(row.trim_end());
        }
    }
}

/// A state, coloured.
pub(crate) fn state(state: BackendState) -> String {
    let style = match state {
        BackendState::Ready => GREEN,
        BackendState::Failed => RED,
        BackendState::Unresponsive | BackendState::Starting | BackendState::Stopping => YELLOW,
        BackendState::Stopped | BackendState::Hibernated => DIM,
    };
    format!("{style}{}{style:#}", state.as_str())
}

/// What a session is doing, coloured.
pub(crate) fn session_status(status: SessionStatus) -> String {
    let (style, name) = match status {
        SessionStatus::Idle => (DIM, "idle"),
        SessionStatus::Busy => (GREEN, "busy"),
        SessionStatus::Waiting => (YELLOW, "waiting"),
        SessionStatus::Crashed => (RED, "crashed"),
        SessionStatus::Closed => (DIM, "closed"),
        SessionStatus::Unknown => (DIM, "unknown"),
    };
    format!("{style}{name}{style:#}")
}

/// What came of a mutation, coloured.
pub(crate) fn outcome(outcome: MutationOutcome) -> String {
    let (style, name) = match outcome {
        MutationOutcome::Pending => (YELLOW, "pending"),
        MutationOutcome::Applied => (GREEN, "applied"),
        MutationOutcome::Unchanged => (DIM, "unchanged"),
        MutationOutcome::Refused => (YELLOW, "refused"),
        MutationOutcome::RolledBack => (YELLOW, "rolled_back"),
        MutationOutcome::Conflict => (RED, "conflict"),
        MutationOutcome::Bypass => (RED, "bypass"),
        MutationOutcome::Unknown => (DIM, "unknown"),
    };
    format!("{style}{name}{style:#}")
}

/// How bad a finding is, coloured.
pub(crate) fn severity(severity: repod_audit::Severity) -> String {
    let style = match severity {
        repod_audit::Severity::Error => RED,
        repod_audit::Severity::Warning => YELLOW,
        repod_audit::Severity::Note => CYAN,
    };
    format!("{style}{}{style:#}", severity.as_str())
}

/// A size for people.
pub(crate) fn bytes(size: Option<u64>) -> String {
    size.map_or_else(dash, |size| indicatif::BinaryBytes(size).to_string())
}

/// A number for people.
pub(crate) fn number(number: Option<u64>) -> String {
    number.map_or_else(dash, |number| number.to_string())
}

/// A span for people, to the second.
pub(crate) fn seconds(seconds: Option<u64>) -> String {
    seconds.map_or_else(dash, |s| {
        humantime::format_duration(std::time::Duration::from_secs(s)).to_string()
    })
}

/// What stands where there is nothing.
pub(crate) fn dash() -> String {
    "-".to_owned()
}
