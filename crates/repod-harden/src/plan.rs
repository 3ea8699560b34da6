//! What should hold and which files make it so: never a lower value than any that was found.

use crate::machine::{Machine, Value};
use serde::Serialize;

/// Open files everybody may have.
const NOFILE: Value = Value::Of(65_535);
/// What systemd gives as the hard limit when nothing is set (its manual, `systemd-system.conf`).
const SYSTEMD_HARD: Value = Value::Of(524_288);
const SYSTEMD_SOFT: Value = Value::Of(1_024);
/// Watches and instances of inotify a user may have.
const INOTIFY: [(&str, Value); 2] = [
    ("fs.inotify.max_user_watches", Value::Of(1_048_576)),
    ("fs.inotify.max_user_instances", Value::Of(1_024)),
];

/// The name the drop-ins have: late, so that few come after it.
const NAME: &str = "90-repod.conf";

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// A stable name, like `sysctl:fs.inotify.max_user_watches`.
    pub id: String,
    /// The drop-in that sets it.
    pub file: String,
    /// What it is by the files, or in the kernel; absent when nothing sets it.
    pub now: Option<String>,
    /// What it has to be at least.
    pub wanted: String,
    /// Whether that holds.
    pub ok: bool,
    /// What else is to be said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drop {
    /// Relative to the root.
    pub file: String,
    /// Its whole new content.
    pub content: String,
}

/// What holds and what would be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Every limit.
    pub rows: Vec<Row>,
    /// The files that are lacking.
    pub drops: Vec<Drop>,
    /// Values that are to be put into the running kernel.
    pub kernel: Vec<(String, String)>,
}

/// Looks at the machine. `unit` is the text of the user unit, `linger` whose it is to stay.
pub fn plan(machine: &Machine, unit: &str, linger: Option<&str>) -> Plan {
    let mut plan = Plan { rows: Vec::new(), drops: Vec::new(), kernel: Vec::new() };
    plan.pam(machine);
    for manager in ["system", "user"] {
        plan.manager(machine, manager);
    }
    plan.sysctls(machine);
    plan.unit(machine, unit, linger);
    plan
}

impl Plan {
    /// Whether everything is as it should be.
    pub fn is_done(&self) -> bool {
        self.drops.is_empty() && self.kernel.is_empty() && self.rows.iter().all(|row| row.ok)
    }

    /// Takes a limit down; answers whether the drop-in has to say more than it does.
    fn row<T: Show>(&mut self, id: String, file: &str, found: &[(String, T)], wanted: &T) -> bool {
        let last = found.last();
        let ok = last.is_some_and(|(_, value)| value.reaches(wanted));
        let is_overridden =
            !ok && found.iter().any(|(from, value)| from == file && value.reaches(wanted));
        let note = last.filter(|(from, _)| is_overridden && from != file);
        let note = note.map(|(from, _)| format!("`/{from}` is read later and sets it lower"));
        let now = last.map(|(_, value)| value.show());
        self.rows.push(Row { id, file: file.to_owned(), now, wanted: wanted.show(), ok, note });
        !ok && !is_overridden
    }

    /// The drop-in with these lines after what is in it, unless they are there.
    fn add(&mut self, machine: &Machine, file: &str, lines: &str) {
        let mut content = machine.text(file);
        if content.ends_with(lines) {
            return;
        }
        if !content.is_empty() && !content.ends_with('\n') {
            content.push('\n');
        }
        content.push_str(lines);
        self.drops.push(Drop { file: file.to_owned(), content });
    }

    fn pam(&mut self, machine: &Machine) {
        let file = format!("etc/security/limits.d/{NAME}");
        let found = ["soft", "hard"].map(|kind| (kind, machine.pam_nofile("*", kind)));
        let wanted = found.each_ref().map(|(_, all)| highest(all.iter().map(|(_, v)| *v), NOFILE));
        let mut lacks = false;
        for ((kind, found), wanted) in found.iter().zip(&wanted) {
            lacks |= self.row(format!("limits:nofile:{kind}"), &file, found, wanted);
        }
        if !lacks {
            return;
        }
        // Where no file sets the hard limit a session has the one it inherits: not to be lowered either.
        let inherited = machine.own_hard_nofile().into_iter().chain([SYSTEMD_HARD]).max();
        let hard = match found[1].1.is_empty() {
            true => inherited.map_or(wanted[1], |value| value.max(wanted[1])),
            false => wanted[1],
        };
        let soft = wanted[0];
        let roots = |kind, least| {
            highest(machine.pam_nofile("root", kind).into_iter().map(|(_, value)| value), least)
        };
        let hard = hard.max(soft);
        let (root_soft, root_hard) = (roots("soft", soft), roots("hard", hard));
        // `*` is not root, says limits.conf(5).
        let lines = format!(
            "# Written by `repod harden`; `repod harden --revert` takes it back.\n\
             * soft nofile {soft}\n* hard nofile {hard}\n\
             root soft nofile {root_soft}\nroot hard nofile {}\n",
            root_hard.max(root_soft)
        );
        self.add(machine, &file, &lines);
    }

    fn manager(&mut self, machine: &Machine, manager: &str) {
        let file = format!("etc/systemd/{manager}.conf.d/{NAME}");
        let mut found = machine.systemd_nofile(manager);
        if found.is_empty() {
            found.push(("systemd's default".to_owned(), (SYSTEMD_SOFT, SYSTEMD_HARD)));
        }
        let soft = highest(found.iter().map(|(_, it)| it.0), NOFILE);
        let hard = highest(found.iter().map(|(_, it)| it.1), SYSTEMD_HARD).max(soft);
        let enough = (soft, highest(found.iter().map(|(_, it)| it.1), NOFILE).max(soft));
        if self.row(format!("systemd:{manager}:nofile"), &file, &found, &enough) {
            let lines = format!(
                "# Written by `repod harden`; `repod harden --revert` takes it back.\n\
                 [Manager]\nDefaultLimitNOFILE={soft}:{hard}\n"
            );
            self.add(machine, &file, &lines);
        }
    }

    fn sysctls(&mut self, machine: &Machine) {
        let file = format!("etc/sysctl.d/{NAME}");
        let mut lines = String::new();
        for (name, least) in INOTIFY {
            let found = machine.sysctls(name);
            let kernel = machine.kernel(name);
            let wanted = highest(found.iter().map(|(_, v)| *v).chain(kernel), least);
            // What the kernel has by itself needs no file, as long as none sets it lower.
            let mut effective = found;
            if effective.is_empty() {
                effective.extend(kernel.map(|value| ("the kernel".to_owned(), value)));
            }
            if self.row(format!("sysctl:{name}"), &file, &effective, &wanted) {
                lines.push_str(&format!("{name} = {wanted}\n"));
            }
            if let Some(kernel) = kernel.filter(|value| machine.is_this_one() && *value < wanted) {
                self.kernel.push((name.to_owned(), wanted.to_string()));
                // A file alone counts from the next boot on.
                if let Some(row) = self.rows.last_mut() {
                    row.ok = false;
                    row.note.get_or_insert(format!("the kernel still has {kernel}"));
                }
            }
        }
        if !lines.is_empty() {
            let head = "# Written by `repod harden`; `repod harden --revert` takes it back.\n";
            self.add(machine, &file, &format!("{head}{lines}"));
        }
    }

    fn unit(&mut self, machine: &Machine, unit: &str, linger: Option<&str>) {
        let file = "etc/systemd/user/repod.service";
        let now = machine.text(file);
        let ok = !now.is_empty();
        let note = (ok && now != unit)
            .then(|| "there is another one of this name; it is left as it is".to_owned());
        self.present("unit:repod.service", file, ok, note);
        if !ok {
            self.drops.push(Drop { file: file.to_owned(), content: unit.to_owned() });
        }
        let Some(user) = linger else { return };
        let file = format!("var/lib/systemd/linger/{user}");
        let ok = machine.path(&file).exists();
        self.present(&format!("linger:{user}"), &file, ok, None);
        if !ok {
            // An empty file is all that `loginctl enable-linger` leaves behind.
            self.drops.push(Drop { file, content: String::new() });
        }
    }

    fn present(&mut self, id: &str, file: &str, ok: bool, note: Option<String>) {
        let now = ok.then(|| "present".to_owned());
        let (id, file, wanted) = (id.to_owned(), file.to_owned(), "present".to_owned());
        self.rows.push(Row { id, file, now, wanted, ok, note });
    }
}

fn highest(found: impl Iterator<Item = Value>, least: Value) -> Value {
    found.max().map_or(least, |most| most.max(least))
}

/// A value or a pair of them.
trait Show {
    fn show(&self) -> String;
    fn reaches(&self, wanted: &Self) -> bool;
}

impl Show for Value {
    fn show(&self) -> String {
        self.to_string()
    }

    fn reaches(&self, wanted: &Self) -> bool {
        self >= wanted
    }
}

impl Show for (Value, Value) {
    fn show(&self) -> String {
        format!("{}:{}", self.0, self.1)
    }

    fn reaches(&self, wanted: &Self) -> bool {
        self.0 >= wanted.0 && self.1 >= wanted.1
    }
}
