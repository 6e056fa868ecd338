//! A chat completions request at a provider that speaks Anthropic's Messages.

mod content;
mod errors;
mod request;
mod response;
mod stream;

pub use errors::error;
pub use request::{DEFAULT_MAX_TOKENS, Target, request};
pub use response::{NotAMessage, response};
pub use stream::ToChunks;
