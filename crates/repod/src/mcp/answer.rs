//! What a tool answers: text a model reads, and the same as data for programs.

use repod_proto::{ApiError, MutationOutcome, RouteReport};
use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;

/// Most bytes of a diff in one answer.
const DIFF_MAX: usize = 20 * 1024;

/// An answer on its way.
pub(super) type Answer = Result<CallToolResult, ApiError>;

/// Several texts.
pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> CallToolResult {
    CallToolResult::success(texts.into_iter().map(ContentBlock::text).collect())
}

/// Plain data: as JSON to be read, and as it is.
pub(super) fn data(name: &str, value: &impl Serialize) -> Answer {
    let failed = |error: serde_json::Error| {
        ApiError::new(repod_proto::ErrorCode::Internal, format!("can't be written: {error}"))
    };
    let value = serde_json::to_value(value).map_err(failed)?;
    let mut answer = texts([serde_json::to_string_pretty(&value).map_err(failed)?]);
    // Older clients take objects only.
    let object = if value.is_object() { value } else { serde_json::json!({ name: value }) };
    answer.structured_content = Some(object);
    Ok(answer)
}

/// Where something was written, by whom, and what changed.
pub(super) fn written(report: &RouteReport) -> CallToolResult {
    let mut lines = Vec::new();
    if report.outcome == MutationOutcome::Unchanged {
        lines.push("nothing had to be changed".to_owned());
    }
    for target in &report.targets {
        let done =
            if report.outcome == MutationOutcome::Unchanged { "looked at" } else { "written" };
        lines.push(format!(
            "{done} by the backend of {} on branch `{}` in {} (fence {}): {}",
            target.repo_id,
            target.branch,
            target.directory,
            target.fence,
            target.files.join(", "),
        ));
    }
    let mut parts = vec![lines.join("\n")];
    if !report.diff.is_empty() {
        parts.push(cut(&report.diff));
    }
    let mut answer = texts(parts);
    let short = RouteReport { diff: cut(&report.diff), ..report.clone() };
    answer.structured_content = serde_json::to_value(short).ok();
    answer
}

fn cut(diff: &str) -> String {
    if diff.len() <= DIFF_MAX {
        return diff.to_owned();
    }
    let end = (0..=DIFF_MAX).rev().find(|at| diff.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n… (the diff goes on: {} bytes in all)\n", &diff[..end], diff.len())
}

/// An error as the model should read it: kind, cause, and what to do.
pub(super) fn refused(error: &ApiError) -> CallToolResult {
    let mut text = format!("error ({}): {}", error.code, error.message);
    if let Some(hint) = &error.hint {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    CallToolResult::error(vec![ContentBlock::text(text)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use repod_proto::ErrorCode;

    fn text(answer: &CallToolResult) -> &str {
        &answer.content[0].as_text().unwrap().text
    }

    #[test]
    fn an_error_says_its_kind_its_cause_and_what_to_do() {
        let error = ApiError::new(ErrorCode::LeaseBusy, "`main` is taken").hint("wait");
        let answer = refused(&error);
        assert_eq!(answer.is_error, Some(true));
        assert_eq!(text(&answer), "error (lease_busy): `main` is taken\nhint: wait");
    }

    #[test]
    fn a_long_diff_is_cut_between_characters_and_says_so() {
        let diff = "ä".repeat(DIFF_MAX);
        let shown = cut(&diff);
        assert!(shown.len() < DIFF_MAX + 100);
        assert!(shown.ends_with("bytes in all)\n"), "{shown}");
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn lists_are_objects_for_clients_that_take_no_others() {
        let answer = data("repos", &["a"]).unwrap();
        assert_eq!(answer.structured_content.unwrap(), serde_json::json!({"repos": ["a"]}));
    }
}
