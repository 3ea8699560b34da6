//! Scopes over boot steps that are numbers: what was opened, what was closed, and in which order.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use tokio::sync::Semaphore;

const STEPS: usize = 4;
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

/// What happened: a step of a boot was opened (`+boot.step`) or closed (`-boot.step`).
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Steps {
    diary: Diary,
    boots: AtomicUsize,
    /// The step that fails, from 1; 0: none.
    fails_at: AtomicUsize,
    panics: AtomicBool,
    is_busy: AtomicBool,
    /// Boots with a lower number are no longer current.
    current: AtomicUsize,
    /// A boot takes a permit before its last step.
    gate: Semaphore,
}

impl Boot for Arc<Steps> {
    type Place = PathBuf;
    type Scope = usize;

    fn directory(place: &PathBuf) -> &Path {
        place
    }

    async fn boot(&self, _: PathBuf, undo: Finalizers) -> Result<usize, ApiError> {
        let boot = self.boots.fetch_add(1, SeqCst) + 1;
        for step in 1..=STEPS {
            if self.fails_at.load(SeqCst) == step {
                assert!(!self.panics.load(SeqCst), "the step panics");
                return Err(ApiError::new(ErrorCode::StartFailed, format!("step {step}")));
            }
            self.diary.write(format!("+{boot}.{step}"));
            let diary = self.diary.clone();
            undo.add("step", move |_| async move { diary.write(format!("-{boot}.{step}")) });
            if step == STEPS - 1 {
                self.gate.acquire().await.unwrap().forget();
            }
            tokio::task::yield_now().await;
        }
        Ok(boot)
    }

    fn is_current(&self, scope: &usize) -> bool {
        *scope >= self.current.load(SeqCst)
    }

    fn may_rest(&self, _: &usize) -> bool {
        !self.is_busy.load(SeqCst)
    }
}

fn steps(permits: usize) -> (Arc<Steps>, Scopes<Arc<Steps>>) {
    let steps = Arc::new(Steps {
        diary: Diary::default(),
        boots: AtomicUsize::new(0),
        fails_at: AtomicUsize::new(0),
        panics: AtomicBool::new(false),
        is_busy: AtomicBool::new(false),
        current: AtomicUsize::new(0),
        gate: Semaphore::new(permits),
    });
    let scopes = Scopes::new(Arc::clone(&steps));
    (steps, scopes)
}

fn here() -> PathBuf {
    PathBuf::from("/src/web")
}

fn opened(boot: usize) -> Vec<String> {
    (1..=STEPS).map(|step| format!("+{boot}.{step}")).collect()
}

fn closed(boot: usize, below: usize) -> Vec<String> {
    (1..below).rev().map(|step| format!("-{boot}.{step}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_tasks_that_ask_for_one_directory_cause_one_boot() {
    let (steps, scopes) = steps(0);
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let scopes = scopes.clone();
        tasks.spawn(async move { scopes.with(&here(), async |scope| **scope).await.unwrap() });
    }
    while scopes.users() != [(here(), 64)] {
        tokio::task::yield_now().await;
    }
    steps.gate.add_permits(64);
    assert_eq!(tasks.join_all().await, vec![1; 64]);
    assert_eq!(steps.boots.load(SeqCst), 1);
    assert_eq!(scopes.users(), [(here(), 0)]);
    assert_eq!(steps.diary.take(), opened(1));
}

#[tokio::test]
async fn a_boot_that_fails_at_any_step_closes_what_was_open_in_reverse_and_is_tried_again() {
    for fails_at in 1..=STEPS {
        for panics in [false, true] {
            let (steps, scopes) = steps(100);
            steps.fails_at.store(fails_at, SeqCst);
            steps.panics.store(panics, SeqCst);
            let (one, two) = (here(), here());
            let (first, second) = tokio::join!(scopes.acquire(&one), scopes.acquire(&two));
            let code = if panics { ErrorCode::Internal } else { ErrorCode::StartFailed };
            assert_eq!(first.err().unwrap().code, code);
            assert_eq!(second.err().unwrap().code, code);
            assert_eq!(steps.boots.load(SeqCst), 1, "both wait for the same boot");
            let expected = [&opened(1)[..fails_at - 1], &closed(1, fails_at)[..]].concat();
            assert_eq!(steps.diary.take(), expected);
            assert!(scopes.users().is_empty());
            steps.fails_at.store(0, SeqCst);
            assert_eq!(*scopes.acquire(&here()).await.unwrap(), 2);
            assert_eq!(steps.diary.take(), opened(2));
        }
    }
}

#[tokio::test]
async fn disposal_waits_for_the_users_and_whoever_comes_meanwhile_gets_the_next() {
    let (steps, scopes) = steps(100);
    let lease = scopes.acquire(&here()).await.unwrap();
    let disposing = tokio::spawn({
        let scopes = scopes.clone();
        async move { scopes.dispose(&here(), LONG).await }
    });
    let next = tokio::spawn({
        let scopes = scopes.clone();
        async move { scopes.acquire(&here()).await.map(|lease| *lease) }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!disposing.is_finished() && !next.is_finished());
    assert_eq!(steps.diary.take(), opened(1), "nothing is closed under a user");
    drop(lease);
    assert!(disposing.await.unwrap().unwrap());
    assert_eq!(next.await.unwrap().unwrap(), 2);
    assert_eq!(steps.diary.take(), [closed(1, STEPS + 1), opened(2)].concat());
    assert!(!scopes.dispose(Path::new("/else"), LONG).await.unwrap());
}

#[tokio::test]
async fn disposal_that_waits_too_long_gives_up_and_the_scope_stays() {
    let (steps, scopes) = steps(100);
    let lease = scopes.acquire(&here()).await.unwrap();
    let error = scopes.dispose(&here(), SHORT).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::BackendBusy);
    assert_eq!(scopes.dispose_all(SHORT).await.unwrap_err().code, ErrorCode::BackendBusy);
    assert_eq!(*scopes.acquire(&here()).await.unwrap(), *lease);
    drop(lease);
    assert_eq!(scopes.dispose_all(LONG).await.unwrap(), 1);
    assert_eq!(steps.diary.take(), [opened(1), closed(1, STEPS + 1)].concat());
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_neither_a_boot_nor_a_disposal() {
    let (steps, scopes) = steps(0);
    let leaving = tokio::time::timeout(SHORT, scopes.acquire(&here())).await;
    assert!(leaving.is_err());
    steps.gate.add_permits(2);
    let lease = scopes.acquire(&here()).await.unwrap();
    assert_eq!((*lease, scopes.users()), (1, vec![(here(), 1)]));
    let leaving = tokio::time::timeout(SHORT, scopes.dispose(&here(), LONG)).await;
    assert!(leaving.is_err());
    drop(lease);
    assert_eq!(*scopes.acquire(&here()).await.unwrap(), 2);
    assert_eq!(steps.diary.take(), [opened(1), closed(1, STEPS + 1), opened(2)].concat());
}

#[tokio::test]
async fn one_that_is_no_longer_current_is_replaced_at_once_and_closed_after_its_last_user() {
    let (steps, scopes) = steps(100);
    let old = scopes.acquire(&here()).await.unwrap();
    steps.current.store(2, SeqCst);
    let new = scopes.acquire(&here()).await.unwrap();
    assert_eq!((*old, *new), (1, 2));
    assert_eq!(steps.diary.take(), [opened(1), opened(2)].concat());
    drop(new);
    let closing = tokio::spawn({
        let scopes = scopes.clone();
        async move { scopes.shut_down(LONG).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished(), "the replaced one is waited for too");
    drop(old);
    assert_eq!(closing.await.unwrap().unwrap(), 1);
    assert_eq!(steps.diary.take(), [closed(2, STEPS + 1), closed(1, STEPS + 1)].concat());
    let error = scopes.acquire(&here()).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::ShuttingDown);
}

#[tokio::test]
async fn only_what_nobody_uses_and_nothing_goes_on_in_rests() {
    let (steps, scopes) = steps(100);
    let lease = scopes.acquire(&here()).await.unwrap();
    drop(scopes.acquire(&PathBuf::from("/src/other")).await.unwrap());
    assert_eq!(scopes.rest(LONG).await, 0, "not idle for long enough");
    assert_eq!(scopes.rest(Duration::ZERO).await, 1);
    assert_eq!(scopes.users(), [(here(), 1)]);
    drop(lease);
    steps.is_busy.store(true, SeqCst);
    assert_eq!(scopes.rest(Duration::ZERO).await, 0);
    steps.is_busy.store(false, SeqCst);
    assert_eq!(scopes.rest(Duration::ZERO).await, 1);
    assert_eq!(*scopes.reload(&here(), LONG).await.unwrap(), 3);
    assert_eq!(*scopes.reload(&here(), LONG).await.unwrap(), 4);
}

#[tokio::test]
async fn a_finalizer_that_panics_does_not_keep_the_others_from_running() {
    let (diary, undo) = (Diary::default(), Finalizers::default());
    for name in ["first", "breaks", "last"] {
        let diary = diary.clone();
        undo.add(name, move |end| async move {
            assert!(name != "breaks");
            diary.write(format!("{name} {end:?}"));
        });
    }
    tokio::join!(undo.run(End::Idle), undo.run(End::Disposed));
    let ran = diary.take();
    assert_eq!(ran.len(), 2, "{ran:?}");
    assert!(ran[0].starts_with("last") && ran[1].starts_with("first"));
}

/// What somebody does with the scopes.
#[derive(Clone, Copy, Debug)]
enum Act {
    Acquire(usize),
    Release(usize),
    Dispose(usize),
    Reload(usize),
    Rest,
    Outdate,
    FailAt(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..3usize).prop_map(Act::Acquire),
        3 => (0..8usize).prop_map(Act::Release),
        2 => (0..3usize).prop_map(Act::Dispose),
        1 => (0..3usize).prop_map(Act::Reload),
        1 => Just(Act::Rest),
        1 => Just(Act::Outdate),
        2 => (0..=STEPS).prop_map(Act::FailAt),
    ];
    prop::collection::vec(act, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_opened_is_closed_once_in_reverse_and_never_under_a_user(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (steps, scopes) = steps(10_000);
            let mut leases = Vec::new();
            let place = |n: usize| PathBuf::from(format!("/src/{n}"));
            for act in acts {
                match act {
                    Act::Acquire(n) => leases.extend(scopes.acquire(&place(n)).await.ok()),
                    Act::Release(n) if n < leases.len() => drop(leases.swap_remove(n)),
                    Act::Release(_) => {}
                    Act::Dispose(n) => {
                        drop(scopes.dispose(&place(n), Duration::from_millis(1)).await);
                    }
                    Act::Reload(n) => {
                        leases.extend(scopes.reload(&place(n), Duration::from_millis(1)).await.ok());
                    }
                    Act::Rest => drop(scopes.rest(Duration::ZERO).await),
                    Act::Outdate => steps.current.store(steps.boots.load(SeqCst) + 1, SeqCst),
                    Act::FailAt(step) => steps.fails_at.store(step, SeqCst),
                }
                let diary = steps.diary.0.lock().unwrap();
                for lease in &leases {
                    assert!(!diary.iter().any(|line| line.starts_with(&format!("-{}.", **lease))));
                }
            }
            leases.clear();
            scopes.shut_down(LONG).await.unwrap();
            let diary = steps.diary.take();
            for boot in 1..=steps.boots.load(SeqCst) {
                let of = |sign: &str| -> Vec<String> {
                    let prefix = format!("{sign}{boot}.");
                    diary.iter().filter_map(|line| line.strip_prefix(&prefix)).map(Into::into).collect()
                };
                let (opened, mut closed) = (of("+"), of("-"));
                closed.reverse();
                assert_eq!(opened, closed, "{diary:?}");
            }
        });
    }
}
