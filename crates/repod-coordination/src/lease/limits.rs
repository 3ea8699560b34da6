//! How much may wait, and for how long.

/// Bounds of a table. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Owners waiting for one branch.
    pub waiters_per_key: usize,
    /// Calls waiting to write in one worktree.
    pub waiting_per_worktree: usize,
    /// Branches held or waited for.
    pub keys: usize,
    /// Calls running and waiting, all told.
    pub calls: usize,
    /// Fence numbers remembered one by one; see the module `fences`.
    pub fences: usize,
    /// No call waits longer for a lease, whatever it asks for.
    pub longest_wait: u64,
    /// How long a call waits for earlier calls on its worktree, once its owner holds the lease.
    pub ticket_wait: u64,
    /// A long-running call that has run for so long lets further calls *of its own owner* run beside it.
    pub share_after: u64,
    /// Where others wait and only long-running calls are left that have run for so long, the lease
    /// goes on without them.
    pub yield_after: u64,
    /// A call still out after its turn ended loses the lease then.
    pub linger: u64,
    /// An owner that holds a lease and runs nothing is asked after so often.
    pub check_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiters_per_key: 64,
            waiting_per_worktree: 256,
            keys: 4_096,
            calls: 16_384,
            fences: 16_384,
            longest_wait: 3_600_000,
            ticket_wait: 120_000,
            share_after: 30_000,
            yield_after: 600_000,
            linger: 5_000,
            check_every: 30_000,
        }
    }
}
