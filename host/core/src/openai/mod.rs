//! The OpenAI wire format, as far as the gateway has to understand it: what routing needs is read, everything else is
//! forwarded as the bytes that came.
//!
//! - [`Endpoint`]: what a client may ask, and what is fixed for each
//! - [`peek()`]: what routing needs out of a request, in one pass
//! - [`form`]: the same out of a form, in pieces as it comes
//! - [`prompt_text`]: the prompt, for policies that were granted it
//! - [`rewrite`]: the request with another model, without copying it
//! - [`Renamed`]: the answer with the name that the client knows the model by
//! - [`batch`]: several requests for embeddings as one
//! - [`usage`], [`Tally`]: what an answer says about tokens and about its own end
//! - [`ErrorBody`], [`UpstreamError`]: errors, ours and theirs

pub mod batch;
mod content;
mod endpoint;
mod error;
mod estimate;
pub mod form;
pub mod json;
mod peek;
mod prompt;
mod ranking;
mod renamed;
mod request_error;
mod response_id;
pub mod rewrite;
mod tally;
pub mod usage;

pub use endpoint::{BodyShape, Endpoint};
pub use error::{ErrorBody, UpstreamError};
pub use form::FormError;
pub use peek::{Peek, peek};
pub use prompt::{prompt_text, prompt_tokens_at_least};
pub use ranking::ranking;
pub use renamed::Renamed;
pub use request_error::RequestError;
pub use response_id::response_id;
pub use rewrite::{ModelLiteral, RequestBody};
pub use tally::{Seen, Tally};
pub use usage::Usage;
