//! The hub against a backend that misbehaves on command, and against the real one.

mod fake;
mod faults;
mod readers;
mod real;

use super::{Filter, Hub, Limits, Reader, Upstream};
use fake::Fake;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::sync::watch;

const BOUND: Duration = Duration::from_mins(1);

/// One thing a reader got.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    id: Option<String>,
    data: serde_json::Value,
    comment: Option<String>,
}

impl Got {
    fn kind(&self) -> &str {
        let payload =
            if self.data["payload"].is_object() { &self.data["payload"] } else { &self.data };
        payload["type"].as_str().unwrap_or_default()
    }

    fn properties(&self) -> &serde_json::Value {
        let payload =
            if self.data["payload"].is_object() { &self.data["payload"] } else { &self.data };
        &payload["properties"]
    }

    fn number(&self) -> u64 {
        let id = self.id.as_deref().expect("only events are asked");
        id.split_once('-').unwrap().1.parse().unwrap()
    }
}

/// The next thing; `None` at the end.
async fn next(reader: &mut Reader) -> Option<Got> {
    let next =
        tokio::time::timeout(BOUND, reader.next()).await.expect("something within the bound");
    let Ok(bytes) = next?;
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.ends_with("\n\n"), "{text:?}");
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start().to_owned())
    };
    let data = field("data:").map(|data| serde_json::from_str(&data).unwrap());
    Some(Got { id: field("id:"), data: data.unwrap_or_default(), comment: field(": repod:") })
}

/// Everything up to the first that is wanted, which is the last.
async fn until(reader: &mut Reader, what: &str, wanted: impl Fn(&Got) -> bool) -> Vec<Got> {
    let mut all = Vec::new();
    let find = async {
        loop {
            let got = next(reader).await.unwrap_or_else(|| panic!("the end instead of {what}"));
            let found = wanted(&got);
            all.push(got);
            if found {
                return;
            }
        }
    };
    let found = tokio::time::timeout(BOUND, find).await;
    assert!(found.is_ok(), "waited in vain for {what}; came: {all:#?}");
    all
}

/// A hub on this backend.
fn hub(upstream: Option<Upstream>, limits: Limits) -> (watch::Sender<Option<Upstream>>, Hub) {
    let (name, named) = watch::channel(upstream);
    (name, Hub::new(named, limits))
}
