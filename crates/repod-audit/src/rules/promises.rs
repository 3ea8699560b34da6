//! Group 7: what repod itself promises, looked for on the live system. A finding here is a bug of repod's,
//! or somebody's meddling.

use super::shared;
use super::sharing::database_of;
use crate::finding::{Evidence, Finding};
use crate::snapshot::{Backend, MARKER, Snapshot};
use repod_proto::LeaseInfo;

pub(super) fn find(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let backends = snapshot.backends().map(|(process, dir)| {
        let evidence = Evidence::pid(process.pid).at(&dir);
        (dir, evidence)
    });
    for (dir, evidence) in shared(backends) {
        let message = format!("{} backends run for `{}`", evidence.len(), dir.display());
        findings.push(Finding::of("RP701", message, evidence));
    }
    for (process, dir) in snapshot.backends() {
        for address in process.listens.iter().filter(|address| !address.ip().is_loopback()) {
            let message = format!("backend {} listens on {address}", process.pid);
            let evidence = Evidence::pid(process.pid).at(&dir).port(address.port());
            findings.push(Finding::of("RP702", message, vec![evidence]));
        }
        let marker = process.env.get(MARKER);
        let known = snapshot.records.iter().filter_map(|record| record.backend.as_ref());
        // A start is on record before the process becomes OpenCode.
        if !known
            .into_iter()
            .any(|backend| backend.pid == process.pid && Some(&backend.marker) == marker)
        {
            let message = format!("backend {} is in no registry entry", process.pid);
            findings.push(Finding::of("RP705", message, vec![Evidence::pid(process.pid).at(&dir)]));
        }
    }
    daemon(snapshot, findings);
    open_databases(snapshot, findings);
    ports(snapshot, findings);
    leases(snapshot, findings);
}

/// Endpoints, metrics and dashboard are for this machine alone. The daemon is who has this home's lock.
fn daemon(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let lock = snapshot.home.join("repod.lock");
    let daemons = snapshot.processes.values().filter(|process| process.is_repod());
    for process in daemons.filter(|process| process.files.contains(&lock)) {
        for address in process.listens.iter().filter(|address| !address.ip().is_loopback()) {
            let message = format!("repod, process {}, listens on {address}", process.pid);
            let evidence = Evidence::pid(process.pid).at(&snapshot.home).port(address.port());
            findings.push(Finding::of("RP708", message, vec![evidence]));
        }
    }
}

/// A database below a repo's directory belongs to its backend, `repod.db` to the daemon.
fn open_databases(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    let repos = snapshot.home.join("repos");
    for process in snapshot.processes.values().filter(|process| !process.is_repod()) {
        let own = snapshot.repo_dir_of(process).map(|dir| dir.join("data"));
        for file in process.files.iter().filter(|file| file.starts_with(&repos)) {
            let is_own = own.as_ref().is_some_and(|own| file.starts_with(own));
            if database_of(file).is_some() && !is_own {
                let message = format!(
                    "`{}` is open in process {} (`{}`)",
                    file.display(),
                    process.pid,
                    process.comm
                );
                findings.push(Finding::of(
                    "RP703",
                    message,
                    vec![Evidence::pid(process.pid).at(file)],
                ));
            }
        }
    }
}

fn ports(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for record in &snapshot.records {
        let Some(backend) = &record.backend else {
            continue;
        };
        let others = snapshot.processes.values().filter(|process| process.pid != backend.pid);
        for other in
            others.filter(|p| p.listens.iter().any(|address| address.port() == backend.port))
        {
            let message = format!(
                "{}: process {} listens on its backend's port {}",
                record.repo_id, other.pid, backend.port
            );
            let evidence = Evidence::pid(other.pid).at(&record.file).port(backend.port);
            findings.push(Finding::of("RP706", message, vec![evidence]));
        }
    }
}

/// Who holds a branch lives: a process, or a session in a backend.
fn leases(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for lease in &snapshot.leases {
        let id = lease.repo_id.to_string();
        let Some(record) = snapshot.records.iter().find(|record| record.repo_id == id) else {
            continue;
        };
        let Some((pid, who)) = gone(snapshot, lease) else { continue };
        let (branch, title) = (&lease.branch, &lease.owner.title);
        let message = format!("{id}: branch `{branch}` is held for `{title}`, and {who}");
        let evidence = pid.map_or_else(Evidence::default, Evidence::pid).at(&record.file);
        let fence = format!("fence {}", lease.fence);
        findings.push(Finding::of("RP707", message, vec![evidence.saying(fence)]));
    }
}

/// How it is known that the holder is gone. Backends out of scope are not known.
fn gone(snapshot: &Snapshot, lease: &LeaseInfo) -> Option<(Option<u32>, String)> {
    let owner = &lease.owner;
    if let Some(pid) = owner.pid {
        let lives = snapshot.processes.get(&pid).is_some_and(|process| process.state != 'Z');
        return (!lives).then(|| (Some(pid), format!("process {pid} is gone")));
    }
    let id = owner.repo_id.as_ref()?.to_string();
    let record = snapshot.records.iter().find(|record| record.repo_id == id)?;
    let of = |backend: &&Backend| backend.generation() == owner.generation.map(|it| it.0);
    let backend = record.backend.as_ref().filter(of);
    let lives = backend.is_some_and(|backend| snapshot.lives(backend));
    let pid = backend.map(|backend| backend.pid);
    (!lives).then(|| (pid, "the backend of its session is gone".to_owned()))
}
