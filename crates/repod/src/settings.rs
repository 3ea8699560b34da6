//! `repod.toml`: every setting is optional, every mistake in it is said with its key.
//!
//! One list, [`keys`], is what is known; `repod config` prints it, the parser checks against it.

mod log;
mod policy;
mod sessions;
mod values;

pub(crate) use log::{Log, LogFormat};
pub(crate) use policy::{BashGuard, Conflict, CrossRepo, Policy};
pub(crate) use sessions::{Queue, SessionStore, Sessions};

use repod_proto::{ApiError, ErrorCode};
use repod_supervisor::cgroup::GroupLimits;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Value;
use values::{
    absolute, count, duration, number, or_word, origins, pairs, port, shown, size, size_text, text,
    texts, truth,
};

/// The settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) backend: Backend,
    pub(crate) limits: Limits,
    pub(crate) gateway: Gateway,
    pub(crate) policy: Policy,
    pub(crate) sessions: Sessions,
    pub(crate) log: Log,
}

/// `[backend]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    /// The OpenCode binary; `REPOD_OPENCODE` or `opencode` on `PATH` when unset.
    pub(crate) opencode: Option<PathBuf>,
    /// Further arguments of `opencode serve`.
    pub(crate) args: Vec<String>,
    /// Further environment of every backend.
    pub(crate) env: BTreeMap<String, String>,
    /// How long one start may take.
    pub(crate) start_timeout: Duration,
    /// How many backends start at once.
    pub(crate) start_concurrency: usize,
    /// What becomes of a repo's sessions from before repod.
    pub(crate) history: History,
}

/// What a repo's first backend begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// Its sessions from the user's shared database.
    Adopt,
    /// None.
    Fresh,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How long a backend that nobody uses stays awake; for ever when unset.
    pub(crate) idle: Option<Duration>,
    /// Whether a client that only listens to events keeps its backend awake.
    pub(crate) listeners_keep_awake: bool,
    /// How many backends may be awake beside the busy ones.
    pub(crate) max_live: Option<usize>,
    /// What all backends with their children may use, in bytes of resident memory.
    pub(crate) memory_budget: Option<u64>,
    /// What one may use before it is recycled when idle.
    pub(crate) memory_max: Option<u64>,
    /// What the kernel holds each backend to, where it has a control group of its own.
    pub(crate) group: GroupLimits,
    /// How often what each uses is measured.
    pub(crate) memory_sample: Duration,
    /// Open files the daemon and every backend may have.
    pub(crate) nofile: u64,
}

/// `[gateway]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// How long a request waits for a backend that is coming up.
    pub(crate) hold_timeout: Duration,
    /// Web origins beside loopback ones whose pages may use an endpoint.
    pub(crate) origins: Vec<String>,
    /// The loopback port on which metrics are served beside the socket; nowhere when unset.
    pub(crate) metrics_port: Option<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            backend: Backend {
                opencode: None,
                args: Vec::new(),
                env: BTreeMap::new(),
                start_timeout: Duration::from_secs(60),
                // A start keeps a core busy: more at once would only slow each of them down.
                start_concurrency: cores,
                history: History::Adopt,
            },
            limits: Limits {
                idle: Some(Duration::from_mins(30)),
                listeners_keep_awake: true,
                max_live: None,
                memory_budget: None,
                memory_max: None,
                group: GroupLimits::default(),
                memory_sample: Duration::from_secs(10),
                nofile: 65_535,
            },
            gateway: Gateway {
                hold_timeout: Duration::from_secs(30),
                origins: Vec::new(),
                metrics_port: None,
            },
            policy: Policy::default(),
            sessions: Sessions::default(),
            log: Log::default(),
        }
    }
}

impl Limits {
    /// Whether a start may have to wait until another backend sleeps.
    pub(crate) fn are_limited(&self) -> bool {
        self.max_live.is_some() || self.memory_budget.is_some()
    }
}

/// The kernel's own: all leaves share alike.
const CPU_WEIGHT: u64 = 100;

/// One setting as `repod config` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Shown {
    pub(crate) key: &'static str,
    pub(crate) value: serde_json::Value,
    /// `default` or `repod.toml`.
    pub(crate) origin: &'static str,
}

type Setter = fn(&mut Settings, &Value) -> Result<(), String>;
type Getter = fn(&Settings) -> serde_json::Value;

type Key = (&'static str, Setter, Getter);

/// Every key: its name, how it is read, how it is shown.
const KEYS: &[Key] = &[
    (
        "backend.opencode",
        |s, v| put(&mut s.backend.opencode, text(v).and_then(absolute).map(Some)),
        |s| serde_json::json!(s.backend.opencode),
    ),
    (
        "backend.args",
        |s, v| put(&mut s.backend.args, texts(v)),
        |s| serde_json::json!(s.backend.args),
    ),
    ("backend.env", |s, v| put(&mut s.backend.env, pairs(v)), |s| serde_json::json!(s.backend.env)),
    (
        "backend.start_timeout",
        |s, v| put(&mut s.backend.start_timeout, duration(v)),
        |s| humantime::format_duration(s.backend.start_timeout).to_string().into(),
    ),
    (
        "backend.start_concurrency",
        |s, v| put(&mut s.backend.start_concurrency, count(v, 1, 1024)),
        |s| s.backend.start_concurrency.into(),
    ),
    (
        "backend.history",
        |s, v| policy::HISTORY.put(v, &mut s.backend.history),
        |s| policy::HISTORY.show(s.backend.history),
    ),
    (
        "limits.idle",
        |s, v| put(&mut s.limits.idle, or_word(v, "never", duration)),
        |s| shown(s.limits.idle.map(|idle| humantime::format_duration(idle).to_string()), "never"),
    ),
    (
        "limits.listeners_keep_awake",
        |s, v| put(&mut s.limits.listeners_keep_awake, truth(v)),
        |s| s.limits.listeners_keep_awake.into(),
    ),
    (
        "limits.max_live",
        |s, v| {
            put(&mut s.limits.max_live, or_word(v, "unlimited", |value| count(value, 1, 100_000)))
        },
        |s| shown(s.limits.max_live, "unlimited"),
    ),
    (
        "limits.memory_budget",
        |s, v| put(&mut s.limits.memory_budget, or_word(v, "unlimited", size)),
        |s| shown(s.limits.memory_budget.map(size_text), "unlimited"),
    ),
    (
        "limits.memory_max",
        |s, v| put(&mut s.limits.memory_max, or_word(v, "unlimited", size)),
        |s| shown(s.limits.memory_max.map(size_text), "unlimited"),
    ),
    (
        "limits.memory_high",
        |s, v| put(&mut s.limits.group.memory_high, or_word(v, "unlimited", size)),
        |s| shown(s.limits.group.memory_high.map(size_text), "unlimited"),
    ),
    (
        "limits.memory_limit",
        |s, v| put(&mut s.limits.group.memory_limit, or_word(v, "unlimited", size)),
        |s| shown(s.limits.group.memory_limit.map(size_text), "unlimited"),
    ),
    (
        "limits.pids_max",
        |s, v| {
            put(&mut s.limits.group.pids_max, or_word(v, "unlimited", |v| number(v, 16, 1 << 22)))
        },
        |s| shown(s.limits.group.pids_max, "unlimited"),
    ),
    (
        "limits.cpu_weight",
        |s, v| put(&mut s.limits.group.cpu_weight, number(v, 1, 10_000).map(Some)),
        |s| s.limits.group.cpu_weight.unwrap_or(CPU_WEIGHT).into(),
    ),
    (
        "limits.memory_sample",
        |s, v| put(&mut s.limits.memory_sample, duration(v)),
        |s| humantime::format_duration(s.limits.memory_sample).to_string().into(),
    ),
    (
        "limits.nofile",
        |s, v| put(&mut s.limits.nofile, number(v, 256, 1 << 30)),
        |s| s.limits.nofile.into(),
    ),
    (
        "gateway.hold_timeout",
        |s, v| put(&mut s.gateway.hold_timeout, duration(v)),
        |s| humantime::format_duration(s.gateway.hold_timeout).to_string().into(),
    ),
    (
        "gateway.origins",
        |s, v| put(&mut s.gateway.origins, origins(v)),
        |s| serde_json::json!(s.gateway.origins),
    ),
    (
        "gateway.metrics_port",
        |s, v| put(&mut s.gateway.metrics_port, or_word(v, "off", port)),
        |s| shown(s.gateway.metrics_port, "off"),
    ),
    (
        "policy.write_conflict",
        |s, v| policy::CONFLICT.put(v, &mut s.policy.write_conflict),
        |s| policy::CONFLICT.show(s.policy.write_conflict),
    ),
    (
        "policy.write_wait",
        |s, v| put(&mut s.policy.write_wait, duration(v)),
        |s| humantime::format_duration(s.policy.write_wait).to_string().into(),
    ),
    (
        "policy.cross_repo",
        |s, v| policy::CROSS_REPO.put(v, &mut s.policy.cross_repo),
        |s| policy::CROSS_REPO.show(s.policy.cross_repo),
    ),
    (
        "policy.bash_guard",
        |s, v| policy::BASH_GUARD.put(v, &mut s.policy.bash_guard),
        |s| policy::BASH_GUARD.show(s.policy.bash_guard),
    ),
];

/// All of them.
fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(sessions::KEYS).chain(log::KEYS)
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

impl Settings {
    /// The settings of `file`; the defaults when there is none.
    pub(crate) fn load(file: &Path) -> Result<Self, ApiError> {
        Ok(Self::load_shown(file)?.0)
    }

    /// The same, with where each value comes from.
    pub(crate) fn load_shown(file: &Path) -> Result<(Self, Vec<Shown>), ApiError> {
        let text = match std::fs::File::open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(file, &format!("can't be read: {error}"))),
            Ok(file_) => std::io::read_to_string(file_)
                .map_err(|error| wrong(file, &format!("can't be read: {error}")))?,
        };
        Self::parse(&text).map_err(|cause| wrong(file, &cause))
    }

    fn parse(text: &str) -> Result<(Self, Vec<Shown>), String> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut settings = Self::default();
        let mut from_file = Vec::new();
        for (section, value) in &table {
            let Value::Table(entries) = value else {
                return Err(unknown(section, "a section"));
            };
            if !keys().any(|(key, ..)| key.split('.').next() == Some(section)) {
                return Err(unknown(section, "a section"));
            }
            for (name, value) in entries {
                let full = format!("{section}.{name}");
                let Some((key, set, _)) = keys().find(|(key, ..)| *key == full) else {
                    return Err(unknown(&full, "a key"));
                };
                set(&mut settings, value).map_err(|cause| format!("`{full}` {cause}"))?;
                from_file.push(*key);
            }
        }
        let shown = keys()
            .map(|(key, _, get)| Shown {
                key,
                value: get(&settings),
                origin: if from_file.contains(key) { "repod.toml" } else { "default" },
            })
            .collect();
        Ok((settings, shown))
    }
}

fn wrong(file: &Path, cause: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidSettings, format!("`{}`: {}", file.display(), cause.trim_end()))
        .hint("`repod config` shows every setting and its default")
}

fn unknown(name: &str, what: &str) -> String {
    let known = |key: &'static str| {
        if what == "a section" { key.split('.').next().unwrap_or(key) } else { key }
    };
    let nearest = keys()
        .map(|(key, ..)| known(key))
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    match nearest {
        Some(nearest) => format!("`{name}` is not {what} repod knows; did you mean `{nearest}`?"),
        None => format!("`{name}` is not {what} repod knows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        Settings::parse(text).unwrap_err()
    }

    #[test]
    fn an_empty_file_gives_the_defaults_and_every_key_says_so() {
        let (settings, shown) = Settings::parse("").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(shown.len(), keys().count());
        assert!(shown.iter().all(|row| row.origin == "default"));
    }

    #[test]
    fn what_is_set_is_used_and_its_origin_shown() {
        let text =
            "[backend]\nstart_timeout = \"90s\"\nenv = { A = \"1\" }\n[limits]\nnofile = 4096";
        let (settings, shown) = Settings::parse(text).unwrap();
        assert_eq!(settings.backend.start_timeout, Duration::from_secs(90));
        assert_eq!(settings.limits.nofile, 4096);
        let text = "[limits]\nidle = \"never\"\nmax_live = 6\nmemory_budget = \"2.5GiB\"";
        let (limited, rows) = Settings::parse(text).unwrap();
        assert_eq!((limited.limits.idle, limited.limits.max_live), (None, Some(6)));
        assert_eq!(limited.limits.memory_budget, Some(5 << 29));
        let text = "[limits]\nmemory_high = \"1GiB\"\nmemory_limit = \"2GiB\"\npids_max = 512\ncpu_weight = 50";
        let held = Settings::parse(text).unwrap().0.limits.group;
        assert_eq!((held.memory_high, held.memory_limit), (Some(1 << 30), Some(2 << 30)));
        assert_eq!((held.pids_max, held.cpu_weight), (Some(512), Some(50)));
        let row = rows.iter().find(|row| row.key == "limits.memory_budget").unwrap();
        assert_eq!(row.value, "2.5 GiB");
        let row = shown.iter().find(|row| row.key == "backend.env").unwrap();
        assert_eq!((row.origin, &row.value["A"]), ("repod.toml", &"1".into()));
    }

    #[test]
    fn a_mistake_names_the_key_and_the_nearest_known_one() {
        assert!(mistake("[backend]\nstart_timout = \"9s\"").contains("`backend.start_timeout`?"));
        assert!(mistake("[backen]\nargs = []").contains("`backend`?"));
        assert!(mistake("[limits]\nnofile = \"many\"").contains("`limits.nofile` must be"));
        assert!(mistake("[backend]\nopencode = \"relative\"").contains("absolute"));
        assert!(mistake("[backend]\nstart_timeout = \"soon\"").contains("\"30s\""));
        assert!(mistake("[gateway]\norigins = [\"*\"]").contains("`gateway.origins` has `*`"));
        assert!(mistake("[gateway]\norigins = [\"https://a/b\"]").contains("an origin is like"));
        assert!(mistake("[limits]\nmemory_budget = \"2000\"").contains("\"2GiB\""));
        assert!(mistake("[limits]\nmemory_max = 3").contains("or \"unlimited\""));
        assert!(mistake("[limits]\ncpu_weight = 0").contains("from 1 to 10000"));
        assert!(mistake("[limits]\npids_max = 3").contains("or \"unlimited\""));
        assert!(mistake("[limits]\nmemory_limt = \"1GiB\"").contains("`limits.memory_limit`?"));
        assert!(mistake("[limits]\nmax_live = 0").contains("from 1"));
        assert!(mistake("[gateway]\nmetrics_port = 0").contains("from 1 to 65535, or \"off\""));
        assert!(mistake("[log]\nformat = \"xml\"").contains("\"text\", \"json\""));
        assert!(mistake("[limits]\nidle = \"0s\"").contains("or \"never\""));
        assert!(mistake("nonsense").contains("line 1"));
    }
}
