//! The rows, in the order of the documentation.

use super::Preset;
use crate::config::model::{Dialect, KeyHeader};
use crate::dialect::OutputLimit;
use crate::openai::Endpoint;
use crate::resume::Continuation;

/// A hosted service with OpenAI's dialect, from which the others differ.
const HOSTED: Preset = Preset {
    name: "",
    title: "",
    model: "",
    dialect: Dialect::OpenAi,
    base_url: None,
    address: "",
    key: None,
    key_header: KeyHeader::Bearer,
    output_limit: OutputLimit::MaxTokens,
    lacks: &[],
    responses: false,
    usage_unasked: false,
    local: false,
    continuation: Continuation::Never,
    probe: None,
    tells_load: &[],
    errors: "OpenAI's",
    note: "",
    source: "",
};

/// A server that one runs oneself.
const fn local(
    name: &'static str,
    title: &'static str,
    model: &'static str,
    base_url: &'static str,
    note: &'static str,
    source: &'static str,
) -> Preset {
    Preset {
        name,
        title,
        model,
        base_url: Some(base_url),
        address: base_url,
        responses: true,
        local: true,
        note,
        source,
        ..HOSTED
    }
}

/// Every preset, in the order of [`RawPreset`].
pub static PRESETS: [Preset; 17] = [
    Preset {
        name: "openai",
        title: "OpenAI",
        model: "gpt-4.1-mini",
        base_url: Some("https://api.openai.com/v1"),
        address: "https://api.openai.com/v1",
        key: Some("OPENAI_API_KEY"),
        output_limit: OutputLimit::MaxCompletionTokens,
        lacks: &[Endpoint::Rerank],
        responses: true,
        source: "platform.openai.com/docs/api-reference",
        ..HOSTED
    },
    Preset {
        name: "anthropic",
        title: "Anthropic",
        model: "claude-sonnet-5-5",
        dialect: Dialect::Anthropic,
        base_url: Some("https://api.anthropic.com/v1"),
        address: "https://api.anthropic.com/v1",
        key: Some("ANTHROPIC_API_KEY"),
        key_header: KeyHeader::XApiKey,
        errors: "`{\"type\": \"error\", \"error\": {\"type\", \"message\"}}`",
        lacks: CHAT_ALONE,
        continuation: Continuation::Message,
        note: "Chat completions are translated. Models since Opus 4.6 refuse to go on with an answer: say \
               `continuation: none` for their deployments.",
        source: "platform.claude.com/docs/en/api/messages",
        ..HOSTED
    },
    Preset {
        name: "azure",
        title: "Azure OpenAI",
        model: "my-deployment",
        address: "https://RESOURCE.openai.azure.com/openai/v1",
        key: Some("AZURE_OPENAI_API_KEY"),
        key_header: KeyHeader::ApiKey,
        output_limit: OutputLimit::MaxCompletionTokens,
        lacks: &[Endpoint::Rerank, Endpoint::Moderations, Endpoint::ImageVariations],
        responses: true,
        note: "The v1 API: `model` is the name of your deployment at Azure.",
        source: "learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        ..HOSTED
    },
    Preset {
        name: "gemini",
        title: "Google Gemini",
        model: "gemini-2.5-flash",
        base_url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
        address: "https://generativelanguage.googleapis.com/v1beta/openai",
        key: Some("GEMINI_API_KEY"),
        errors: "a list of one `{\"error\": {\"code\", \"message\", \"status\", \"details\"}}`",
        lacks: &[
            Endpoint::Completions,
            Endpoint::Rerank,
            Endpoint::Moderations,
            Endpoint::ImageEdits,
            Endpoint::ImageVariations,
            Endpoint::Speech,
            Endpoint::Transcriptions,
            Endpoint::Translations,
        ],
        note: "The OpenAI-compatible endpoint.",
        source: "ai.google.dev/gemini-api/docs/openai",
        ..HOSTED
    },
    Preset {
        name: "mistral",
        title: "Mistral",
        model: "mistral-small-latest",
        base_url: Some("https://api.mistral.ai/v1"),
        address: "https://api.mistral.ai/v1",
        key: Some("MISTRAL_API_KEY"),
        errors: "`{\"object\": \"error\", \"message\", \"type\", \"code\"}`, for keys and fields `{\"detail\"}`",
        lacks: &[
            Endpoint::Completions,
            Endpoint::Rerank,
            Endpoint::Images,
            Endpoint::ImageEdits,
            Endpoint::ImageVariations,
            Endpoint::Translations,
        ],
        usage_unasked: true,
        continuation: Continuation::Prefix,
        note: "`seed` is called `random_seed`; streams have their usage unasked, and `stream_options` is refused. Speech \
               is answered as base64 in JSON.",
        source: "docs.mistral.ai/api",
        ..HOSTED
    },
    Preset {
        name: "groq",
        title: "Groq",
        model: "llama-3.3-70b-versatile",
        base_url: Some("https://api.groq.com/openai/v1"),
        address: "https://api.groq.com/openai/v1",
        key: Some("GROQ_API_KEY"),
        lacks: &[
            Endpoint::Completions,
            Endpoint::Embeddings,
            Endpoint::Rerank,
            Endpoint::Moderations,
            Endpoint::Images,
            Endpoint::ImageEdits,
            Endpoint::ImageVariations,
        ],
        responses: true,
        continuation: Continuation::Message,
        note: "Refuses `logprobs`, `top_logprobs`, `logit_bias`, `messages[].name` and `n` above 1.",
        source: "console.groq.com/docs/openai",
        ..HOSTED
    },
    Preset {
        name: "deepseek",
        title: "DeepSeek",
        model: "deepseek-chat",
        base_url: Some("https://api.deepseek.com"),
        address: "https://api.deepseek.com",
        key: Some("DEEPSEEK_API_KEY"),
        lacks: CHAT_ALONE,
        note: "Completions are under `/beta` alone.",
        source: "api-docs.deepseek.com",
        ..HOSTED
    },
    Preset {
        name: "together",
        title: "Together AI",
        model: "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        base_url: Some("https://api.together.xyz/v1"),
        address: "https://api.together.xyz/v1",
        key: Some("TOGETHER_API_KEY"),
        lacks: &[Endpoint::Moderations, Endpoint::ImageEdits, Endpoint::ImageVariations],
        note: "Has Responses for some models: translated, unless `responses` says otherwise.",
        source: "docs.together.ai/docs/openai-api-compatibility",
        ..HOSTED
    },
    Preset {
        name: "openrouter",
        title: "OpenRouter",
        model: "openai/gpt-4o-mini",
        base_url: Some("https://openrouter.ai/api/v1"),
        address: "https://openrouter.ai/api/v1",
        key: Some("OPENROUTER_API_KEY"),
        errors: "OpenAI's, with the status as `code`; also within a status 200",
        lacks: &[
            Endpoint::Moderations,
            Endpoint::Images,
            Endpoint::ImageEdits,
            Endpoint::ImageVariations,
            Endpoint::Translations,
        ],
        responses: true,
        continuation: Continuation::Message,
        note: "Which parameters work depends on the model. Images are made at a path of its own, `/images`, which \
               `passthrough` leads to.",
        source: "openrouter.ai/docs/api-reference/overview",
        ..HOSTED
    },
    Preset {
        name: "huggingface",
        title: "Hugging Face Inference Providers",
        model: "openai/gpt-oss-120b",
        base_url: Some("https://router.huggingface.co/v1"),
        address: "https://router.huggingface.co/v1",
        key: Some("HF_TOKEN"),
        errors: "`{\"error\": \"...\"}`, or those of the provider behind",
        lacks: CHAT_ALONE,
        responses: true,
        note: "The router; an endpoint of your own has its own address.",
        source: "huggingface.co/docs/inference-providers",
        ..HOSTED
    },
    OLLAMA,
    Preset {
        // Asked of the loop that computes: `/health` is answered beside it, and so also when it hangs.
        probe: Some("/slots"),
        tells_load: &["/metrics", "/slots", "/props"],
        lacks: &[
            Endpoint::Moderations,
            Endpoint::Images,
            Endpoint::ImageEdits,
            Endpoint::ImageVariations,
            Endpoint::Speech,
        ],
        // Has Responses, but its events leave out `output_index` and `sequence_number`, without which OpenAI's SDKs stop,
        // and an answer that its limit ended says `completed` (seen at build b11549).
        responses: false,
        continuation: Continuation::Message,
        ..local(
            "llama-cpp",
            "llama.cpp",
            "qwen3-4b",
            "http://127.0.0.1:8080/v1",
            "Embeddings need `--embeddings`. Probed by `/slots`. Tells its load: `/slots`, and `/metrics` with \
             `--metrics`. Has Responses whose streams OpenAI's SDKs do not understand; `responses: true` passes them \
             through all the same.",
            "github.com/ggml-org/llama.cpp/tree/master/tools/server",
        )
    },
    Preset {
        lacks: TEXT_ALONE,
        responses: false,
        ..local(
            "llama-cpp-python",
            "llama-cpp-python",
            "qwen3-4b",
            "http://127.0.0.1:8000/v1",
            "Usage never comes in streams. A second request interrupts the first, unless it is started with \
             `--interrupt_requests false`.",
            "llama-cpp-python.readthedocs.io/en/latest/server",
        )
    },
    Preset {
        lacks: &[Endpoint::Moderations],
        tells_load: &["/metrics"],
        continuation: Continuation::FinalMessage,
        ..local(
            "vllm",
            "vLLM",
            "Qwen/Qwen3-8B",
            "http://127.0.0.1:8000/v1",
            "Serves one task: a generating model has no embeddings. Tells its load: `/metrics`.",
            "docs.vllm.ai/en/stable/serving/openai_compatible_server",
        )
    },
    Preset {
        lacks: &[Endpoint::Moderations],
        tells_load: &["/metrics"],
        errors: "`{\"object\": \"error\", \"message\", \"type\", \"code\"}`",
        continuation: Continuation::FinalMessage,
        responses: false,
        ..local(
            "sglang",
            "SGLang",
            "Qwen/Qwen3-8B",
            "http://127.0.0.1:30000/v1",
            "Tells its load with `--enable-metrics`. Its rankings are lists of scores: they are made into `results`, as others have them.",
            "docs.sglang.ai/basic_usage/openai_api",
        )
    },
    Preset {
        lacks: NO_EMBEDDINGS,
        errors: "`{\"error\": \"...\", \"error_type\"}`",
        responses: false,
        ..local(
            "tgi",
            "Text Generation Inference",
            "tgi",
            "http://127.0.0.1:8080/v1",
            "Hugging Face's server, here and behind its endpoints.",
            "huggingface.co/docs/text-generation-inference/messages_api",
        )
    },
    Preset {
        lacks: TEXT_ALONE,
        errors: "OpenAI's, or `{\"error\": \"...\"}`",
        ..local(
            "lmstudio",
            "LM Studio",
            "qwen/qwen3-8b",
            "http://127.0.0.1:1234/v1",
            "",
            "lmstudio.ai/docs/developer/openai-compat",
        )
    },
];

pub(super) const OLLAMA: Preset = Preset {
    dialect: Dialect::Ollama,
    tells_load: &["/api/ps"],
    lacks: &[
        Endpoint::Rerank,
        Endpoint::Moderations,
        Endpoint::ImageEdits,
        Endpoint::ImageVariations,
        Endpoint::Speech,
        Endpoint::Translations,
    ],
    ..local(
        "ollama",
        "Ollama",
        "llama3.2",
        "http://127.0.0.1:11434/v1",
        "With `base_url: http://127.0.0.1:11434` by its own API. Tells which models are loaded: `/api/ps`.",
        "docs.ollama.com/api/openai-compatibility",
    )
};

/// What a service lacks that has nothing but chat.
const CHAT_ALONE: &[Endpoint] = &[
    Endpoint::Completions,
    Endpoint::Embeddings,
    Endpoint::Rerank,
    Endpoint::Moderations,
    Endpoint::Images,
    Endpoint::ImageEdits,
    Endpoint::ImageVariations,
    Endpoint::Speech,
    Endpoint::Transcriptions,
    Endpoint::Translations,
];

/// What a server lacks that has chat and completions.
const NO_EMBEDDINGS: &[Endpoint] = CHAT_ALONE.split_at(1).1;

/// What a server lacks that has chat, completions and embeddings.
pub(super) const TEXT_ALONE: &[Endpoint] = CHAT_ALONE.split_at(2).1;
