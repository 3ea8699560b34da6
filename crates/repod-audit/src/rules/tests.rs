//! Rules on made-up machines: each fault is found where it is, and nowhere else.

mod leftovers;
mod told;

use super::judge;
use crate::snapshot::{
    Backend, Checkout, Database, Homes, Machine, MemoryGroup, Process, Record, Snapshot, Turn,
};
use crate::{Evidence, Report};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

const HOME: &str = "/u/.opencode";
const MARK: &str = "h/web-1/3/n";

/// A machine on which all is well.
fn machine(processes: impl IntoIterator<Item = Process>) -> Snapshot {
    let shell = Process {
        pid: 2,
        ppid: 1,
        session: 2,
        comm: "bash".into(),
        in_scope: true,
        ..Process::default()
    };
    let processes = processes.into_iter().chain([shell]);
    Snapshot {
        processes: processes.map(|process| (process.pid, process)).collect(),
        machine: Machine {
            max_user_watches: Some(1 << 20),
            max_user_instances: Some(1024),
            wanted_nofile: 65535,
            boot_id: "b".into(),
            memory: Some((8 << 30, 1 << 30)),
            swap: Some((0, 0)),
            installed: Some(("/usr/bin/opencode".into(), "1.18.33".into())),
            ..Machine::default()
        },
        home: HOME.into(),
        home_mark: "h/".into(),
        ..Snapshot::default()
    }
}

/// A well-kept server of its own user and repository.
fn server(pid: u32) -> Process {
    let home = |name: &str| (PathBuf::from(format!("/u{pid}/{name}/opencode")), "HOME");
    let cwd = PathBuf::from(format!("/src/{pid}"));
    Process {
        pid,
        ppid: 2,
        session: 2,
        state: 'S',
        comm: "opencode".into(),
        exe: Some("/usr/bin/opencode".into()),
        args: ["opencode", "serve", "--port", "0"].map(str::to_owned).into(),
        env: BTreeMap::from([("OPENCODE_SERVER_PASSWORD".to_owned(), "set".to_owned())]),
        checkout: Some(Checkout { root: cwd.clone(), common: cwd.join(".git") }),
        cwd: Some(cwd),
        homes: Some(Homes {
            data: home("data"),
            config: home("config"),
            cache: home("cache"),
            state: home("state"),
        }),
        nofile: Some((65535, 65535)),
        listens: vec![format!("127.0.0.1:{}", 40000 + pid).parse().unwrap()],
        in_scope: true,
        ..Process::default()
    }
}

/// repod's backend of the repo `web-1`, and its entry.
fn backend(pid: u32) -> (Process, Record) {
    let mut process = server(pid);
    let homes = process.homes.as_mut().unwrap();
    homes.data.0 = PathBuf::from(HOME).join("repos/web-1/data/opencode");
    process.env.insert("REPOD_BACKEND".into(), MARK.into());
    process.start_ticks = 9;
    process.ppid = 1;
    process.session = pid;
    let record = Record {
        repo_id: "web-1".into(),
        file: PathBuf::from(HOME).join("repos/web-1/endpoint.json"),
        root: format!("/src/{pid}").into(),
        identity: format!("/src/{pid}/.git").into(),
        backend: Some(Backend {
            pid,
            start_ticks: 9,
            boot_id: "b".into(),
            port: u16::try_from(40000 + pid).unwrap(),
            marker: MARK.into(),
            version: Some("1.18.33".into()),
        }),
        logged_out: Vec::new(),
        growing: None,
    };
    (process, record)
}

fn ids(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.id).collect()
}

fn pids(report: &Report, id: &str) -> Vec<u32> {
    let all = report.findings.iter().filter(|finding| finding.id == id);
    all.flat_map(|finding| &finding.evidence).filter_map(|evidence| evidence.pid).collect()
}

#[test]
fn servers_that_share_nothing_are_clean() {
    assert_eq!(ids(&judge(&machine([server(10), server(11)]))), [""; 0]);
}

#[test]
fn those_that_share_a_data_directory_are_named_and_no_others() {
    let mut second = server(11);
    second.homes = server(10).homes;
    let report = judge(&machine([server(10), second, server(12)]));
    assert_eq!(ids(&report), ["RP101", "RP103", "RP104", "RP105"]);
    assert_eq!(pids(&report, "RP101"), [10, 11]);
    let expected = Evidence::pid(10).at("/u10/data/opencode".as_ref()).by("HOME");
    assert_eq!(report.findings[0].evidence[0], expected);
}

#[test]
fn a_database_is_shared_with_its_wal_and_a_client_shares_nothing() {
    let with = |pid, files: &[&str]| Process {
        files: files.iter().map(PathBuf::from).collect(),
        ..server(pid)
    };
    let mut client = with(12, &["/d/o.db"]);
    client.args[1] = "attach".into();
    let report =
        judge(&machine([with(10, &["/d/o.db", "/d/o.db-wal"]), with(11, &["/d/o.db"]), client]));
    assert_eq!(ids(&report), ["RP102"]);
    assert_eq!(pids(&report, "RP102"), [10, 10, 11]);
}

#[test]
fn ports_binds_and_passwords_are_told_apart() {
    let mut open = server(10);
    open.listens = vec!["0.0.0.0:4096".parse().unwrap()];
    open.env.clear();
    let mut fixed = server(11);
    fixed.args[3] = "40011".into();
    let report = judge(&machine([open, fixed]));
    assert_eq!(ids(&report), ["RP202", "RP203", "RP201", "RP201"]);
    assert_eq!(pids(&report, "RP201"), [10, 11]);
}

#[test]
fn an_sdk_is_known_by_what_it_passes_and_not_by_what_a_shell_passes_on() {
    let content = || ("OPENCODE_CONFIG_CONTENT".to_owned(), "2 bytes".to_owned());
    let mut started = server(10);
    started.args =
        ["opencode", "serve", "--hostname=127.0.0.1", "--port=0"].map(str::to_owned).into();
    started.env.extend([content()]);
    let mut snapshot = machine([started]);
    assert_eq!(ids(&judge(&snapshot)), ["RP301"]);
    snapshot.processes.get_mut(&2).unwrap().env.extend([content()]);
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
}

#[test]
fn npm_s_program_between_an_sdk_and_its_server_hides_neither() {
    let mut started = Process { ppid: 20, ..server(10) };
    started.args =
        ["opencode", "serve", "--hostname=127.0.0.1", "--port=0"].map(str::to_owned).into();
    started.env.insert("OPENCODE_CONFIG_CONTENT".into(), "2 bytes".into());
    let mut wrapper = Process { pid: 20, exe: Some("/usr/bin/node".into()), ..started.clone() };
    wrapper.ppid = 2;
    wrapper.args.insert(0, "node".into());
    wrapper.listens.clear();
    let mut snapshot = machine([started, wrapper]);
    assert_eq!(ids(&judge(&snapshot)), ["RP301"]);
    // The program that started it is gone, and init has the wrapper.
    snapshot.processes.get_mut(&20).unwrap().ppid = 1;
    assert_eq!(pids(&judge(&snapshot), "RP601"), [10]);
}

#[test]
fn the_same_path_in_two_containers_is_not_shared() {
    let inside = |pid, namespace: &str| Process {
        homes: server(10).homes,
        mounts: Some(namespace.into()),
        ..server(pid)
    };
    assert_eq!(ids(&judge(&machine([inside(10, "mnt:[1]"), inside(11, "mnt:[2]")]))), [""; 0]);
    let report = judge(&machine([inside(10, "mnt:[1]"), inside(11, "mnt:[1]")]));
    assert_eq!(pids(&report, "RP101"), [10, 11]);
}

#[test]
fn a_backend_on_record_is_clean_and_a_second_runtime_there_is_rogue() {
    let (process, record) = backend(10);
    let mut rogue = server(11);
    rogue.checkout.as_mut().unwrap().common = record.identity.clone();
    // What an agent starts inherits the marker; it is rogue all the same.
    rogue.env.insert("REPOD_BACKEND".into(), MARK.into());
    let mut snapshot = machine([process]);
    snapshot.records.push(record);
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
    snapshot.processes.insert(11, rogue);
    assert_eq!(pids(&judge(&snapshot), "RP302"), [11]);
    assert_eq!(judge(&snapshot).findings.len(), 1);
}

#[test]
fn an_entry_is_stale_when_its_process_is_gone_or_another_by_now() {
    let (process, record) = backend(10);
    let mut snapshot = machine([]);
    snapshot.records.push(record);
    assert_eq!(ids(&judge(&snapshot)), ["RP603"]);
    snapshot
        .processes
        .insert(10, Process { start_ticks: 10, exe: Some("/bin/x".into()), ..process });
    assert!(ids(&judge(&snapshot)).contains(&"RP603"));
}

#[test]
fn an_orphan_has_lost_its_session_too_and_a_daemon_has_one_of_its_own() {
    let lost = Process { ppid: 1, session: 77, ..server(10) };
    let daemon = Process { ppid: 1, session: 11, ..server(11) };
    let unit = Process { ppid: 1, session: 78, in_service: true, ..server(12) };
    let zombie = Process { state: 'Z', exe: None, homes: None, ..server(13) };
    let by_sudo = Process { ppid: 900, session: 901, ..server(14) };
    let report = judge(&machine([lost, daemon, unit, zombie, by_sudo]));
    assert_eq!(ids(&report), ["RP601", "RP602"]);
    assert_eq!((pids(&report, "RP601"), pids(&report, "RP602")), (vec![10], vec![13]));
}

#[test]
fn only_turns_of_different_families_at_the_same_time_have_met() {
    let turn = |root: &str, from, to| Turn {
        root_session: root.into(),
        from,
        to,
        checkout: "/src/10".into(),
        ..Turn::default()
    };
    let with = |turns| {
        let mut snapshot = machine([Process { files: vec!["/d/o.db".into()], ..server(10) }]);
        snapshot.databases.push(Database { path: "/d/o.db".into(), turns, ..Database::default() });
        judge(&snapshot)
    };
    assert_eq!(ids(&with(vec![turn("a", 0, 5), turn("b", 6, 9)])), [""; 0]);
    assert_eq!(ids(&with(vec![turn("a", 0, 5), turn("a", 3, 9)])), [""; 0]);
    let report = with(vec![turn("a", 0, 5), turn("b", 5, 9), turn("c", 10, 11)]);
    assert_eq!(ids(&report), ["RP401"]);
    assert_eq!(pids(&report, "RP401"), [10, 10]);
    assert_eq!(report.findings[0].evidence[0].path, Some("/src/10".into()));
}

#[test]
fn clones_in_one_project_and_a_full_control_group_are_found() {
    let group = |used, limit| vec![(PathBuf::from("/cg/user"), used, limit)];
    let mut snapshot = machine([
        Process { groups: group(90, 100), ..server(10) },
        Process { groups: group(90, 100), ..server(11) },
        Process { groups: group(89, 100), ..server(12) },
    ]);
    let misfiled = vec![("/src/two".into(), "/src/one".into())];
    let worktrees = vec![("/src/tree".into(), "/src/one".into())];
    let path = "/d/o.db".into();
    snapshot.databases.push(Database { path, misfiled, worktrees, ..Database::default() });
    let report = judge(&snapshot);
    assert_eq!(ids(&report), ["RP508", "RP402", "RP403"]);
    assert_eq!(report.findings[2].evidence[0].path, Some("/src/tree".into()));
    assert_eq!(pids(&report, "RP508"), [10, 11]);
    assert_eq!(report.findings[1].evidence[0].path, Some("/src/two".into()));
}

#[test]
fn low_limits_are_found_with_what_is_in_use() {
    let mut snapshot =
        machine([Process { nofile: Some((1024, 4096)), fds: 1000, ..server(10) }, server(11)]);
    snapshot.machine.max_user_watches = Some(8192);
    snapshot.machine.free = vec![("/u".into(), 5 << 20)];
    assert_eq!(ids(&judge(&snapshot)), ["RP504", "RP506", "RP501", "RP502"]);
}

#[test]
fn a_promise_that_is_broken_is_seen() {
    let (process, record) = backend(10);
    let mut twin = Process {
        pid: 11,
        session: 11,
        listens: vec!["0.0.0.0:40010".parse().unwrap()],
        ..process.clone()
    };
    twin.files = vec![PathBuf::from(HOME).join("repos/other-2/data/opencode/opencode.db")];
    let stranger = Process {
        pid: 12,
        exe: Some("/usr/bin/flock".into()),
        files: vec![
            PathBuf::from(HOME).join("repos/web-1/locks/main"),
            PathBuf::from(HOME).join("repod.lock"),
        ],
        ..Process::default()
    };
    let mut snapshot = machine([process, twin, stranger]);
    snapshot.records.push(record);
    let expected = ["RP608", "RP701", "RP702", "RP703", "RP704", "RP706", "RP705"];
    assert_eq!(ids(&judge(&snapshot)), expected);
}

proptest! {
    #[test]
    fn the_order_of_processes_changes_nothing_and_what_is_out_of_scope_is_never_named(
        shared in proptest::collection::vec(0_u32..3, 1..8), hidden in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let make = |(n, group): (usize, &u32)| {
            let pid = 10 + u32::try_from(n).unwrap();
            Process { homes: server(100 + group).homes, in_scope: !hidden[n], ..server(pid) }
        };
        let report = judge(&machine(shared.iter().enumerate().map(make)));
        for finding in &report.findings {
            prop_assert!(!finding.evidence.is_empty());
            for evidence in &finding.evidence {
                prop_assert!(!hidden[evidence.pid.unwrap() as usize - 10]);
            }
        }
    }
}

#[test]
fn a_machine_out_of_memory_or_swap_is_found_where_an_opencode_runs() {
    let mut snapshot = machine([server(10)]);
    snapshot.machine.memory = Some((8 << 30, 300 << 20));
    snapshot.machine.swap = Some((1 << 30, 50 << 20));
    assert_eq!(ids(&judge(&snapshot)), ["RP509", "RP510"]);
    snapshot.processes.remove(&10);
    assert_eq!(ids(&judge(&snapshot)), [""; 0]);
}

#[test]
fn a_group_is_found_when_its_limit_is_too_low_for_those_in_it_or_nearly_used() {
    let group = |limit: u64, used: u64| MemoryGroup {
        dir: "/sys/fs/cgroup/u".into(),
        limit: limit << 20,
        used: used << 20,
        file: "memory.max",
    };
    let two = |limit, used| {
        let within = |pid| Process { memory_groups: vec![group(limit, used)], ..server(pid) };
        judge(&machine([within(10), within(11), server(12)]))
    };
    assert_eq!(ids(&two(2000, 1000)), [""; 0]);
    assert_eq!(pids(&two(2000, 1800), "RP511"), [10, 11], "nearly used");
    assert_eq!(pids(&two(600, 100), "RP511"), [10, 11], "less than both need");
}

#[test]
fn a_pile_is_found_from_five_gibibytes_on() {
    let mut snapshot = machine([server(10)]);
    snapshot.piles = vec![("/u/snapshot".into(), 5 << 30), ("/u/log".into(), 1 << 30)];
    let report = judge(&snapshot);
    assert_eq!(ids(&report), ["RP512"]);
    assert_eq!(report.findings[0].evidence, [Evidence::path("/u/snapshot")]);
}

#[test]
fn backends_of_different_versions_and_those_behind_the_installed_one_are_found() {
    let with = |versions: [&str; 2], installed: &str| {
        let backends = [30, 31].map(|pid| {
            let (mut process, mut record) = backend(pid);
            let id = format!("web-{pid}");
            process.homes.as_mut().unwrap().data.0 =
                PathBuf::from(HOME).join(format!("repos/{id}/data/opencode"));
            let marker = format!("h/{id}/3/n");
            process.env.insert("REPOD_BACKEND".into(), marker.clone());
            record.file = PathBuf::from(HOME).join(format!("repos/{id}/endpoint.json"));
            record.repo_id = id;
            record.backend.as_mut().unwrap().marker = marker;
            (process, record)
        });
        let mut snapshot = machine(backends.clone().map(|(process, _)| process));
        snapshot.records = backends.map(|(_, record)| record).into();
        for (record, version) in snapshot.records.iter_mut().zip(versions) {
            record.backend.as_mut().unwrap().version = Some(version.to_owned());
        }
        snapshot.machine.installed = Some(("/usr/bin/opencode".into(), installed.to_owned()));
        judge(&snapshot)
    };
    assert_eq!(ids(&with(["1.18.33", "1.18.33"], "1.18.33")), [""; 0]);
    assert_eq!(ids(&with(["1.19.0", "1.19.0"], "1.18.33")), [""; 0], "a newer one is no fault");
    let mixed = with(["1.18.9", "1.18.33"], "1.18.33");
    assert_eq!(ids(&mixed), ["RP609", "RP610"]);
    assert_eq!((pids(&mixed, "RP609"), pids(&mixed, "RP610")), (vec![30, 31], vec![30]));
    assert_eq!(ids(&with(["unknown", "1.18.33"], "1.18.33")), [""; 0]);
}

#[test]
fn a_lease_of_somebody_who_is_gone_is_found() {
    let held = |owner: serde_json::Value| {
        let lease = serde_json::json!({
            "repo_id": "web-3f2a9c1b04de", "branch": "main", "fence": 7, "since": "", "state": "held",
            "owner": owner, "waiters": [],
        });
        let (mut process, mut record) = backend(10);
        let id = "web-3f2a9c1b04de";
        let mark = format!("h/{id}/3/n");
        process.homes.as_mut().unwrap().data.0 =
            PathBuf::from(HOME).join(format!("repos/{id}/data/opencode"));
        process.env.insert("REPOD_BACKEND".into(), mark.clone());
        record.repo_id = id.into();
        record.backend.as_mut().unwrap().marker = mark;
        let mut snapshot = machine([process]);
        snapshot.records.push(record);
        snapshot.leases.push(serde_json::from_value(lease).unwrap());
        snapshot
    };
    let owner = |more: serde_json::Value| {
        let mut owner = serde_json::json!({
            "session_id": "s", "root_session_id": "s", "title": "t", "directory": "/d", "kind": "session",
        });
        owner.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        owner
    };
    let session = |generation: u64| {
        held(owner(serde_json::json!({ "repo_id": "web-3f2a9c1b04de", "generation": generation })))
    };
    let script = |pid: u32| held(owner(serde_json::json!({ "kind": "outside", "pid": pid })));
    assert_eq!(ids(&judge(&session(3))), [""; 0]);
    assert_eq!(ids(&judge(&session(2))), ["RP707"], "an earlier backend's session");
    let mut dead = session(3);
    dead.processes.get_mut(&10).unwrap().start_ticks = 10;
    assert!(ids(&judge(&dead)).contains(&"RP707"), "its pid is another's");
    assert_eq!(ids(&judge(&script(2))), [""; 0]);
    let gone = judge(&script(77));
    assert_eq!((ids(&gone), pids(&gone, "RP707")), (vec!["RP707"], vec![77]));
    // What lies outside of what is audited is not judged.
    let mut outside = script(77);
    outside.records.clear();
    assert!(!ids(&judge(&outside)).contains(&"RP707"));
}

#[test]
fn logins_that_a_repo_lacks_are_told() {
    let (process, mut record) = backend(10);
    record.logged_out = vec!["anna@example.org at https://example.org".into()];
    let mut snapshot = machine([process]);
    snapshot.records.push(record);
    let report = judge(&snapshot);
    assert_eq!(ids(&report), ["RP611"]);
    assert!(report.findings[0].message.contains("anna@example.org"));
}

#[test]
fn a_backend_that_keeps_growing_is_told_while_it_lives() {
    let (process, mut record) = backend(10);
    let growth = repod_proto::Growth {
        bytes_per_hour: 1 << 30,
        from_bytes: 300 << 20,
        grown_bytes: 90 << 20,
    };
    record.growing = Some(growth);
    let mut snapshot = machine([process]);
    snapshot.records.push(record);
    let report = judge(&snapshot);
    assert_eq!((ids(&report), pids(&report, "RP513")), (vec!["RP513"], vec![10]));
    snapshot.processes.clear();
    assert!(!ids(&judge(&snapshot)).contains(&"RP513"));
}

#[test]
fn who_uses_most_of_inotify_is_named() {
    let processes = (1..=9_u32).map(|pid| Process {
        pid,
        comm: format!("editor{pid}"),
        inotify: crate::snapshot::Inotify { watches: u64::from(pid) * 30_000, instances: 1 },
        ..Process::default()
    });
    let mut snapshot = machine(processes);
    snapshot.machine.max_user_watches = Some(1_400_000);
    let report = judge(&snapshot);
    assert_eq!(pids(&report, "RP505"), [5, 6, 7, 8, 9]);
}

#[test]
fn opencode_is_known_by_every_name_it_is_installed_under() {
    for (exe, is_one) in [
        ("/usr/local/bin/opencode", true),
        ("/usr/lib/node_modules/opencode-ai/bin/opencode.exe", true),
        ("/nix/store/x/bin/.opencode-wrapped", true),
        ("/usr/bin/opencode-helper", false),
    ] {
        let process = Process { exe: Some(exe.into()), ..Process::default() };
        assert_eq!(process.is_opencode(), is_one, "{exe}");
    }
}
