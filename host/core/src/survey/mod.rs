//! What model servers answer who ask them who they are, and the configuration that is made of it. Pure: answers in,
//! findings and YAML out.
//!
//! Read from the answers of llama.cpp b11549, vLLM 0.32 and llama-cpp-python 0.3.36, from Ollama's `server/routes.go`
//! and `docs/api.md`, SGLang's `entrypoints/http_server.py` and LM Studio's documentation of its endpoints.

mod listed;
mod written;

pub use listed::{of_models, of_props, of_tags};
pub use written::{Written, configuration, watched};

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ollama.
    Ollama,
    /// llama.cpp's own server.
    LlamaCpp,
    /// llama-cpp-python.
    LlamaCppPython,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// LM Studio.
    LmStudio,
    /// Another that speaks OpenAI's dialect.
    Other,
}

impl Kind {
    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ollama => "Ollama",
            Self::LlamaCpp => "llama.cpp",
            Self::LlamaCppPython => "llama-cpp-python",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::LmStudio => "LM Studio",
            Self::Other => "a server with OpenAI's API",
        }
    }

    /// The usual name of its provider.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::LlamaCpp => "llama-cpp",
            Self::LlamaCppPython => "llama-cpp-python",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::LmStudio => "lmstudio",
            Self::Other => "local",
        }
    }

    /// What its provider says it is.
    const fn is(self) -> &'static str {
        match self {
            Self::Ollama => "preset: ollama",
            Self::LlamaCpp => "preset: llama-cpp",
            Self::Vllm => "preset: vllm",
            Self::Sglang => "preset: sglang",
            Self::LmStudio => "preset: lmstudio",
            Self::LlamaCppPython | Self::Other => "dialect: openai",
        }
    }
}

/// A server, and what it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Which program.
    pub kind: Kind,
    /// Its root: `http://host:port`.
    pub address: String,
    /// In its order.
    pub models: Vec<Model>,
}

/// One model, as far as the server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Its name there.
    pub id: String,
    /// Tokens.
    pub context: Option<u64>,
    /// Bytes.
    pub size: Option<u64>,
    /// In the words of a deployment's `capabilities`; empty where nothing is known.
    pub capabilities: Vec<&'static str>,
}

/// Who answers with a list of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A server.
    Server(Kind, Vec<Model>),
    /// A gateway like this one, whose models are somebody else's.
    Gateway,
}
