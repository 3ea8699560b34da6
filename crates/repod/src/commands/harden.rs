//! `repod harden`: the machine's limits, what is lacking, and drop-ins that raise them. No daemon.

use super::Outcome;
use crate::cli::HardenArgs;
use crate::output::{self, Rows};
use repod_harden::{HardenError, Machine, Plan, apply, plan, revert};
use repod_proto::{ApiError, ErrorCode, exit};
use serde::Serialize;

/// The unit for all users. The one in `packaging/` wants its socket beside it; this one stands alone.
const UNIT: &str = "\
# Written by `repod harden`; `repod harden --revert` takes it back.
# Each user turns it on: systemctl --user enable --now repod
[Unit]
Description=repod: one isolated OpenCode backend per repository

[Service]
Type=notify
ExecStart=@REPOD@ daemon
Restart=always
RestartSec=200ms
# Backends outlive the daemon: only the daemon itself is ended with the unit.
KillMode=process
LimitNOFILE=65535:infinity
# Each backend gets a control group of its own below the unit's, with the limits of repod.toml.
Delegate=yes
DelegateSubgroup=daemon

[Install]
WantedBy=default.target
";

#[derive(Serialize)]
struct Report {
    /// What holds, and after `--apply` or `--revert` what holds now.
    #[serde(flatten)]
    plan: Plan,
    /// Files and sysctls that were written.
    applied: Vec<String>,
    /// What was taken back, and what somebody has changed since.
    #[serde(skip_serializing_if = "Option::is_none")]
    reverted: Option<repod_harden::Reverted>,
    /// What stands in the way on this machine.
    obstacles: Vec<String>,
}

pub(crate) fn run(args: &HardenArgs) -> Outcome {
    let machine = Machine::at(args.root.as_deref().unwrap_or("/".as_ref()));
    if (args.apply || args.revert) && machine.is_this_one() && !rustix::process::geteuid().is_root()
    {
        return Err(must_be_root(args));
    }
    let binary = std::env::current_exe().unwrap_or_else(|_| "repod".into());
    let unit = UNIT.replace("@REPOD@", &binary.display().to_string());
    // Whose: the person behind `sudo`. Root itself has no need to linger.
    let user = args.user.clone().or_else(|| std::env::var("SUDO_USER").ok());
    let user = user.filter(|user| is_user_name(user));
    let look = || plan(&machine, &unit, user.as_deref());
    let mut report = Report {
        plan: look(),
        applied: Vec::new(),
        reverted: None,
        obstacles: machine.obstacles(),
    };
    if args.apply {
        report.applied = apply(&machine, &report.plan).map_err(|error| failed(&error))?;
        report.plan = look();
    } else if args.revert {
        report.reverted = Some(revert(&machine).map_err(|error| failed(&error))?);
        report.plan = look();
    }
    if args.json {
        output::json(&report);
    } else {
        print(&report, args);
    }
    Ok(if args.revert || report.plan.is_done() { exit::OK } else { exit::FINDINGS })
}

fn print(report: &Report, args: &HardenArgs) {
    let mut rows = Rows::new(&["LIMIT", "NOW", "WANTED", "OK", "FILE"]);
    for row in &report.plan.rows {
        let now = row.now.clone().unwrap_or_else(output::dash);
        let ok = if row.ok { "yes" } else { "no" };
        let file = format!("/{}", row.file);
        rows.push(vec![row.id.clone(), now, row.wanted.clone(), ok.into(), file]);
    }
    rows.print();
    if !args.apply && !args.revert {
        for drop in &report.plan.drops {
            output::line(&format!("\n# /{}", drop.file));
            output::raw(&drop.content);
        }
    }
    for done in &report.applied {
        output::note(&format!("written: {done}"));
    }
    if let Some(reverted) = &report.reverted {
        for file in &reverted.restored {
            output::note(&format!("as before: {file}"));
        }
        for file in &reverted.kept {
            output::warn(&format!("`{file}` was changed since and is left as it is"));
        }
    }
    for note in report.plan.rows.iter().filter_map(|row| row.note.as_ref()) {
        output::warn(note);
    }
    for obstacle in &report.obstacles {
        output::warn(obstacle);
    }
    if args.apply {
        output::note(
            "limits.d counts from the next login; systemd reads its files after \
            `systemctl daemon-reexec`, user managers after their next start",
        );
    } else if !args.revert && !report.plan.is_done() {
        output::note("`sudo repod harden --apply` writes this, `--revert` takes it back");
    }
}

fn must_be_root(args: &HardenArgs) -> ApiError {
    let flag = if args.apply { "--apply" } else { "--revert" };
    let binary = std::env::current_exe().unwrap_or_else(|_| "repod".into());
    ApiError::new(ErrorCode::Forbidden, "only root may change the limits of the machine")
        .hint(format!("sudo {} harden {flag}", binary.display()))
}

fn failed(error: &HardenError) -> ApiError {
    ApiError::new(ErrorCode::StateIo, error.to_string())
        .hint("`repod harden --revert` takes back what was written until then")
}

/// It becomes the name of a file.
fn is_user_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(fits) && name != "root"
}
