//! Capability URLs: `http://127.0.0.1:<port>/~<token>`. Behind the token there may stand
//! `~<base64url of a directory>` and then `~<id of a handle>`:
//!
//! * A program that starts its own server has that server's working directory wherever a request
//!   names none. Behind a URL bound to a directory it has the same, though the backend it talks to
//!   works in the repo's root.
//! * A program that closes its own server ends what is still open there. The handle is what it closes
//!   here; what came in by the handle's URL ends with it (`gateway/handles.rs`). The handle itself
//!   puts a `!` before the id.
//!
//! All that travels in the URL, so nobody has to remember who was told what.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Between the parts: neither hexadecimal nor base64url.
const SEPARATOR: char = '~';
const OWNER: char = '!';
/// Longest id of a handle.
const ID_MAX: usize = 64;

/// What a capability consists of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capability {
    pub(crate) token: String,
    /// What a request means that names no directory.
    pub(crate) directory: Option<String>,
    pub(crate) handle: Option<Handle>,
}

/// The handle of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) id: String,
    /// Whether it is the handle itself.
    pub(crate) is_owner: bool,
}

impl Capability {
    /// From what follows `/~`. What can't be taken apart is left to the token, which is wrong then.
    pub(crate) fn parse(segment: &str) -> Self {
        let whole = || Self { token: segment.to_owned(), ..Self::default() };
        let mut parts = segment.split(SEPARATOR);
        let token = parts.next().unwrap_or_default().to_owned();
        let directory = match parts.next().map(parse_directory) {
            None => return whole(),
            Some(Some(directory)) => directory,
            Some(None) => return whole(),
        };
        let handle = match parts.next().map(parse_handle) {
            None => None,
            Some(Some(handle)) => Some(handle),
            Some(None) => return whole(),
        };
        if parts.next().is_some() || (directory.is_none() && handle.is_none()) {
            return whole();
        }
        Self { token, directory, handle }
    }

    fn segment(&self) -> String {
        let mut segment = self.token.clone();
        if self.directory.is_some() || self.handle.is_some() {
            segment.push(SEPARATOR);
            segment
                .push_str(&URL_SAFE_NO_PAD.encode(self.directory.as_deref().unwrap_or_default()));
        }
        if let Some(handle) = &self.handle {
            segment.push(SEPARATOR);
            segment.extend(handle.is_owner.then_some(OWNER));
            segment.push_str(&handle.id);
        }
        segment
    }
}

/// Nothing is no directory; the outer `None` is no such thing.
fn parse_directory(encoded: &str) -> Option<Option<String>> {
    if encoded.is_empty() {
        return Some(None);
    }
    let directory = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    directory.starts_with('/').then_some(Some(directory))
}

fn parse_handle(text: &str) -> Option<Handle> {
    let (id, is_owner) = text.strip_prefix(OWNER).map_or((text, false), |id| (id, true));
    let is_id = (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| Handle { id: id.to_owned(), is_owner })
}

/// The same URL, for requests that mean `directory` when they name none.
pub(crate) fn bind(url: &str, directory: &str) -> String {
    change(url, |capability| capability.directory = Some(directory.to_owned()))
}

/// The same URL, for the program of this handle.
pub(crate) fn of_handle(url: &str, id: &str) -> String {
    let handle = Handle { id: id.to_owned(), is_owner: false };
    change(url, |capability| capability.handle = Some(handle))
}

/// The same URL, for this handle itself.
pub(crate) fn of_owner(url: &str, id: &str) -> String {
    let handle = Handle { id: id.to_owned(), is_owner: true };
    change(url, |capability| capability.handle = Some(handle))
}

fn change(url: &str, change: impl FnOnce(&mut Capability)) -> String {
    let Some((base, segment)) = url.split_once("/~") else { return url.to_owned() };
    let mut capability = Capability::parse(segment);
    change(&mut capability);
    format!("{base}/~{}", capability.segment())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Capability {
        Capability::parse(url.strip_prefix("http://127.0.0.1:1/~").unwrap())
    }

    #[test]
    fn a_directory_of_any_name_survives_the_way_there_and_back() {
        for directory in ["/", "/src/web", "/src/a b/ü~%2F?#", "/src/\u{1f980}/..."] {
            let url = bind("http://127.0.0.1:1/~t0ken", directory);
            assert!(url.bytes().skip(19).all(|b| b.is_ascii_graphic() && b != b'/'), "{url}");
            let expected = Capability {
                token: "t0ken".into(),
                directory: Some(directory.into()),
                handle: None,
            };
            assert_eq!(parse(&url), expected);
        }
        let twice = bind(&bind("http://127.0.0.1:1/~t0ken", "/a"), "/b");
        assert_eq!(twice, bind("http://127.0.0.1:1/~t0ken", "/b"));
    }

    #[test]
    fn a_handle_is_named_with_and_without_a_directory() {
        for base in ["http://127.0.0.1:1/~t0ken", "http://127.0.0.1:1/~t0ken~L2E"] {
            let (program, owner) = (parse(&of_handle(base, "0a")), parse(&of_owner(base, "0a")));
            assert_eq!(program.handle, Some(Handle { id: "0a".into(), is_owner: false }));
            assert_eq!(owner.handle, Some(Handle { id: "0a".into(), is_owner: true }));
            assert_eq!((&program.token, &owner.directory), (&"t0ken".into(), &program.directory));
            assert_eq!(program.directory, parse(base).directory);
        }
    }

    #[test]
    fn what_can_t_be_taken_apart_makes_the_token_wrong() {
        let tokens = ["t0ken~d2Vi", "t0ken~!!", "t0ken~_w", "t0ken~", "t0ken~L3NyYw~L3NyYw"];
        for segment in ["t0ken", "t~~", "t~~!", "t~~zz", "t~~0a~0a"].iter().chain(&tokens) {
            let expected = Capability { token: (*segment).into(), ..Capability::default() };
            assert_eq!(Capability::parse(segment), expected, "{segment}");
        }
    }
}
