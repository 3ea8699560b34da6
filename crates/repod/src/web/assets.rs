//! The files of the dashboard, built from `web/` and part of the binary.

use crate::secret::hex;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    Asset {
        path: "/",
        kind: "text/html; charset=utf-8",
        bytes: include_bytes!("../../../../web/dist/index.html"),
    },
    Asset {
        path: "/app.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../../../web/dist/app.js"),
    },
    Asset {
        path: "/app.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("../../../../web/dist/app.css"),
    },
    Asset {
        path: "/icon.svg",
        kind: "image/svg+xml",
        bytes: include_bytes!("../../../../web/dist/icon.svg"),
    },
    Asset {
        path: "/licences.txt",
        kind: "text/plain; charset=utf-8",
        bytes: include_bytes!("../../../../web/dist/licences.txt"),
    },
];

/// What each file is, by its content.
static TAGS: LazyLock<[String; ASSETS.len()]> = LazyLock::new(|| {
    ASSETS.map(|asset| format!("\"{}\"", hex(&Sha256::digest(asset.bytes)[..16])))
});

/// The file at this path; without its body where the browser has it already.
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    let at = ASSETS.iter().position(|asset| asset.path == path)?;
    let (asset, tag) = (&ASSETS[at], &TAGS[at]);
    let has = headers.get(header::IF_NONE_MATCH).and_then(|sent| sent.to_str().ok());
    let is_same = has.is_some_and(|sent| sent.split(',').any(|one| one.trim() == tag));
    let mut response = if is_same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, asset.kind)];
        (kind, Bytes::from_static(asset.bytes)).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    // Asked for each time, because a new repod has new ones under the same names.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_once() {
        let mut headers = HeaderMap::new();
        let first = answer("/app.js", &headers).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        headers.insert(header::IF_NONE_MATCH, tag);
        assert_eq!(answer("/app.js", &headers).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("/app.css", &headers).unwrap().status(), StatusCode::OK);
        assert!(answer("/app.js.map", &headers).is_none() && answer("/../x", &headers).is_none());
    }

    /// The policy would refuse it in the browser; here it is seen without one.
    #[test]
    fn the_page_has_nothing_inline_and_nothing_from_elsewhere() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        for never in ["<style", "style=", "onclick", "onload", "javascript:", "//"] {
            assert!(!page.contains(never), "{never}");
        }
        assert!(page.contains(r#"<script type="module" src="/app.js"></script>"#), "{page}");
    }
}
