//! The trust boundary of Witgate: everything that is known about policies as WebAssembly.
//!
//! Bytes come in, checked decisions go out. What a policy can do is bounded here, whatever its author meant: it has a
//! deadline that stops it, a memory limit, no way to the outside but the interfaces that the contract lists, and an
//! answer that is checked before anyone acts on it. How it fails is told apart ([`FailureCause`]) and counted.
//!
//! The way of a policy through this crate:
//! 1. [`Engine::load`]: told apart, wrapped, compiled (or taken from the code cache), inspected, described: a
//!    [`Component`]. A large one is compiled quickly first, and well while it serves ([`Tier`]).
//! 2. [`Engine::bind`]: granted, configured, tried out and warmed up for one configuration: a [`Policy`].
//! 3. [`Chain`]: policies put together for one route, asked for each request.

mod bind;
mod bind_error;
mod bindings;
mod blueprint;
mod cells;
mod chain;
mod code_cache;
mod compiler;
mod component;
mod crash;
mod deadline;
mod engine;
mod failure;
mod hashed;
mod hooks;
mod inspect;
mod instance;
mod limits;
mod load;
mod load_error;
mod logbook;
mod meter;
mod optimise;
mod policy;
mod pool;
mod preview1;
mod private_folder;
mod recent;
mod replace;
mod settings;
mod sniff;
mod state;
mod statistics;
mod subscription;
mod tier;
mod trial;
mod wasi;
mod watch;

pub use bind::Binding;
pub use bind_error::{BindError, BindProblem};
pub use cells::{CellStore, CellValue, MergeRule, SharedTable};
pub use chain::{CONFIGURED_ORDER, Chain, ChainError, ChainStage, Choice, Chosen};
pub use component::{Component, PolicyInfo};
pub use crash::Crash;
pub use engine::{Compiling, Engine, EngineError, EngineOptions};
pub use failure::{Failure, FailureCause};
pub use hashed::Hashed;
pub use hooks::{Hook, Hooks};
pub use inspect::Imports;
pub use instance::instances_in_memory;
pub use load::may_be_policy;
pub use load_error::{LoadError, LoadProblem};
pub use meter::{Meter, PolicyMeter};
pub use policy::Policy;
pub use private_folder::{FolderRefusal, open_private_folder, write_in_private_folder};
pub use settings::{SettingsProblem, canonical as canonical_settings};
pub use sniff::is_unfinished;
pub use statistics::PolicyStatistics;
pub use subscription::SubscriptionError;
pub use tier::Tier;
