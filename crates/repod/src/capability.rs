//! Capability URLs: `http://127.0.0.1:<port>/~<token>`, and, bound to a directory,
//! `…/~<token>~<base64url of the directory>`.
//!
//! A program that starts its own server has that server's working directory wherever a request names
//! none. Behind a bound URL it has the same, though the backend it talks to works in the repo's root:
//! the directory travels in the URL, so nobody has to remember who was told what.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Between the token, which is hexadecimal, and the directory.
const BINDS: char = '~';

/// The same URL, for requests that mean `directory` when they name none.
pub(crate) fn bind(capability_url: &str, directory: &str) -> String {
    let Some((base, segment)) = capability_url.split_once("/~") else {
        return capability_url.to_owned();
    };
    let (token, _) = split(segment);
    format!("{base}/~{token}{BINDS}{}", URL_SAFE_NO_PAD.encode(directory))
}

/// What follows `/~` in two: the token, and the directory it is bound to. What can't be a directory
/// is left to the token, which is wrong then.
pub(crate) fn split(segment: &str) -> (&str, Option<String>) {
    let directory = |encoded| String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok();
    match segment.split_once(BINDS) {
        Some((token, encoded)) => match directory(encoded).filter(|it| it.starts_with('/')) {
            Some(directory) => (token, Some(directory)),
            None => (segment, None),
        },
        None => (segment, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_any_name_survives_the_way_there_and_back() {
        for directory in ["/", "/src/web", "/src/a b/ü~%2F?#", "/src/\u{1f980}/..."] {
            let url = bind("http://127.0.0.1:1/~t0ken", directory);
            let segment = url.strip_prefix("http://127.0.0.1:1/~").unwrap();
            assert!(segment.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "{url}");
            assert_eq!(split(segment), ("t0ken", Some(directory.to_owned())));
        }
        let twice = bind(&bind("http://127.0.0.1:1/~t0ken", "/a"), "/b");
        assert_eq!(twice, bind("http://127.0.0.1:1/~t0ken", "/b"));
    }

    #[test]
    fn what_is_no_directory_makes_the_token_wrong() {
        assert_eq!(split("t0ken"), ("t0ken", None));
        // "web": not absolute; then no base64, no UTF-8, nothing.
        for segment in ["t0ken~d2Vi", "t0ken~!!", "t0ken~_w", "t0ken~", "t0ken~L3NyYw~L3NyYw"] {
            assert_eq!(split(segment), (segment, None), "{segment}");
        }
    }
}
