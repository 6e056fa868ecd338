//! A Messages request at a provider that speaks OpenAI's chat completions.

mod content;
mod errors;
mod request;
mod response;
mod stream;

pub use errors::{error, error_event, is_error};
pub use request::{Target, request};
pub use response::{NotACompletion, response};
pub use stream::ToEvents;
