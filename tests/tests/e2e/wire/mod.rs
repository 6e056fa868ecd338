//! What clients of OpenAI rely on, point by point: each has tests here that are named after it, `wire_01_` to `wire_22_`.
//!
//! 1. Events with any line end, at once, as they are
//! 2. One end
//! 3. Errors in a stream, and none committed before the first event
//! 4. Keep-alive comments
//! 5. Usage in a stream
//! 6. Tool calls in pieces
//! 7. The error object
//! 8. Headers to the client
//! 9. Headers to the upstream
//! 10. Whether to retry, and when
//! 11. The upstream's wait, in all its forms: also `host/core/src/failure/pause.rs`
//! 12. Unknown fields
//! 13. Fields and numbers that must not change
//! 14. The model in the answer
//! 15. Packed bodies
//! 16. A client that hangs up: also `cancel`, `hedge`; status 499 in the log: `bad_input`
//! 17. Four timeouts: here and in `timeouts`
//! 18. The body limit: also `bad_input`
//! 19. Paths, `HEAD`, `OPTIONS`: also `models`, `bad_input`, browsers: `cors`
//! 20. Several choices; the encoding of embeddings; forms, piece by piece: `endpoints`
//! 21. Connections
//! 22. Anthropic's side: also `messages`

mod anthropic;
mod bodies;
mod connections;
mod errors;
mod headers;
mod streams;

const FIRST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n";
const LAST: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const ASK: &str = r#"{"model":"fast","messages":[]}"#;
