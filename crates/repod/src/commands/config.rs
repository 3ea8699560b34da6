//! `repod config`: every setting, its value and its origin. Needs no daemon.

use super::Outcome;
use crate::output::{self, Rows};
use crate::settings::Settings;
use repod_client::{ApiError, ErrorCode, Home};
use repod_proto::exit;

pub(crate) fn run(json: bool) -> Outcome {
    let home = Home::from_env(|name| std::env::var_os(name)).ok_or_else(|| {
        ApiError::new(ErrorCode::HomeUnusable, "neither REPOD_HOME nor HOME is an absolute path")
            .hint("set REPOD_HOME to a directory of your own")
    })?;
    let (_, shown) = Settings::load_shown(&home.settings())?;
    if json {
        output::json(&shown);
        return Ok(exit::OK);
    }
    let mut rows = Rows::new(&["SETTING", "VALUE", "ORIGIN"]);
    for row in &shown {
        rows.push(vec![row.key.into(), row.value.to_string(), row.origin.into()]);
    }
    rows.print();
    output::note(&format!("settings are read from {}", home.settings().display()));
    Ok(exit::OK)
}
