//! What the words of an error give away, in the order in which they are believed: a code, a text that a server is known to
//! say, a type.

use crate::openai::UpstreamError;

/// What an error says about the request, the key or the server, whatever its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    ContextLength,
    ContentPolicy,
    QuotaExhausted,
    ModelNotFound,
    Unauthorised,
    Unsupported,
    Overloaded,
    RateLimited,
    BadRequest,
}

/// The first meaning that fits.
pub(super) fn meaning(error: &UpstreamError) -> Option<Meaning> {
    let named = |text: &Option<String>| {
        let text = text.as_deref()?;
        NAMES.iter().find(|(names, _)| names.contains(&text)).map(|(_, meaning)| *meaning)
    };
    let said = || {
        let marked = MARKS.iter().find(|(marks, _)| marks.iter().any(|mark| error.message.contains(mark)));
        marked.map(|(_, meaning)| *meaning)
    };
    // A type such as `invalid_request_error` is only the last word: servers use it for everything.
    let vague = |text: &Option<String>| text.as_deref().is_some_and(|text| VAGUE.contains(&text));
    named(&error.code).or_else(said).or_else(|| named(&error.kind)).or_else(|| {
        (is_validation_error(&error.message) || vague(&error.kind) || vague(&error.code)).then_some(Meaning::BadRequest)
    })
}

/// llama-cpp-python shows pydantic's list of errors.
fn is_validation_error(message: &str) -> bool {
    message
        .split_once(' ')
        .is_some_and(|(count, rest)| count.parse::<u32>().is_ok() && rest.starts_with("validation error"))
}

/// Of codes and types.
const NAMES: &[(&[&str], Meaning)] = &[
    (&["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"], Meaning::ContextLength),
    // OpenAI; Azure; OpenAI's images
    (&["content_policy_violation", "content_filter", "moderation_blocked"], Meaning::ContentPolicy),
    (
        &[
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "insufficient_credits",
            "billing_error",
        ],
        Meaning::QuotaExhausted,
    ),
    (
        &[
            "model_not_found",
            "model_not_available",
            "NotFoundError",
            "not_found_error",
            // Hugging Face: no provider that is enabled serves it; Mistral, with status 400
            "model_not_supported",
            "invalid_model",
        ],
        Meaning::ModelNotFound,
    ),
    (&["invalid_api_key", "API_KEY_INVALID", "authentication_error", "permission_error"], Meaning::Unauthorised),
    (&["not_supported_error", "unsupported_parameter", "unsupported_value"], Meaning::Unsupported),
    // Anthropic; llama.cpp, while it loads; Google
    (&["overloaded_error", "unavailable_error", "UNAVAILABLE", "server_overloaded"], Meaning::Overloaded),
    (&["rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"], Meaning::RateLimited),
];

const VAGUE: &[&str] = &["invalid_request_error", "BadRequestError", "Bad Request", "INVALID_ARGUMENT"];

/// Of messages.
const MARKS: &[(&[&str], Meaning)] = &[
    (
        &[
            // OpenAI, vLLM, llama-cpp-python: "This model's maximum context length is 1024 tokens. However, ..."
            "maximum context length",
            // llama.cpp: "request (3203 tokens) exceeds the available context size (1024 tokens), try increasing it"
            "exceeds the available context size",
            // llama.cpp, embeddings: "input (6000 tokens) is too large to process. increase the physical batch size"
            "is too large to process",
            // Anthropic: "prompt is too long: 210000 tokens > 200000 maximum"
            "prompt is too long",
            // Google: "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
            "exceeds the maximum number of tokens",
            // Ollama, with truncation off
            "input length exceeds",
            // SGLang: "The input (40000 tokens) is longer than the model's context length (32768 tokens)."
            "is longer than the model's context length",
            // TGI: "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: ..."
            "`max_new_tokens` must be <=",
        ],
        Meaning::ContextLength,
    ),
    (
        &[
            // Azure: "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
            "content management policy",
            // OpenRouter: "... requires moderation on ... Your input was flagged for ..."
            "Your input was flagged",
            "flagged by our safety system",
        ],
        Meaning::ContentPolicy,
    ),
    (
        &[
            // Anthropic
            "credit balance is too low",
            "reached your specified API usage limits",
            "spend limit",
            // DeepSeek
            "Insufficient Balance",
            // OpenRouter
            "Insufficient credits",
        ],
        Meaning::QuotaExhausted,
    ),
    (
        &[
            // transformers: "Server is pinned to 'a'; requested 'b'."
            "Server is pinned to ",
            // DeepSeek, with status 400
            "Model Not Exist",
        ],
        Meaning::ModelNotFound,
    ),
    (
        &[
            // Google says 400 to a wrong key
            "API key not valid",
        ],
        Meaning::Unauthorised,
    ),
    (
        &[
            // llama.cpp
            "image input is not supported",
            "audio input is not supported",
            "does not support embeddings",
            "requires --jinja flag",
            "Unsupported param: tools",
            // llama-cpp-python
            "must be created with embedding=True",
            // vLLM: "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"
            "requires --enable-auto-tool-choice",
            "is not a multimodal model",
            // Ollama: "registry.ollama.ai/library/x does not support tools"
            "does not support tools",
            "does not support thinking",
            "does not support chat",
            "does not support generate",
        ],
        Meaning::Unsupported,
    ),
    (
        &[
            // llama.cpp, which says 500 to them
            "Failed to parse messages",
            "Failed to parse tools",
            "Missing tool type",
            "Unsupported tool type",
            "Invalid tool_choice",
            "Cannot use custom grammar constraints with tools",
            "[json.exception.",
            // a chat template that refuses: "Jinja Exception: Conversation roles must alternate ..."
            "Jinja Exception",
            "Conversation roles must alternate",
            "Only user and assistant roles are supported",
        ],
        Meaning::BadRequest,
    ),
];
