//! `OPENCODE_CONFIG_CONTENT`: the user's value, plus what repod needs. It is the last layer of
//! user-level configuration, and plugins named there run last.

use super::Guard;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Merges `autoupdate: false` and the guard, as the last plugin, into the user's value.
///
/// Keys keep their order: in OpenCode's permission rules the last match wins.
pub(super) fn merged(
    users: Option<&OsStr>,
    guard: &Path,
    options: &Value,
) -> Result<String, String> {
    let users = match users.map(OsStr::to_str) {
        None | Some(Some("")) => "{}",
        Some(Some(text)) => text,
        Some(None) => return Err("it is not UTF-8".to_owned()),
    };
    let Object(mut entries) = parse(users)?;
    let mut plugins: Vec<Box<RawValue>> = match take(&mut entries, "plugin") {
        Some(list) => parse(list.get()).map_err(|error| format!("`plugin`: {error}"))?,
        None => Vec::new(),
    };
    let guard = json!([file_url(guard), options]);
    plugins.push(to_raw_value(&guard).map_err(|error| error.to_string())?);
    take(&mut entries, "autoupdate");

    let mut text = String::from("{");
    for (name, value) in entries {
        let name = serde_json::Value::String(name);
        let _ = write!(text, "{name}:{value},");
    }
    let plugins: Vec<&str> = plugins.iter().map(|plugin| plugin.get()).collect();
    let _ = write!(text, "\"autoupdate\":false,\"plugin\":[{}]}}", plugins.join(","));
    Ok(text)
}

/// What the guard is told: the user's environment for tools, and how to reach repod.
pub(super) fn options(tool_env: &BTreeMap<String, String>, guard: Option<&Guard>) -> Value {
    match guard {
        None => json!({ "env": tool_env }),
        Some(Guard { socket, token, stage, program }) => json!({
            "env": tool_env,
            "guard": { "socket": socket, "token": token, "stage": stage, "program": program },
        }),
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Removes every entry of this name; the last one counted, as in JavaScript.
fn take(entries: &mut Vec<(String, Box<RawValue>)>, name: &str) -> Option<Box<RawValue>> {
    let (taken, kept) = std::mem::take(entries).into_iter().partition(|(key, _)| key == name);
    *entries = kept;
    let taken: Vec<(String, Box<RawValue>)> = taken;
    taken.into_iter().next_back().map(|(_, value)| value)
}

/// A JSON object as it was written.
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn file_url(path: &Path) -> String {
    let mut url = String::from("file://");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(users: Option<&str>) -> Result<String, String> {
        let env = BTreeMap::from([("XDG_DATA_HOME".to_owned(), String::new())]);
        merged(users.map(OsStr::new), Path::new("/home/my repo#1/guard.js"), &options(&env, None))
    }

    #[test]
    fn the_guard_comes_last_and_the_users_order_stays() {
        let users = r#"{"permission":{"bash":{"z*":"ask","a*":"allow"}},"plugin":["mine"],
            "autoupdate":true,"model":"p/m"}"#;
        let text = merge(Some(users)).unwrap();
        assert!(text.find("z*").unwrap() < text.find("a*").unwrap(), "{text}");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["autoupdate"], false);
        assert_eq!(json["model"], "p/m");
        assert_eq!(json["plugin"][0], "mine");
        assert_eq!(json["plugin"][1][0], "file:///home/my%20repo%231/guard.js");
        assert_eq!(json["plugin"][1][1]["env"]["XDG_DATA_HOME"], "");
    }

    #[test]
    fn nothing_set_is_an_empty_object() {
        for users in [None, Some(""), Some("{}")] {
            let json: Value = serde_json::from_str(&merge(users).unwrap()).unwrap();
            assert_eq!(json.as_object().unwrap().len(), 2);
        }
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        for users in ["{bad", "[]", "{\"a\":1,}", "{\"plugin\":\"x\"}", "{} // c"] {
            assert!(merge(Some(users)).is_err(), "{users}");
        }
    }
}
