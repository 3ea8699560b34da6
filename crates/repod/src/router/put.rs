//! Files that `git apply` can't place exactly, because git converts them on the way (`eol`, filters such
//! as LFS, `ident`), or where there is no git: put there byte for byte by a command that the target's backend runs.

use super::patch::{Change, Kind};
use super::shell::quoted;
use std::io;
use std::path::Path;

/// A script for the worktree's root that makes these changes, from contents it lays into `dir`.
///
/// Written in place, so that owner, mode and hard links stay. `None` when a path is no text.
///
/// # Errors
/// When the contents can't be laid out.
pub(super) fn script(dir: &Path, changes: &[Change]) -> io::Result<Option<String>> {
    let mut script = String::from("set -e\n");
    for (index, change) in changes.iter().enumerate() {
        let Some(path) = change.path.to_str() else { return Ok(None) };
        let at = quoted(&format!("./{path}"));
        let Some(after) = &change.after else {
            script.push_str(&format!("rm -f -- {at}\n"));
            continue;
        };
        if let Some(parent) = Path::new(path).parent().and_then(Path::to_str) {
            script.push_str(&format!("mkdir -p -- {}\n", quoted(&format!("./{parent}"))));
        }
        if after.kind == Kind::Link {
            let Ok(target) = std::str::from_utf8(&after.bytes) else { return Ok(None) };
            script.push_str(&format!("ln -sfn -- {} {at}\n", quoted(target)));
            continue;
        }
        let content = dir.join(index.to_string());
        fs_err::write(&content, &after.bytes)?;
        let Some(content) = content.to_str() else { return Ok(None) };
        let was_link = change.before.as_ref().is_some_and(|before| before.kind == Kind::Link);
        if was_link {
            script.push_str(&format!("rm -f -- {at}\n"));
        }
        script.push_str(&format!("cat -- {} >{at}\n", quoted(content)));
        let mode = if after.kind == Kind::Executable { "+x" } else { "-x" };
        let was = change.before.as_ref().map(|before| before.kind);
        if was != Some(after.kind) {
            script.push_str(&format!("chmod {mode} -- {at}\n"));
        }
    }
    Ok(Some(script))
}

/// Whether git would leave something else: it converts one of these files, or there is no git.
pub(super) async fn is_needed(root: &Path, changes: &[Change]) -> bool {
    let paths: Vec<_> = changes.iter().map(|change| change.path.clone()).collect();
    // A new `.gitattributes` may change what its neighbours are: nothing that git applies is trusted then.
    if paths.iter().any(|path| path.file_name().is_some_and(|name| name == ATTRIBUTES)) {
        return true;
    }
    if !root.join(".git").exists() {
        return true;
    }
    let (dir, named) = (root.to_owned(), paths.clone());
    let looking =
        tokio::task::spawn_blocking(move || named.iter().any(|path| may_have(&dir, path)));
    if !looking.await.unwrap_or(true) {
        return false;
    }
    // What can't be asked is found out when the files are compared afterwards.
    let converted = super::attributes::converted(root, &paths).await;
    converted.is_ok_and(|converted| !converted.is_empty())
}

const ATTRIBUTES: &str = ".gitattributes";

/// Whether there is any file that could give this one attributes: most repositories have none, and to
/// ask git costs a process. (`core.attributesFile` is not looked up: the comparison afterwards is.)
fn may_have(root: &Path, path: &Path) -> bool {
    let beside = path.ancestors().skip(1).map(|dir| root.join(dir).join(ATTRIBUTES));
    let own = [".git/info/attributes", "info/attributes"].map(|file| root.join(file));
    let users = std::env::home_dir().map(|home| home.join(".config/git/attributes"));
    let system = Path::new("/etc/gitattributes").to_owned();
    // The git directory of a linked worktree is elsewhere: git is asked.
    let linked = root.join(".git").is_file();
    linked || beside.chain(own).chain(users).chain([system]).any(|file| file.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Content, look};
    use std::process::Command;

    #[test]
    fn the_script_leaves_exactly_what_is_wanted() {
        let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let content = |kind, text: &str| Some(Content { kind, bytes: text.as_bytes().to_vec() });
        fs_err::write(root.path().join("f"), "old").unwrap();
        fs_err::write(root.path().join("gone"), "x").unwrap();
        let change = |path: &str, before, after| Change {
            path: path.into(),
            renamed_from: None,
            before,
            after,
        };
        let changes = [
            change("f", content(Kind::Plain, "old"), content(Kind::Executable, "a\r\nb\0")),
            change("gone", content(Kind::Plain, "x"), None),
            change("-d/it's new", None, content(Kind::Plain, "n")),
            change("link", None, content(Kind::Link, "else/where")),
        ];
        let script = script(dir.path(), &changes).unwrap().unwrap();
        let status = Command::new("bash").args(["-c", &script]).current_dir(root.path()).status();
        assert!(status.unwrap().success());
        for change in &changes {
            assert_eq!(look(&root.path().join(&change.path)).unwrap(), change.after, "{change:?}");
        }
    }
}
