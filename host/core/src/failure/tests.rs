//! What servers really say, word for word where it was recorded, and what is made of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use FailureKind::*;

use super::*;

fn diagnose(dialect: Dialect, status: u16, headers: &HeaderMap, body: &str) -> Diagnosis {
    let status = StatusCode::from_u16(status).unwrap();
    Refusal { dialect, status, headers, body: body.as_bytes() }.diagnose(SystemTime::UNIX_EPOCH)
}

fn kind(status: u16, body: &str) -> FailureKind {
    diagnose(Dialect::OpenAi, status, &HeaderMap::new(), body).kind
}

#[test]
fn every_status_has_its_kind() {
    for (statuses, expected) in [
        (&[400, 406, 409, 410, 415, 422, 451][..], BadRequest),
        (&[401, 403], Unauthorised),
        (&[402], QuotaExhausted),
        (&[404, 405, 501], ModelNotFound),
        (&[413], ContextLength),
        (&[429], RateLimited),
        (&[408, 425, 498, 503, 529], Overloaded),
        (&[424, 499, 500, 502, 504, 505, 520, 524, 599], ServerError),
        (&[301, 302, 307, 308], Malformed),
    ] {
        for status in statuses {
            assert_eq!(kind(*status, "{}"), expected, "{status}");
        }
    }
}

/// Server, status, body, kind.
#[rustfmt::skip]
const RECORDED: &[(&str, u16, &str, FailureKind)] = &[
    (
        "Mistral, model",
        400,
        r#"{"object":"error","message":"Invalid model: x","type":"invalid_model","param":null,"code":"1500"}"#,
        ModelNotFound,
    ),
    (
        "DeepSeek, model",
        400,
        r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
        ModelNotFound,
    ),
    (
        "Hugging Face's router, model",
        400,
        r#"{"error":{"message":"The requested model 'x' is not supported by any provider you have enabled.","type":"invalid_request_error","param":"model","code":"model_not_supported"}}"#,
        ModelNotFound,
    ),
    ("TGI, failed", 424, r#"{"error":"Request failed during generation","error_type":"generation"}"#, ServerError),
    (
        "TGI, too long",
        422,
        r#"{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 100 `max_new_tokens`","error_type":"validation"}"#,
        ContextLength,
    ),
    (
        "SGLang, too long",
        400,
        r#"{"object":"error","message":"The input (40000 tokens) is longer than the model's context length (32768 tokens).","type":"BadRequestError","param":null,"code":400}"#,
        ContextLength,
    ),
    ("Groq, flexible tier", 498, r#"{"error":{"message":"Flex tier capacity exceeded.","code":"capacity_exceeded"}}"#, Overloaded),
    (
        "llama.cpp, broken JSON",
        400,
        r#"{"error":{"code":400,"message":"[json.exception.parse_error.101] parse error at line 1, column 29: syntax error","type":"invalid_request_error"}}"#,
        BadRequest,
    ),
    (
        "llama.cpp, no messages",
        400,
        r#"{"error":{"code":400,"message":"'messages' is required","type":"invalid_request_error"}}"#,
        BadRequest,
    ),
    (
        "llama.cpp, no role",
        500,
        r#"{"error":{"code":500,"message":"Failed to parse messages: Missing 'role' in message: {\"content\":\"x\"}","type":"server_error"}}"#,
        BadRequest,
    ),
    (
        "llama.cpp, wrong type",
        400,
        r#"{"error":{"code":400,"message":"Field 'temperature': [json.exception.type_error.302] type must be number, but is string","type":"invalid_request_error"}}"#,
        BadRequest,
    ),
    (
        "llama.cpp, image",
        500,
        r#"{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj","type":"server_error"}}"#,
        Unsupported,
    ),
    (
        "llama.cpp, too long",
        400,
        r#"{"error":{"code":400,"message":"request (3203 tokens) exceeds the available context size (1024 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":3203,"n_ctx":1024}}"#,
        ContextLength,
    ),
    (
        "llama.cpp, key",
        401,
        r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#,
        Unauthorised,
    ),
    (
        "llama.cpp, path",
        404,
        r#"{"error":{"message":"File Not Found","type":"not_found_error","code":404}}"#,
        ModelNotFound,
    ),
    (
        "llama.cpp, embeddings off",
        501,
        r#"{"error":{"code":501,"message":"This server does not support embeddings. Start it with `--embeddings`","type":"not_supported_error"}}"#,
        Unsupported,
    ),
    (
        "llama.cpp, embedding too long",
        500,
        r#"{"error":{"code":500,"message":"input (6000 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}"#,
        ContextLength,
    ),
    (
        "llama.cpp, empty embedding",
        400,
        r#"{"error":{"code":400,"message":"Input content cannot be empty","type":"invalid_request_error"}}"#,
        BadRequest,
    ),
    (
        "llama.cpp, loading",
        503,
        r#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
        Overloaded,
    ),
    (
        "llama.cpp, no slot",
        503,
        r#"{"error":{"code":503,"message":"no slot available","type":"unavailable_error"}}"#,
        Overloaded,
    ),
    (
        "llama.cpp, the model broke the grammar",
        500,
        r#"{"error":{"code":500,"message":"got exception: Unexpected empty grammar stack after accepting piece: x","type":"server_error"}}"#,
        ServerError,
    ),
    (
        "llama.cpp, template",
        500,
        r#"{"error":{"code":500,"message":"Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...","type":"server_error"}}"#,
        BadRequest,
    ),
    (
        "llama.cpp, tools without jinja",
        500,
        r#"{"error":{"code":500,"message":"tools param requires --jinja flag","type":"server_error"}}"#,
        Unsupported,
    ),
    (
        "llama.cpp, tool choice",
        500,
        r#"{"error":{"code":500,"message":"Invalid tool_choice: maybe","type":"server_error"}}"#,
        BadRequest,
    ),
    (
        "vLLM, model",
        404,
        r#"{"error":{"message":"The model `no-such-model` does not exist. Valid aliases: tiny-v.","type":"NotFoundError","param":"model","code":404}}"#,
        ModelNotFound,
    ),
    (
        "vLLM, broken JSON",
        400,
        r#"{"error":{"message":"1 validation error:\n  {'type': 'json_invalid'}","type":"Bad Request","param":"body.28","code":400}}"#,
        BadRequest,
    ),
    (
        "vLLM, field",
        400,
        r#"{"error":{"message":"1 validation error:\n  {'type': 'missing'}","type":"Bad Request","param":"body.messages","code":400}}"#,
        BadRequest,
    ),
    (
        "vLLM, too long",
        400,
        r#"{"error":{"message":"This model's maximum context length is 1024 tokens. However, your prompt contains at least 1025 input tokens, ...","type":"BadRequestError","param":"input_tokens","code":400}}"#,
        ContextLength,
    ),
    (
        "vLLM, temperature",
        400,
        r#"{"error":{"message":"temperature must be non-negative, got -1.0.","type":"BadRequestError","param":"temperature","code":400}}"#,
        BadRequest,
    ),
    (
        "vLLM, tools off",
        400,
        r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","param":null,"code":400}}"#,
        Unsupported,
    ),
    ("vLLM, path", 404, r#"{"detail":"Not Found"}"#, ModelNotFound),
    (
        "llama-cpp-python, too long",
        400,
        r#"{"error":{"message":"This model's maximum context length is 1024 tokens. However, you requested 3203 tokens (3203 in the messages, None in the completion).","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        ContextLength,
    ),
    ("llama-cpp-python, broken JSON", 500, "Internal Server Error", ServerError),
    (
        "llama-cpp-python, field",
        500,
        r#"{"error":{"message":"1 validation error:\n  {'type': 'literal_error'} File \"app.py\", line 376","type":"internal_server_error","param":null,"code":null}}"#,
        BadRequest,
    ),
    (
        "llama-cpp-python, embeddings off",
        500,
        r#"{"error":{"message":"Llama model must be created with embedding=True to call this method","type":"internal_server_error","param":null,"code":null}}"#,
        Unsupported,
    ),
    ("transformers, broken JSON", 422, r#"{"detail":[{"type":"json_invalid"}]}"#, BadRequest),
    ("transformers, field", 422, r#"{"detail":"Unexpected fields in the request: {'unknown_field'}"}"#, BadRequest),
    ("transformers, model", 400, r#"{"detail":"Server is pinned to 'a'; requested 'no-such-model'."}"#, ModelNotFound),
    (
        "Ollama, model",
        404,
        r#"{"error":{"message":"model 'x' not found","type":"not_found_error","param":null,"code":null}}"#,
        ModelNotFound,
    ),
    (
        "Ollama, busy",
        503,
        r#"{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}"#,
        Overloaded,
    ),
    (
        "Ollama, tools",
        400,
        r#"{"error":{"message":"registry.ollama.ai/library/x does not support tools","type":"invalid_request_error","param":null,"code":null}}"#,
        Unsupported,
    ),
    (
        "OpenAI, too long",
        400,
        r#"{"error":{"message":"Too long.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        ContextLength,
    ),
    (
        "OpenAI, limit",
        429,
        r#"{"error":{"message":"Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 30000, Requested 500. Please try again in 1s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
        RateLimited,
    ),
    (
        "OpenAI, quota",
        429,
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        QuotaExhausted,
    ),
    (
        "OpenAI, key",
        401,
        r#"{"error":{"message":"Incorrect API key provided: sk-***.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        Unauthorised,
    ),
    (
        "OpenAI, a model that the key may not use",
        403,
        r#"{"error":{"message":"Project `p` does not have access to model `m`","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
        ModelNotFound,
    ),
    (
        "OpenAI, policy",
        400,
        r#"{"error":{"message":"Your request was rejected as a result of our safety system.","type":"image_generation_user_error","param":null,"code":"moderation_blocked"}}"#,
        ContentPolicy,
    ),
    (
        "OpenAI, parameter",
        400,
        r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
        Unsupported,
    ),
    (
        "Azure, policy",
        400,
        r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400}}"#,
        ContentPolicy,
    ),
    (
        "Anthropic, too long",
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
        ContextLength,
    ),
    (
        "Anthropic, too large",
        413,
        r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        ContextLength,
    ),
    (
        "Anthropic, no credit",
        400,
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        QuotaExhausted,
    ),
    (
        "Anthropic, spend limit",
        429,
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's monthly spend limit."}}"#,
        QuotaExhausted,
    ),
    (
        "Anthropic, busy",
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        Overloaded,
    ),
    (
        "Anthropic, busy behind a proxy",
        502,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        Overloaded,
    ),
    (
        "Google, too long",
        400,
        r#"[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]"#,
        ContextLength,
    ),
    (
        "Google, key",
        400,
        r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
        Unauthorised,
    ),
    (
        "Google, limit",
        429,
        r#"[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34s"}]}}]"#,
        RateLimited,
    ),
    (
        "Google, busy",
        503,
        r#"[{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}]"#,
        Overloaded,
    ),
    (
        "OpenRouter, moderation",
        403,
        r#"{"error":{"code":403,"message":"openai/x requires moderation. Your input was flagged for \"violence\".","metadata":{}}}"#,
        ContentPolicy,
    ),
    ("OpenRouter, no credit", 402, r#"{"error":{"code":402,"message":"Insufficient credits."}}"#, QuotaExhausted),
    (
        "DeepSeek, no credit",
        402,
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
        QuotaExhausted,
    ),
    ("nginx", 502, "<html><head><title>502 Bad Gateway</title></head></html>", ServerError),
];

#[test]
fn what_servers_say_is_understood() {
    for (server, status, body, expected) in RECORDED {
        assert_eq!(kind(*status, body), *expected, "{server}");
    }
}

#[test]
fn a_client_error_is_known_inside_a_500_but_not_behind_a_proxy() {
    let role = r#"{"error":{"message":"Failed to parse messages: Missing 'role'"}}"#;
    assert_eq!((kind(500, role), kind(502, role)), (BadRequest, ServerError));
}

#[test]
fn a_request_that_was_cancelled_upstream_is_ollama_s_499() {
    let words = r#"{"error":"prompt is too long"}"#;
    let of = |dialect| diagnose(dialect, 499, &HeaderMap::new(), words).kind;
    assert_eq!((of(Dialect::Ollama), of(Dialect::OpenAi)), (ServerError, ContextLength));
}

#[test]
fn an_error_inside_a_200_is_told_by_its_words() {
    for (body, expected) in [
        (r#"{"error":{"message":"no"}}"#, ErrorInStream),
        (r#"{"error":"no"}"#, ErrorInStream),
        ("no", ErrorInStream),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
        (r#"{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}"#, RateLimited),
        (r#"{"error":{"message":"Empty.","code":"insufficient_quota"}}"#, QuotaExhausted),
        (r#"{"error":{"message":"prompt is too long: 9 tokens > 8 maximum"}}"#, ContextLength),
        (r#"{"error":{"message":"No.","type":"invalid_request_error"}}"#, BadRequest),
    ] {
        assert_eq!(diagnose_inside(body.as_bytes()).kind, expected, "{body}");
    }
    let limited = r#"{"error":{"message":"Try later: try again in 2s","code":"rate_limit_exceeded"}}"#;
    assert_eq!(diagnose_inside(limited.as_bytes()).retry_after, Some(Duration::from_secs(2)));
}

#[test]
fn a_pause_is_believed_where_waiting_helps() {
    let headers: HeaderMap = [(http::header::RETRY_AFTER, "7".parse().unwrap())].into_iter().collect();
    let pause = |status| diagnose(Dialect::OpenAi, status, &headers, "{}").retry_after;
    let seven = Some(Duration::from_secs(7));
    assert_eq!([429, 503, 500, 529, 401].map(pause), [seven; 5]);
    assert_eq!([400, 404, 413].map(pause), [None; 3]);
}

#[test]
fn what_is_wrong_with_the_request_blames_nobody() {
    for kind in FailureKind::ALL {
        assert!(!(kind.is_the_requests_fault() && kind.blames_deployment()), "{kind:?}");
        assert!(!(kind.is_the_requests_fault() && kind.may_have_run()), "{kind:?}");
    }
}
