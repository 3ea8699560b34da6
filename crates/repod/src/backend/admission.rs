//! Who may be awake: a start asks before it takes its place among the living. Without a limit
//! everybody may at once; with one the keeper decides, and makes room first.

use repod_proto::RepoId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Starts that wait for the keeper's word; more wait for their turn to ask.
const PETITIONS_MAX: usize = 1024;

/// The count of those awake, and the way to whoever limits it.
#[derive(Clone)]
pub(crate) struct Admission {
    awake: Arc<AtomicUsize>,
    petitions: Option<mpsc::Sender<Petition>>,
}

/// One start that asks.
pub(crate) struct Petition {
    pub(crate) repo: RepoId,
    awake: Arc<AtomicUsize>,
    granted: oneshot::Sender<Place>,
}

/// A place among those awake, as long as it is held.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Admission {
    /// Everybody may.
    pub(crate) fn free() -> Self {
        Self { awake: Arc::default(), petitions: None }
    }

    /// Somebody else decides: whoever takes up these petitions.
    pub(crate) fn limited() -> (Self, mpsc::Receiver<Petition>) {
        let (petitions, received) = mpsc::channel(PETITIONS_MAX);
        (Self { awake: Arc::default(), petitions: Some(petitions) }, received)
    }

    /// A place, once there is one.
    pub(crate) async fn enter(&self, repo: &RepoId) -> Place {
        if let Some(petitions) = &self.petitions {
            let (granted, answer) = oneshot::channel();
            let (repo, awake) = (repo.clone(), Arc::clone(&self.awake));
            // A keeper that is gone limits nobody.
            if petitions.send(Petition { repo, awake, granted }).await.is_ok()
                && let Ok(place) = answer.await
            {
                return place;
            }
        }
        self.note()
    }

    /// A place for one that is awake already.
    pub(crate) fn note(&self) -> Place {
        Place::take(&self.awake)
    }

    pub(crate) fn awake(&self) -> usize {
        self.awake.load(Ordering::Acquire)
    }
}

impl Petition {
    pub(crate) fn grant(self) {
        // Who no longer waits gives it back by dropping it.
        let _ = self.granted.send(Place::take(&self.awake));
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.granted.is_closed()
    }
}

impl Place {
    fn take(awake: &Arc<AtomicUsize>) -> Self {
        awake.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(awake))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_counted_from_the_grant_until_it_is_given_back() {
        let (admission, mut petitions) = Admission::limited();
        let repo: RepoId = "web-3f2a9c1b04de".parse().unwrap();
        let asking = tokio::spawn({
            let (admission, repo) = (admission.clone(), repo.clone());
            async move { admission.enter(&repo).await }
        });
        let petition = petitions.recv().await.unwrap();
        assert_eq!((admission.awake(), &petition.repo), (0, &repo));
        petition.grant();
        let place = asking.await.unwrap();
        assert_eq!(admission.awake(), 1);
        drop(place);
        assert_eq!(admission.awake(), 0);

        let asking = tokio::spawn({
            let admission = admission.clone();
            async move { admission.enter(&repo).await }
        });
        let petition = petitions.recv().await.unwrap();
        asking.abort();
        let _ = asking.await;
        assert!(petition.is_withdrawn());
        petition.grant();
        assert_eq!(admission.awake(), 0, "nobody took it");
    }

    #[tokio::test]
    async fn without_a_keeper_nobody_waits() {
        let repo: RepoId = "web-3f2a9c1b04de".parse().unwrap();
        let free = Admission::free();
        let _place = free.enter(&repo).await;
        assert_eq!(free.awake(), 1);
        let (limited, petitions) = Admission::limited();
        drop(petitions);
        let _place = limited.enter(&repo).await;
    }
}
