//! What a backend prints: that it listens, or why it did not come up. OpenCode prints the ready
//! line to stdout and a failed start to stderr; `--print-logs` adds nothing to either.

/// The port of the line `opencode server listening on http://127.0.0.1:PORT`, in any line.
pub fn ready_line(line: &str) -> Option<u16> {
    let rest = line.trim().strip_prefix("opencode server listening on http://127.0.0.1:")?;
    rest.parse().ok().filter(|port| *port != 0)
}

/// Whether a start failed because somebody else had the port: pick another and try again.
pub fn is_port_lost(log_tail: &str) -> bool {
    // 1.18.33 says only `ServeError` and names no port.
    plain(log_tail).lines().any(|line| line.trim() == "ServeError" || line.contains("EADDRINUSE"))
}

/// A short cause, where the end of a backend's output shows a well-known one.
pub fn explain_exit(log_tail: &str) -> Option<String> {
    let text = plain(log_tail);
    config_error(&text)
        .or_else(|| is_port_lost(&text).then(|| "its port was taken by another process".to_owned()))
        .or_else(|| database_error(&text))
        .or_else(|| machine_error(&text))
}

/// A global config file that can't be used ends the start; one in the repo only fails requests.
fn config_error(text: &str) -> Option<String> {
    const NOT_JSON: (&str, &str) = ("Config file at ", " is not valid JSON");
    const INVALID: &str = "Configuration is invalid at ";
    if let Some((_, rest)) = text.rsplit_once(NOT_JSON.0)
        && let Some((path, rest)) = rest.split_once(NOT_JSON.1)
    {
        let mut cause = format!("the config file `{path}` is not valid JSON");
        if let Some(line) = rest.lines().skip_while(|l| !l.contains("--- Errors ---")).nth(1) {
            cause.push_str(": ");
            cause.push_str(line.trim());
        }
        return Some(cause);
    }
    let (_, rest) = text.rsplit_once(INVALID)?;
    let mut lines = rest.lines();
    let mut cause = format!("the config file `{}` is invalid", lines.next()?.trim());
    let issues: Vec<_> =
        lines.filter_map(|line| line.trim().strip_prefix('↳')).map(str::trim).take(3).collect();
    if !issues.is_empty() {
        cause.push_str(": ");
        cause.push_str(&issues.join("; "));
    }
    Some(cause)
}

fn database_error(text: &str) -> Option<String> {
    let cause = if text.contains("database is locked") || text.contains("SQLITE_BUSY") {
        "its database is locked by another process"
    } else if text.contains("file is not a database") || text.contains("disk image is malformed") {
        "its database `data/opencode/opencode.db` is damaged"
    } else if text.contains("Failed query:") {
        // So ends, among others, a start that finds a fresh database locked.
        "its database could not be set up (locked by another process, or the disk is full)"
    } else {
        return None;
    };
    Some(cause.to_owned())
}

fn machine_error(text: &str) -> Option<String> {
    let line = |words: &[&str]| {
        text.lines().rev().map(str::trim).find(|line| words.iter().any(|word| line.contains(word)))
    };
    if line(&["ENOSPC", "No space left on device", "database or disk is full"]).is_some() {
        return Some("the disk is full".to_owned());
    }
    if line(&["EMFILE", "ENFILE", "Too many open files"]).is_some() {
        return Some("it ran out of file descriptors".to_owned());
    }
    if line(&["Illegal instruction", "requires a CPU with AVX2"]).is_some() {
        let cause = "this CPU lacks instructions it needs (use OpenCode's `-baseline` package)";
        return Some(cause.to_owned());
    }
    // Arguments it doesn't know make it print its help, and no word of the reason.
    if line(&["--mdns-domain"]).is_some() {
        return Some("it printed its help: check the arguments in `[backend] args`".to_owned());
    }
    // Loader and file errors name what they miss: `EACCES: permission denied, mkdir '…'`.
    let named =
        ["EACCES: ", "EROFS: ", "EEXIST: ", "ENOTDIR: ", "EPERM: ", "GLIBC", "error while loading"];
    line(&named).map(|line| line.chars().take(300).collect())
}

/// Without colours.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        // CSI: ends with a letter. Nothing else is printed by OpenCode.
        chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ready_line_is_ready() {
        let ready = "opencode server listening on http://127.0.0.1:40211\n";
        assert_eq!(ready_line(ready), Some(40211));
        for other in [
            "Warning: OPENCODE_SERVER_PASSWORD is not set; server is unsecured.",
            "opencode server listening on http://127.0.0.1:",
            "opencode server listening on http://127.0.0.1:99999",
            "opencode server listening on http://0.0.0.0:4096",
            "see: opencode server listening on http://127.0.0.1:1",
        ] {
            assert_eq!(ready_line(other), None, "{other}");
        }
    }

    // What 1.18.33 really printed.
    const PORT: &str = "\u{1b}[91m\u{1b}[1mError: \u{1b}[0mUnexpected error\n\nServeError\n";
    const NOT_JSON: &str = "\u{1b}[91m\u{1b}[1mError: \u{1b}[0mConfig file at /c/opencode.json is not valid JSON(C): \n--- JSONC Input ---\n{\"model\": }\n--- Errors ---\nValueExpected at line 1, column 11\n   Line 1: {\"model\": }\n--- End ---\n";
    const INVALID: &str = "\u{1b}[91m\u{1b}[1mError: \u{1b}[0mConfiguration is invalid at /c/opencode.json\n↳ Expected string | undefined, got 5 model\n";
    const FRESH_LOCKED: &str =
        "Error: Unexpected error\n\nFailed query: \n  CREATE TABLE `workspace` (\n";
    const NO_DIR: &str =
        "EEXIST: file already exists, mkdir '/x/data/opencode'\n    path: \"/x\",\n errno: -17,\n";

    #[test]
    fn well_known_ends_are_named() {
        let explain = |text| explain_exit(text).unwrap();
        assert_eq!(explain(PORT), "its port was taken by another process");
        assert!(is_port_lost(PORT) && !is_port_lost(INVALID));
        assert_eq!(
            explain(NOT_JSON),
            "the config file `/c/opencode.json` is not valid JSON: ValueExpected at line 1, column 11"
        );
        assert_eq!(
            explain(INVALID),
            "the config file `/c/opencode.json` is invalid: Expected string | undefined, got 5 model"
        );
        assert!(explain("x\nSQLiteError: database is locked\n").contains("locked"));
        assert!(explain(FRESH_LOCKED).contains("database"));
        assert!(explain("Error: Unexpected error\n\nfile is not a database\n").contains("damaged"));
        assert!(explain(NO_DIR).starts_with("EEXIST: file already exists"));
        assert_eq!(explain_exit("all is well\n"), None);
        assert_eq!(explain_exit("\u{1b}"), None);
    }
}
