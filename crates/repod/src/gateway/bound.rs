//! A capability that is bound to a directory: a request that names none means that one. OpenCode
//! itself would take its own working directory, which here is the repo's root.

use super::refuse::{Reason, Refusal};
use super::route::{Route, percent_decode};
use crate::ops::Locator;
use crate::repo::Repo;
use hyper::Request;
use hyper::header::HeaderValue;
use repod_proto::{ApiError, ErrorCode};
use std::fmt::Write as _;

/// How a request names its directory, beside the query (1.18.33: the query wins).
pub(super) const DIRECTORY: &str = "x-opencode-directory";
/// The same in the query; the second in routes below `/api`.
const NAMES: [&str; 2] = ["directory", "location[directory]"];

/// Names the directory for a request that doesn't. It must be this repo's: the backend would open
/// another one's files just as well, beside the backend that they have.
pub(super) async fn name_directory<B>(
    locator: &Locator,
    repo: &Repo,
    route: &Route,
    request: &mut Request<B>,
) -> Result<(), Refusal> {
    let bound = route.capability.as_ref().and_then(|it| it.directory.as_deref());
    let Some(directory) = bound.filter(|_| !names_one(route, request)) else {
        return Ok(());
    };
    let located = locator.locate(directory).await.map_err(Refusal::wrong_directory)?;
    if located.repo.identity != repo.identity {
        let message = format!(
            "`{directory}` belongs to another repository, `{}`, which has a backend of its own",
            located.repo.root.display()
        );
        let error = ApiError::new(ErrorCode::Forbidden, message);
        let hint = format!("`repod ensure {directory}` gives its URL");
        return Err(Refusal::wrong_directory(error.hint(hint)));
    }
    let value = HeaderValue::try_from(percent_encode(directory))
        .map_err(|error| Refusal::new(Reason::WrongDirectory, error.to_string()))?;
    request.headers_mut().insert(DIRECTORY, value);
    Ok(())
}

/// An empty name is none.
fn names_one<B>(route: &Route, request: &Request<B>) -> bool {
    let by_header = request.headers().get(DIRECTORY).is_some_and(|value| !value.is_empty());
    by_header
        || route.target.query().unwrap_or_default().split('&').any(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decode(name);
            !value.is_empty() && NAMES.iter().any(|known| known.as_bytes() == name)
        })
}

/// As `encodeURIComponent` does, which is what OpenCode takes apart.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` doesn't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability;

    async fn named(locator: &Locator, repo: &Repo, uri: &str, header: &str) -> Option<String> {
        let mut request = Request::builder().uri(uri).header(DIRECTORY, header).body(()).unwrap();
        let route = Route::of(&request).unwrap();
        name_directory(locator, repo, &route, &mut request).await.unwrap();
        Some(request.headers()[DIRECTORY].to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_request_that_names_no_directory_means_the_bound_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap().join("a b%");
        fs_err::create_dir(&at).unwrap();
        let (locator, at) = (Locator::default(), at.to_str().unwrap().to_owned());
        let repo = locator.locate(&at).await.unwrap().repo;
        let uri = |query: &str| format!("{}/x{query}", capability::bind("/~t", &at));
        let ours = Some(percent_encode(&at));
        assert!(ours.as_ref().unwrap().ends_with("%2Fa%20b%25"), "{ours:?}");
        for query in ["", "?a=directory", "?directory=", "?directory", "?xdirectory=/y"] {
            assert_eq!(named(&locator, &repo, &uri(query), "").await, ours, "{query}");
        }
        for query in ["?directory=/y", "?a=1&d%69rectory=/y", "?location%5Bdirectory%5D=/y"] {
            assert_eq!(named(&locator, &repo, &uri(query), "").await.unwrap(), "", "{query}");
        }
        assert_eq!(named(&locator, &repo, &uri(""), "/y").await.unwrap(), "/y");
        assert_eq!(named(&locator, &repo, "/~t/x", "").await.unwrap(), "");
    }

    #[tokio::test]
    async fn another_repo_s_directory_and_one_that_is_gone_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let locator = Locator::default();
        let root = dir.path().canonicalize().unwrap();
        let repo = locator.locate(root.to_str().unwrap()).await.unwrap().repo;
        fs_err::create_dir(root.join("other")).unwrap();
        for (name, said) in [("other", "another repository"), ("gone", "does not exist")] {
            let directory = root.join(name).display().to_string();
            let mut request = Request::new(());
            *request.uri_mut() = capability::bind("/~t", &directory).parse().unwrap();
            let route = Route::of(&request).unwrap();
            let refused = name_directory(&locator, &repo, &route, &mut request).await.unwrap_err();
            assert_eq!(refused.reason(), Reason::WrongDirectory);
            assert!(format!("{refused:?}").contains(said), "{refused:?}");
        }
    }
}
