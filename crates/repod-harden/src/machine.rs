//! What holds now: the values of configuration files, later ones winning, and those of the kernel.

use fs_err as fs;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A limit; the greatest is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// So many.
    Of(u64),
    /// No limit.
    Unlimited,
}

impl Value {
    /// A number, or one of the words for "no limit"; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "unlimited" | "infinity" | "-1" => Some(Self::Unlimited),
            text => text.parse().ok().map(Self::Of),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(value) => value.fmt(f),
            Self::Unlimited => f.write_str("infinity"),
        }
    }
}

/// A machine whose files lie below a root.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The machine below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether it is the one this process runs on.
    pub fn is_this_one(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file of it lies.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The text of a file; empty when it can't be read.
    pub fn text(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    /// The `.conf` files of a list of directories in the order in which they are read: by name. Of two
    /// with the same name only that of the earlier directory counts.
    fn drop_ins(&self, directories: &[&str]) -> Vec<String> {
        let mut found: BTreeMap<OsString, String> = BTreeMap::new();
        for directory in directories {
            let Ok(entries) = fs::read_dir(self.path(directory)) else {
                continue;
            };
            for name in entries.flatten().map(|entry| entry.file_name()) {
                if Path::new(&name).extension().is_some_and(|ext| ext == "conf") {
                    let file = format!("{directory}/{}", name.to_string_lossy());
                    found.entry(name).or_insert(file);
                }
            }
        }
        found.into_values().collect()
    }

    /// The kernel's value of a sysctl.
    pub fn kernel(&self, sysctl: &str) -> Option<Value> {
        Value::parse(&self.text(&format!("proc/sys/{}", sysctl.replace('.', "/"))))
    }

    /// The files that set sysctls, in the order in which they count.
    pub fn sysctls(&self, sysctl: &str) -> Vec<(String, Value)> {
        let mut files = self.drop_ins(&[
            "etc/sysctl.d",
            "run/sysctl.d",
            "usr/local/lib/sysctl.d",
            "usr/lib/sysctl.d",
        ]);
        files.push("etc/sysctl.conf".to_owned());
        self.assignments(files, |line| {
            let (name, value) = line.trim_start_matches('-').split_once('=')?;
            (name.trim().replace('/', ".") == sysctl).then(|| Value::parse(value)).flatten()
        })
    }

    /// The hard limit this process has, where it runs on this machine.
    pub fn own_hard_nofile(&self) -> Option<Value> {
        let own = || rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        self.is_this_one().then(|| own().map_or(Value::Unlimited, Value::Of))
    }

    /// The soft or hard `nofile` that `limits.conf` and its drop-ins give to `whom`, `*` or a user.
    pub fn pam_nofile(&self, whom: &str, kind: &str) -> Vec<(String, Value)> {
        let mut files = vec!["etc/security/limits.conf".to_owned()];
        files.extend(self.drop_ins(&["etc/security/limits.d"]));
        self.assignments(files, |line| {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                [who, of, "nofile", value] if *who == whom && (*of == kind || *of == "-") => {
                    Value::parse(value)
                }
                _ => None,
            }
        })
    }

    /// `DefaultLimitNOFILE` (soft, hard) of systemd's manager `system` or `user`.
    pub fn systemd_nofile(&self, manager: &str) -> Vec<(String, (Value, Value))> {
        let mut files = vec![format!("etc/systemd/{manager}.conf")];
        let of = |base: &str| format!("{base}/systemd/{manager}.conf.d");
        let directories = ["etc", "run", "usr/local/lib", "usr/lib"].map(of);
        files.extend(self.drop_ins(&directories.each_ref().map(String::as_str)));
        self.assignments(files, |line| {
            let value = line.strip_prefix("DefaultLimitNOFILE")?.trim_start().strip_prefix('=')?;
            let (soft, hard) = value.split_once(':').unwrap_or((value, value));
            Some((Value::parse(soft)?, Value::parse(hard)?))
        })
    }

    fn assignments<T>(
        &self,
        files: Vec<String>,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<(String, T)> {
        let mut found = Vec::new();
        for file in files {
            let text = self.text(&file);
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
            found.extend(lines.filter_map(|line| Some((file.clone(), read(line)?))));
        }
        found
    }

    /// What stands in the way here, each as a sentence for the user.
    pub fn obstacles(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.is_this_one() {
            return found;
        }
        let marks = ["run/systemd/container", ".dockerenv", "run/.containerenv"];
        if marks.iter().any(|mark| self.path(mark).exists())
            || self.text("proc/1/environ").contains("container=")
        {
            found.push(
                "this is a container: the kernel's values are its host's, raise them there".into(),
            );
        }
        let is_read_only = rustix::fs::statvfs("/proc/sys")
            .is_ok_and(|it| it.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        if is_read_only {
            found.push(
                "/proc/sys is read-only: the kernel's values can't be changed from here".into(),
            );
        }
        if !self.path("run/systemd/system").exists() {
            found
                .push("systemd does not run here: its files are written and have no effect".into());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_the_greatest_value() {
        assert!(Value::Unlimited > Value::Of(u64::MAX));
        assert_eq!(Value::parse(" infinity\n"), Some(Value::Unlimited));
        assert_eq!(Value::parse("12"), Some(Value::Of(12)));
        assert_eq!(Value::parse("12K"), None);
    }
}
