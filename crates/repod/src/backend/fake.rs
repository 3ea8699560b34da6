//! A backend without a process, for tests of what stands in front of one.

use super::{Confinement, RepoHandle, Request, Usage, View};
use crate::registry::{BackendRecord, Record};
use crate::repo::Repo;
use repod_proto::BackendState;
use repod_supervisor::identity::ProcessIdentity;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

/// What the test holds; the repo is managed as long as it does.
pub(crate) struct Fake {
    record: Mutex<Record>,
    publish: watch::Sender<Arc<View>>,
    pub(crate) handle: RepoHandle,
}

impl Fake {
    /// A repo whose endpoint is on this port; its backend is down.
    pub(crate) fn new(port: u16) -> Self {
        let repo = Repo {
            id: "web-3f2a9c1b04de".parse().unwrap(),
            identity: "/src/web/.git".into(),
            root: "/src/web".into(),
        };
        let mut record = Record::new(&repo);
        record.listens_on(port).unwrap();
        let (publish, views) = watch::channel(Arc::new(View::of(&record)));
        let (requests, received) = mpsc::channel(2000);
        tokio::spawn(serve(received, views.clone()));
        let usage = Usage::new(views.clone());
        let handle = RepoHandle { repo: Arc::new(repo), requests, views, usage };
        Self { record: Mutex::new(record), publish, handle }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.handle.view()
    }

    /// A new generation answers on this port, with the password `own`.
    pub(crate) fn ready(&self, port: u16) {
        self.change(|record| {
            record.state = BackendState::Ready;
            record.generation.0 += 1;
            record.backend = Some(BackendRecord {
                identity: ProcessIdentity::mine().unwrap(),
                port,
                password: "own".into(),
                marker: "m".into(),
                guard: String::new(),
                version: Some("1.18.33".into()),
                started_at: "2026-01-01T00:00:00Z".into(),
                log_offset: 0,
                warnings: Vec::new(),
                confinement: Confinement::default(),
            });
        });
    }

    /// Nothing answers.
    pub(crate) fn down(&self) {
        self.change(|record| record.state = BackendState::Starting);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) {
        let mut record = self.record.lock().unwrap();
        change(&mut record);
        self.publish.send_replace(Arc::new(View::of(&record)));
    }
}

/// Answers `ensure` when the view says ready.
async fn serve(mut requests: mpsc::Receiver<Request>, views: watch::Receiver<Arc<View>>) {
    while let Some(request) = requests.recv().await {
        let Request::Ensure(_, reply) = request else { continue };
        let mut views = views.clone();
        tokio::spawn(async move {
            if let Ok(view) = views.wait_for(|view| view.is_ready()).await {
                let _ = reply.send(Ok(Arc::clone(&view)));
            }
        });
    }
}
