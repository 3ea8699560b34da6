//! `repod harden`: the machine's limits, what is lacking, and drop-ins that raise them. No daemon.

use super::Outcome;
use crate::cli::HardenArgs;
use crate::output::{self, Rows};
use repod_harden::{HardenError, Machine, Plan, apply, plan, revert};
use repod_proto::{ApiError, ErrorCode, exit};
use serde::Serialize;
use std::io::IsTerminal;

/// What may make one root, the first that is there.
const ELEVATE: [&str; 3] = ["sudo", "run0", "pkexec"];

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
        return as_root(args);
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

/// Through `sudo` or its like: on a terminal, where it is said what will be run, and only after a yes.
fn as_root(args: &HardenArgs) -> Outcome {
    let flag = if args.apply { "--apply" } else { "--revert" };
    let binary = std::env::current_exe().unwrap_or_else(|_| "repod".into());
    let mut rest = vec![binary.display().to_string(), "harden".to_owned(), flag.to_owned()];
    // Not every one of them says who it was.
    let user = args.user.clone().or_else(|| std::env::var("USER").ok());
    if let Some(user) = user.filter(|user| is_user_name(user)) {
        rest.extend(["--user".to_owned(), user]);
    }
    let refused = |tool: &str| {
        ApiError::new(ErrorCode::Forbidden, "only root may change the limits of the machine")
            .hint(format!("{tool} {}", rest.join(" ")))
    };
    let tool = ELEVATE.into_iter().find(|tool| which::which(tool).is_ok());
    let is_asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let Some(tool) = tool.filter(|_| is_asked && !args.json) else { return Err(refused("sudo")) };
    output::note("only root may change the limits of the machine");
    output::ask(&format!("run `{tool} {}`? [y/N] ", rest.join(" ")));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_err() || !answer.trim().eq_ignore_ascii_case("y") {
        return Err(refused(tool));
    }
    let ended = std::process::Command::new(tool).args(&rest).status();
    let ended = ended.map_err(|error| refused(tool).detail("cause", error.to_string()))?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::FAILURE))
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
