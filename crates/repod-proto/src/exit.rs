//! Exit codes of the command line. Frozen: scripts depend on them.

/// Everything asked for was done.
pub const OK: u8 = 0;
/// It was tried and failed.
pub const FAILURE: u8 = 1;
/// The command line or a setting could not be understood.
pub const USAGE: u8 = 2;
/// Nothing is running there, and `--no-start` forbade to start it.
pub const NOT_RUNNING: u8 = 3;
/// `repod audit` found something.
pub const FINDINGS: u8 = 4;
/// A turn stands still until a person answers (`repod prompt`).
pub const WAITING: u8 = 5;
/// Somebody else holds the lease or lock (`EX_TEMPFAIL` of sysexits.h: try again).
pub const BUSY: u8 = 75;
/// The deadline passed (as `timeout(1)` says it).
pub const DEADLINE: u8 = 124;
/// Interrupted by the user (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;
