//! A Responses request at a provider that speaks OpenAI's chat completions.
//!
//! Nothing is kept between two requests: what refers to an earlier response is a loss, and the answer says `store: false`.

mod errors;
mod input;
mod request;
mod response;
mod stream;

#[cfg(test)]
pub(super) use errors::failure;
pub use errors::{error_event, is_failure};
pub use request::{Target, named_as_asked, request};
pub use response::{NotACompletion, response};
pub use stream::ToEvents;
