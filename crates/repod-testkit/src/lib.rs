//! What repod's tests stand on: a scripted model, a world of their own, and waits with a bound.
//!
//! Nothing here is shipped. A failing fixture panics with one clear sentence, because its only
//! callers are tests and the benchmark.
//!
//! ```no_run
//! use repod_testkit::{Script, World};
//!
//! let world = World::builder("/path/of/repod").build();
//! let repo = world.git_repo("web");
//! let endpoint: repod_proto::Endpoint = world.repod(["ensure", "--json"]).dir(&repo).json();
//! let prompt = Script::new().write(repo.join("a.txt"), "a\n").text("done").to_string();
//! world.repod(["prompt", &prompt]).dir(&repo).ok();
//! world.finish();
//! # drop(endpoint);
//! ```

mod bare;
mod config;
pub mod model;
mod oc;
mod postgres;
pub mod proc;
mod script;
pub mod terminal;
mod wait;
pub mod world;
mod writers;

pub use bare::Bare;
pub use config::{
    MODEL, PATCH_MODEL, PROVIDER, Permissions, SMALL_MODEL, provider_config, provider_config_with,
};
pub use model::ModelServer;
pub use oc::{EventStream, Oc, OcError, Prompt, Reply, ToolPart, TurnOutcome};
pub use postgres::Postgres;
pub use script::{Script, Step, ToolCall, patch_add, patch_delete, patch_update};
pub use terminal::Terminal;
pub use wait::wait_until;
pub use world::World;
pub use writers::{Write, Writer, Writers};
