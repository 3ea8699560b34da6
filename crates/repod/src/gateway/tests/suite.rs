//! The parser tests of a peer against the gateway: gunicorn's, from its source package on PyPI
//! (`./test` fetches it, scripts/lib.sh). Each is a request in a file, in a folder of those that a
//! strict parser takes or in one of those that it refuses.
//!
//! Every one is sent twice: as it is, and with the endpoint's secret put into its head. Whatever
//! becomes of it, the backend (`recording`) sees requests that have one reading, or none.

use super::Limits;
use super::recording::{Recorder, find};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Refused there and rightly taken here, each as one request with one reading.
const TAKEN: &[(&str, &str)] = &[
    ("003c", "a method may begin with a dash: it is a token"),
    ("006", "the limit of that server is not ours: a line of up to 64 KiB"),
    ("007", "the same"),
    ("008", "the same"),
    ("010", "the same, set by the test"),
    ("011", "the same, set by the test"),
    ("012", "the same, set by the test"),
    ("017", "the same"),
    ("limit_header_default_01", "the same"),
    ("019", "headers of a proxy before us mean nothing here"),
    ("040", "an underscore is no dash, here and in OpenCode"),
    ("chunked_07", "the same"),
    ("041", "two content types: the backend's to judge"),
    ("chunked_09", "blanks behind a chunk's size are not passed on"),
    ("rfc9110_trailer_forbidden_cl_01", "no trailer is passed on"),
    ("rfc9110_trailer_forbidden_host_01", "the same"),
    ("rfc9110_trailer_forbidden_te_01", "the same"),
    ("rfc9112_bare_lf_01", "a bare LF ends a line, and is passed on as CR LF"),
    ("rfc9112_leading_crlf_02", "empty lines before a request are left out"),
    ("rfc9112_smuggle_cl_te_chunked_01", "chunks win, the length goes, the connection ends"),
    ("rfc9112_target_non_ascii_02", "OpenCode's to judge"),
];
/// Taken there and rightly refused here.
const REFUSED: &[(&str, &str)] = &[
    ("014", "a quotation mark must be encoded in a target"),
    ("025", "a coding beside `chunked` would be lost"),
    ("025_line", "the same"),
    ("029", "the same"),
    ("030", "the same"),
    ("rfc9112_smuggle_gzip_chunked_01", "the same"),
    ("rfc9112_smuggle_te_identity_chunked_01", "the same"),
    ("028", "a blank before the colon"),
    ("099", "its body is shorter than it says"),
    ("compat_obs_fold", "a folded header"),
    ("compat_obs_fold_huge", "the same"),
    ("pp_01", "PROXY protocol"),
    ("pp_02", "the same"),
    ("pp_04", "the same"),
    ("pp_05", "the same"),
    ("rfc9112_target_absolute_01", "names another machine"),
    ("rfc9112_target_absolute_https_01", "the same"),
    ("rfc9112_target_absolute_userinfo_01", "the same"),
    ("rfc9112_target_asterisk_options_01", "not a path"),
    ("rfc9112_target_authority_connect_01", "no forward proxy"),
    ("rfc9112_target_authority_ipv6_01", "the same"),
];

fn folder(name: &str) -> Vec<(String, Vec<u8>)> {
    let cases = std::env::var("REPOD_HTTP_CASES").unwrap_or_else(|_| {
        panic!(
            "no parser tests of a peer: run ./test, which fetches them (python3-pip must be there)"
        )
    });
    let files = fs_err::read_dir(Path::new(&cases).join(name)).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ext| ext == "http"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, bytes(&fs_err::read(path).unwrap()))
    };
    let all: BTreeMap<_, _> = files.map(read).collect();
    assert!(all.len() > 40, "{name}: {} tests", all.len());
    all.into_iter().collect()
}

/// What a file stands for: its own line ends mean nothing, `\r\n`, `\n`, `\t`, `\0`, `\xAB` do.
fn bytes(file: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = file;
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'\n', _) => (None, tail),
            (b'\\', [b'r', after @ ..]) => (Some(b'\r'), after),
            (b'\\', [b'n', after @ ..]) => (Some(b'\n'), after),
            (b'\\', [b't', after @ ..]) => (Some(b'\t'), after),
            (b'\\', [b'0', after @ ..]) => (Some(0), after),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                (Some(u8::from_str_radix(digits, 16).unwrap()), after)
            }
            _ => (Some(*first), tail),
        };
        bytes.extend(byte);
        rest = after;
    }
    bytes
}

/// The same with the secret behind its first line, and its first `Host` made a good one.
fn known(raw: &[u8], basic: &str) -> Vec<u8> {
    // Empty lines may stand before it.
    let mut end = 0;
    while raw[end..].starts_with(b"\r\n") {
        end += 2;
    }
    end += find(&raw[end..], b"\r\n").map_or(raw.len() - end, |at| at + 2);
    let (line, rest) = raw.split_at(end);
    let head = find(rest, b"\r\n\r\n").unwrap_or(0);
    let host = match rest.starts_with(b"Host: ") {
        true => Some(0),
        false => find(&rest[..head], b"\r\nHost: ").map(|at| at + 2),
    };
    let (before, after) = match host {
        Some(at) => (&rest[..at], &rest[at + find(&rest[at..], b"\r\n").unwrap() + 2..]),
        None => (rest, &[][..]),
    };
    let secret = format!("Host: localhost\r\nAuthorization: Basic {basic}\r\n");
    [line, secret.as_bytes(), before, after].concat()
}

/// Sends it, and says what is not as it should be.
async fn judge(name: &str, raw: Vec<u8>, should_pass: bool) -> Option<String> {
    // What is left open ends soon.
    let soon = Duration::from_secs(2);
    let limits = Limits { introduction: soon, head: soon, body: soon, ..Limits::default() };
    let (stage, recorder) = Recorder::stage(limits).await;
    let answered = stage.statuses(&raw).await;
    let reached = recorder.take();
    if answered.contains('2') || !reached.is_empty() {
        return Some(format!("{name}: without the secret: {answered:?} {reached:?}"));
    }
    let answered = stage.statuses(&known(&raw, &stage.basic())).await;
    let reached = recorder.take();
    // One is let in at most: what follows it has no secret.
    let passed = answered.starts_with("200") && !reached.is_empty() && !reached.contains(" | ");
    let refused = !answered.contains('2') && reached.is_empty();
    let as_it_should = if should_pass { passed } else { refused };
    (!as_it_should).then(|| format!("{name}: {answered:?} {reached:?}"))
}

#[tokio::test]
async fn the_parser_tests_of_a_peer() {
    let listed = |list: &[(&str, &str)], name: &str| list.iter().any(|(it, _)| *it == name);
    let mut cases = Vec::new();
    for (name, raw) in folder("invalid") {
        let should_pass = listed(TAKEN, &name);
        cases.push((format!("invalid/{name}"), raw, should_pass));
    }
    for (name, raw) in folder("valid") {
        let should_pass = !listed(REFUSED, &name);
        cases.push((format!("valid/{name}"), raw, should_pass));
    }
    let judged = cases.iter().map(|(name, raw, pass)| judge(name, raw.clone(), *pass));
    let wrong: Vec<_> = join_all(judged).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "of {}: {wrong:#?}", cases.len());
    println!("{} parser tests of a peer", cases.len());
}
