//! Looks at one policy without a gateway: makes a project for it, builds it, tests, measures and attacks it.
//!
//! Everything here goes through [`witgate_wasm`] and [`witgate_core`], as requests do: a policy is loaded by the same
//! engine, bound by the same checks, and its verdicts are judged by the same rules. What is new is the situation that
//! it is asked about, which somebody wrote down or the machine made up.
//!
//! - [`scene`], [`guest`], [`situation`], [`twins`]: a gateway on paper, a loaded policy, one question to it, or to two
//! - [`show`], [`table`], [`listen`]: what was asked and answered, for people
//! - [`scenario`], [`draw`]: questions out of a file, and random ones
//! - [`project`], [`new`], [`build`], [`inspect`], [`verify`], [`test`], [`bench`], [`fuzz`]: one for each command

pub mod bench;
pub mod build;
pub mod draw;
pub mod fuzz;
pub mod guest;
pub mod inspect;
pub mod listen;
pub mod new;
pub mod project;
pub mod scenario;
pub mod scene;
pub mod show;
pub mod situation;
pub mod table;
mod template;
pub mod test;
mod tools;
pub mod twins;
pub mod verify;
