//! Ports that the user's configuration gives every server.
//!
//! OpenCode 1.18.33 takes `server.port` from the user's configuration alone; in a project's it has no effect.
//! `--port` has precedence, so a backend of repod's is not concerned.

use super::{Sources, distinct};
use crate::snapshot::Snapshot;
use std::io::Read;
use std::path::Path;

/// Read in this order; a later one has precedence.
const NAMES: [&str; 3] = ["config.json", "opencode.json", "opencode.jsonc"];
/// What is larger is no configuration.
const CONFIG_MAX: u64 = 1024 * 1024;

pub(super) fn read(sources: &Sources, snapshot: &mut Snapshot) {
    // A container's paths are none of ours.
    let plain = snapshot.plain().filter(|process| process.mounts.is_none());
    let plain = plain.filter_map(|process| Some(process.homes.as_ref()?.config.0.clone()));
    let own = sources.config.clone().filter(|dir| sources.covers(dir));
    let found = distinct(plain.chain(own)).into_iter().filter_map(|dir| {
        let files = NAMES.iter().rev().map(|name| dir.join(name));
        let mut ports = files.filter_map(|file| Some((port(&file)?, file)));
        ports.next().map(|(port, file)| (file, port))
    });
    snapshot.fixed_ports = found.filter(|(_, port)| *port != 0).collect();
}

/// `server.port` of a configuration, if it can be read and says so.
fn port(file: &Path) -> Option<u16> {
    let open = fs_err::File::open(file).ok()?;
    open.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut text = String::new();
    open.take(CONFIG_MAX).read_to_string(&mut text).ok()?;
    let options = jsonc_parser::ParseOptions::default();
    let config: serde_json::Value = jsonc_parser::parse_to_serde_value(&text, &options).ok()?;
    config.pointer("/server/port")?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::sources;

    #[test]
    fn a_port_is_read_of_any_file_and_the_last_one_counts() {
        let root = tempfile::tempdir().unwrap();
        let mut sources = sources(root.path());
        let dir = root.path().join("config/opencode");
        fs_err::create_dir_all(&dir).unwrap();
        sources.config = Some(dir.clone());
        let look = |files: &[(&str, &str)]| {
            for name in NAMES {
                let _ = fs_err::remove_file(dir.join(name));
            }
            for (name, text) in files {
                fs_err::write(dir.join(name), text).unwrap();
            }
            let mut snapshot = Snapshot::default();
            read(&sources, &mut snapshot);
            let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
            snapshot.fixed_ports.iter().map(|(file, port)| (name(file), *port)).collect::<Vec<_>>()
        };
        assert_eq!(look(&[]), []);
        let commented = "{ // mine\n \"server\": { \"port\": 4097, },\n}";
        assert_eq!(look(&[("opencode.jsonc", commented)]), [("opencode.jsonc".to_owned(), 4097)]);
        let with = |port: u32| format!("{{\"server\":{{\"port\":{port}}}}}");
        let (one, two) = (with(5000), with(0));
        assert_eq!(look(&[("config.json", &one)]), [("config.json".to_owned(), 5000)]);
        assert_eq!(look(&[("config.json", &one), ("opencode.json", &two)]), [], "any port");
        for text in ["", "{", "{\"server\":{\"hostname\":\"::1\"}}", &with(70_000), "[]"] {
            assert_eq!(look(&[("opencode.json", text)]), [], "{text}");
        }
        sources.only = vec!["/elsewhere".into()];
        let mut snapshot = Snapshot::default();
        fs_err::write(dir.join("opencode.json"), one).unwrap();
        read(&sources, &mut snapshot);
        assert_eq!(snapshot.fixed_ports, []);
    }
}
