//! The limits of the machine: what they are, what they should be, and the drop-in files that make
//! it so. Everything lies below a root, `/` or a scratch directory.
//!
//! * [`machine`]: what holds now, by the files and by the kernel;
//! * [`plan`]: which files would make it what it should be; never a lower value than before;
//! * [`ledger`]: writing them so that they can be taken back exactly.

pub mod ledger;
pub mod machine;
pub mod plan;

pub use ledger::{HardenError, Reverted, apply, revert};
pub use machine::{Machine, Value};
pub use plan::{Plan, Row, plan};
