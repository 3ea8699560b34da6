//! The schema of OpenCode's database as it is known here, and what of it belongs to a session.
//!
//! Whatever is read or written was compared with this first. A database that has a table, a column or a
//! migration more or less is refused: what isn't known can't be carried over whole.

use crate::HistoryError;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;
use std::path::Path;

/// The version of OpenCode whose schema this is.
pub const SCHEMA_OF: &str = "1.18.33";

/// Tables whose rows belong to one session, each with the column that says to which. Those that others
/// refer to come first.
pub(crate) const OF_SESSION: &[(&str, &str)] = &[
    ("message", "session_id"),
    ("part", "session_id"),
    ("todo", "session_id"),
    ("session_share", "session_id"),
    ("session_context_epoch", "session_id"),
    ("session_input", "session_id"),
    ("session_message", "session_id"),
    ("event_sequence", "aggregate_id"),
    ("event", "aggregate_id"),
];

/// Tables of logins. They are never copied: two copies of one rotating token end each other.
pub(crate) const LOGINS: &[&str] = &["account", "control_account", "credential"];

/// Left over in databases that began under an older OpenCode; nothing reads it any more.
const LEFT_OVER: &str = "__drizzle_migrations";

/// Every table and its columns, in alphabetical order: those added later stand elsewhere in older files.
pub(crate) const TABLES: &[(&str, &[&str])] = &[
    (
        "account",
        &[
            "access_token",
            "email",
            "id",
            "refresh_token",
            "time_created",
            "time_updated",
            "token_expiry",
            "url",
        ],
    ),
    ("account_state", &["active_account_id", "active_org_id", "id"]),
    (
        "control_account",
        &[
            "access_token",
            "active",
            "email",
            "refresh_token",
            "time_created",
            "time_updated",
            "token_expiry",
            "url",
        ],
    ),
    (
        "credential",
        &[
            "active",
            "connector_id",
            "id",
            "integration_id",
            "label",
            "method_id",
            "time_created",
            "time_updated",
            "value",
        ],
    ),
    ("data_migration", &["name", "time_completed"]),
    ("event", &["aggregate_id", "data", "id", "seq", "type"]),
    ("event_sequence", &["aggregate_id", "owner_id", "seq"]),
    ("message", &["data", "id", "session_id", "time_created", "time_updated"]),
    ("migration", &["id", "time_completed"]),
    ("part", &["data", "id", "message_id", "session_id", "time_created", "time_updated"]),
    ("permission", &["action", "id", "project_id", "resource", "time_created", "time_updated"]),
    (
        "project",
        &[
            "commands",
            "icon_color",
            "icon_url",
            "icon_url_override",
            "id",
            "name",
            "sandboxes",
            "time_created",
            "time_initialized",
            "time_updated",
            "vcs",
            "worktree",
        ],
    ),
    ("project_directory", &["directory", "project_id", "strategy", "time_created", "type"]),
    (
        "session",
        &[
            "agent",
            "cost",
            "directory",
            "id",
            "metadata",
            "model",
            "parent_id",
            "path",
            "permission",
            "project_id",
            "revert",
            "share_url",
            "slug",
            "summary_additions",
            "summary_deletions",
            "summary_diffs",
            "summary_files",
            "time_archived",
            "time_compacting",
            "time_created",
            "time_updated",
            "title",
            "tokens_cache_read",
            "tokens_cache_write",
            "tokens_input",
            "tokens_output",
            "tokens_reasoning",
            "version",
            "workspace_id",
        ],
    ),
    ("session_context_epoch", &["baseline", "baseline_seq", "session_id", "snapshot"]),
    (
        "session_input",
        &["admitted_seq", "delivery", "id", "promoted_seq", "prompt", "session_id", "time_created"],
    ),
    (
        "session_message",
        &["data", "id", "seq", "session_id", "time_created", "time_updated", "type"],
    ),
    ("session_share", &["id", "secret", "session_id", "time_created", "time_updated", "url"]),
    (
        "todo",
        &[
            "content",
            "position",
            "priority",
            "session_id",
            "status",
            "time_created",
            "time_updated",
        ],
    ),
    (
        "workspace",
        &["branch", "directory", "extra", "id", "name", "project_id", "time_used", "type"],
    ),
];

/// Every migration, oldest first.
pub(crate) const MIGRATIONS: &[&str] = &[
    "20260127222353_familiar_lady_ursula",
    "20260211171708_add_project_commands",
    "20260213144116_wakeful_the_professor",
    "20260225215848_workspace",
    "20260227213759_add_session_workspace_id",
    "20260228203230_blue_harpoon",
    "20260303231226_add_workspace_fields",
    "20260309230000_move_org_to_state",
    "20260312043431_session_message_cursor",
    "20260323234822_events",
    "20260410174513_workspace-name",
    "20260413175956_chief_energizer",
    "20260423070820_add_icon_url_override",
    "20260427172553_slow_nightmare",
    "20260428004200_add_session_path",
    "20260501142318_next_venus",
    "20260504145000_add_sync_owner",
    "20260507164347_add_workspace_time",
    "20260510033149_session_usage",
    "20260511000411_data_migration_state",
    "20260511173437_session-metadata",
    "20260601010001_normalize_storage_paths",
    "20260601202201_amazing_prowler",
    "20260602002951_lowly_union_jack",
    "20260602182828_add_project_directories",
    "20260603001617_session_message_projection_indexes",
    "20260603040000_session_message_projection_order",
    "20260603141458_session_input_inbox",
    "20260603160727_jittery_ezekiel_stane",
    "20260604172448_event_sourced_session_input",
    "20260605003541_add_session_context_snapshot",
    "20260605042240_add_context_epoch_agent",
    "20260611035744_credential",
    "20260611192811_lush_chimera",
    "20260612174303_project_dir_strategy",
    "20260622142730_simplify_session_context_epoch",
    "20260622170816_reset_v2_session_state",
    "20260622202450_simplify_session_input",
];

/// Columns of a known table.
pub(crate) fn columns(table: &str) -> &'static [&'static str] {
    TABLES.iter().find(|(name, _)| *name == table).map_or(&[], |(_, columns)| *columns)
}

/// Whether the database has exactly the schema that is known.
pub(crate) async fn check(conn: &mut SqliteConnection, path: &Path) -> Result<(), HistoryError> {
    let failed = |error| HistoryError::sql(path, error);
    let unknown = |what: String| HistoryError::Unknown { path: path.to_owned(), what };
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(failed)?;
    if !tables.iter().any(|name| name == "migration") {
        return Err(unknown("it says nothing of its migrations".to_owned()));
    }
    let migrations: Vec<String> = sqlx::query_scalar("SELECT id FROM migration")
        .fetch_all(&mut *conn)
        .await
        .map_err(failed)?;
    let found: BTreeSet<&str> = migrations.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = MIGRATIONS.iter().copied().collect();
    if let Some(newer) = found.difference(&known).next() {
        return Err(unknown(format!("it has had the migration `{newer}`, which is not known")));
    }
    if let Some(older) = known.difference(&found).next() {
        return Err(HistoryError::Older { path: path.to_owned(), missing: (*older).to_owned() });
    }
    let found: BTreeSet<&str> =
        tables.iter().map(String::as_str).filter(|name| *name != LEFT_OVER).collect();
    let known: BTreeSet<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    if let Some(other) = found.symmetric_difference(&known).next() {
        let more = if known.contains(other) { "lacks the" } else { "has another" };
        return Err(unknown(format!("it {more} table `{other}`")));
    }
    for (table, columns) in TABLES {
        let found: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
            .bind(*table)
            .fetch_all(&mut *conn)
            .await
            .map_err(failed)?;
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        let known: BTreeSet<&str> = columns.iter().copied().collect();
        if let Some(other) = found.symmetric_difference(&known).next() {
            let more = if known.contains(other) { "lacks the" } else { "has another" };
            return Err(unknown(format!("its table `{table}` {more} column `{other}`")));
        }
    }
    Ok(())
}
