//! `repod man`: the manual pages, made from the same grammar as `--help`.

use super::Outcome;
use crate::cli::Cli;
use crate::output;
use clap::CommandFactory;
use repod_proto::{ApiError, ErrorCode, exit};
use std::path::Path;

pub(crate) fn run(dir: Option<&Path>) -> Outcome {
    let command = Cli::command();
    let failed = |error: std::io::Error| {
        ApiError::new(ErrorCode::StateIo, format!("the manual can't be written: {error}"))
    };
    match dir {
        Some(dir) => {
            fs_err::create_dir_all(dir).map_err(failed)?;
            clap_mangen::generate_to(command, dir).map_err(failed)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(failed)?;
            output::line(String::from_utf8_lossy(&page).trim_end());
        }
    }
    Ok(exit::OK)
}
