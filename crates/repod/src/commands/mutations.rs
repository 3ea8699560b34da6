//! `repod mutations`: what was written across repos, and what came of it.

use super::{Outcome, client};
use crate::cli::Output;
use crate::output::{self, Rows};
use repod_proto::{MutationInfo, exit};

/// Files that are named in a row; the others are counted.
const NAMED: usize = 3;

pub(crate) async fn run(limit: u32, output: Output) -> Outcome {
    let mutations = client(output.no_start)?.mutations(Some(limit)).await?;
    if output.json {
        output::json(&mutations);
        return Ok(exit::OK);
    }
    if mutations.is_empty() {
        output::note("nothing has crossed repos yet");
        return Ok(exit::OK);
    }
    let head =
        ["AT", "OUTCOME", "TOOL", "FROM", "SESSION", "TO", "BRANCH", "FENCE", "OPERATION", "FILES"];
    let mut rows = Rows::new(&head);
    for mutation in &mutations {
        rows.push(row(mutation));
    }
    rows.print();
    for mutation in &mutations {
        if let Some(message) = &mutation.message {
            output::note(&format!("{}: {message}", mutation.operation_id));
        }
    }
    Ok(exit::OK)
}

fn row(mutation: &MutationInfo) -> Vec<String> {
    let from = mutation.from.repo_id.as_ref();
    vec![
        mutation.at.clone(),
        output::outcome(mutation.outcome),
        mutation.tool.clone(),
        from.map_or_else(output::dash, ToString::to_string),
        mutation.from.session_id.clone(),
        mutation.to.repo_id.to_string(),
        mutation.to.branch.clone(),
        mutation.fence.to_string(),
        mutation.operation_id.clone(),
        files(&mutation.files),
    ]
}

fn files(files: &[String]) -> String {
    let named = files.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ");
    match files.len().saturating_sub(NAMED) {
        0 if named.is_empty() => output::dash(),
        0 => named,
        more => format!("{named} +{more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_are_counted_instead_of_named() {
        let all: Vec<String> = (1..=5).map(|n| format!("{n}.txt")).collect();
        assert_eq!(files(&[]), "-");
        assert_eq!(files(&all[..3]), "1.txt 2.txt 3.txt");
        assert_eq!(files(&all), "1.txt 2.txt 3.txt +2");
    }
}
