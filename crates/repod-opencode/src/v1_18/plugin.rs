//! The plugin every backend gets: repod's guard, joined from its files.

/// The guard's source, as it lies beside a backend's state.
pub const GUARD: &str = concat!(
    include_str!("../../../../plugin/environment.js"),
    include_str!("../../../../plugin/common.js"),
    include_str!("../../../../plugin/daemon.js"),
    include_str!("../../../../plugin/opencode.js"),
    include_str!("../../../../plugin/books.js"),
    include_str!("../../../../plugin/rules.js"),
    include_str!("../../../../plugin/stage.js"),
    include_str!("../../../../plugin/consent.js"),
    include_str!("../../../../plugin/route.js"),
    include_str!("../../../../plugin/files.js"),
    include_str!("../../../../plugin/shell.js"),
    include_str!("../../../../plugin/reading.js"),
    include_str!("../../../../plugin/guard.js"),
);
