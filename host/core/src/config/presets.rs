//! Services that are known by name: what `preset` in a provider stands for. One row for each, with its source;
//! `docs/providers.md` is written from them.

mod page;
mod table;

use std::fmt::Write as _;

pub use table::PRESETS;
use table::{OLLAMA, TEXT_ALONE};

use super::model::{Dialect, KeyHeader};
use super::raw::providers::RawPreset;
use crate::dialect::OutputLimit;
use crate::openai::Endpoint;
use crate::resume::Continuation;

/// A service.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What a provider says in `preset`.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// For the documentation: a model that it may have.
    pub model: &'static str,
    /// Its API's shape.
    pub dialect: Dialect,
    /// Where it is; `None` where everybody has an address of their own.
    pub base_url: Option<&'static str>,
    /// For messages and the documentation: what an address looks like.
    pub address: &'static str,
    /// The environment variable that its key is usually in; `None` where it needs none.
    pub key: Option<&'static str>,
    /// The header that the key is sent in.
    pub key_header: KeyHeader,
    /// What it calls the longest answer.
    pub output_limit: OutputLimit,
    /// Endpoints that it does not have, by its documentation; of servers that one runs oneself, what no version has.
    pub lacks: &'static [Endpoint],
    /// Whether it has the Responses API; elsewhere that is translated.
    pub responses: bool,
    /// Whether a stream has its usage unasked; then it is not asked for, because asking may be refused.
    pub usage_unasked: bool,
    /// Whether it is a server that one runs oneself: a call costs time, and no money.
    pub local: bool,
    /// How its models go on with an answer that another one began.
    pub continuation: Continuation,
    /// What says best whether it is well, from its root; `None` where the dialect's questions do.
    pub probe: Option<&'static str>,
    /// Questions about its load that it answers, from its root.
    pub tells_load: &'static [&'static str],
    /// For the documentation: what its errors look like. All are told in the client's dialect.
    pub errors: &'static str,
    /// What else to know.
    pub note: &'static str,
    /// Where this is from.
    pub source: &'static str,
}

impl RawPreset {
    /// Its row.
    pub(super) fn row(self) -> &'static Preset {
        &PRESETS[self as usize]
    }
}

fn continuation(continuation: Continuation) -> String {
    match continuation {
        Continuation::Never => "no".to_owned(),
        Continuation::Message | Continuation::FinalMessage | Continuation::Prefix => {
            format!("`{}`", continuation.name())
        }
    }
}

/// The text of `docs/providers.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for preset in &PRESETS {
        let key = preset.key.map_or_else(|| "none".to_owned(), |key| format!("`{key}`"));
        let served = |endpoint| if preset.lacks.contains(&endpoint) { "no" } else { "yes" };
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {key} | {} | {} | {} | {} | {} | [source](https://{}) |",
            preset.name,
            preset.title,
            preset.address,
            served(Endpoint::Completions),
            served(Endpoint::Embeddings),
            if preset.responses { "yes" } else { "translated" },
            continuation(preset.continuation),
            preset.note,
            preset.source
        );
    }
    text.push_str(&page::sections());
    text.push_str(TRANSLATION);
    text.push_str(MORE);
    text.push_str(CATALOGUE);
    text
}

const INTRODUCTION: &str = "\
# Providers

This page is generated from `host/core/src/config/presets.rs`.

A provider is one service that the gateway calls. It says either its `dialect` and address, or a `preset` that knows \
both:

```yaml
providers:
  groq: {preset: groq}                # key from GROQ_API_KEY
  claude: {preset: anthropic, api_key: {file: /run/secrets/anthropic}}
  azure: {preset: azure, base_url: \"https://RESOURCE.openai.azure.com/openai/v1\"}
  here: {dialect: openai, base_url: \"http://127.0.0.1:8080/v1\"}
```

What a preset fills in can be said otherwise: `base_url`, `api_key`, and every timeout. Without `api_key` the key is \
taken from the environment variable in the table; that it is not set is an error, unless `base_url` leads somewhere \
else. A request for an endpoint that the service does not have is refused without being sent.

## Presets

All serve chat completions. Clients may ask any of them for chat completions, for Responses, or in Anthropic's or Ollama's \
dialect; `responses` of a provider says otherwise whether it has Responses.

\"Goes on\" is how a chat's answer that another deployment began is gone on with where a route has `resume`; completions \
are gone on with anywhere.

| preset | service | address | key | completions | embeddings | responses | goes on | note | |
|---|---|---|---|---|---|---|---|---|---|
";

const TRANSLATION: &str = "
## Dialects

A client asks for chat completions (`/v1/chat/completions`), for OpenAI's Responses (`/v1/responses`), in Anthropic's \
dialect (`/v1/messages`, `/v1/messages/count_tokens`), or in Ollama's (`/api/chat`, `/api/generate`, `/api/embed`), \
whatever the provider speaks. Where both speak the same, the client's bytes are sent with only `model` replaced, and the \
answer's bytes come back. Else the request is translated, and so are answer, stream and errors; chat completions are \
between any two others.

Translated are: system prompts, texts, images, PDF files, tools and parallel tool calls with their results, tool choice, \
JSON schemas, stop words, the effort of reasoning, usage with cached and reasoning tokens, and reasons for the end. \
Anthropic's thinking is `reasoning_content` for a client of OpenAI's dialect, and `thinking_blocks` with their \
signatures, which the client should send back with the results of tools.

What a dialect cannot say is never left out in silence: `on_loss` of the provider says whether it is refused with status \
400 or left out and named in the header `x-witgate-dropped`. Fields that neither dialect knows are sent as they are: \
the provider judges.

| lost on the way | to Anthropic | from Anthropic's Messages to chat completions | from Responses to chat completions |
|---|---|---|---|
| demands | `n`, `logprobs`, `top_logprobs`, audio, `response_format: json_object`, `functions`, custom tools, \
`allowed_tools`, `web_search_options`, files by id | tools that Anthropic runs itself, `container`, `mcp_servers`, \
`context_management`, `inference_geo`, files by id | `previous_response_id`, `conversation`, `prompt`, `background`, \
`item_reference`, tools that OpenAI runs itself, custom tools, `allowed_tools`, `context_management`, `moderation`, \
files by id or URL |
| hints | `seed`, penalties, `logit_bias`, `temperature` above 1 (sent as 1), `store`, `metadata`, `prediction`, \
`verbosity`, `service_tier`, names of messages, the place of a late system message, `reasoning_content` without its \
signature | `thinking`, `cache_control`, `speed`, `is_error`, thinking of earlier turns | `store`, \
`truncation: auto`, `max_tool_calls`, `reasoning.summary`, `include` (but log probabilities), obfuscation of streams, \
reasoning of earlier turns (but what Anthropic thought goes back to it, with its signatures) |

From Responses to Anthropic a request goes both ways, one after the other. An answer that is translated to a response \
is kept nowhere (it says `store: false`): a client has to send the whole conversation each time. Of a response that a \
provider keeps the gateway remembers which one does, for the tenant that it was made for and until it is started anew: \
`previous_response_id` leads there and nowhere else. One that it does not know goes where the policies say, and the \
provider answers that it does not exist. `GET` and `DELETE /v1/responses/{id}`, `cancel` and `input_items` go to the same \
provider; for one that is not known, to the one that `passthrough` names, else the answer is 404. A response is cached \
only when its request says `store: false` too.

Anthropic requires `max_tokens`: where the client says none, it is the deployment's `max_output_tokens`, else 8192. \
`count_tokens` is answered by the provider where it is Anthropic, else by estimate; the header `x-witgate-counted-by` \
says which.

## Ollama

As a provider, Ollama has two sides. At an address that ends with `/v1` (the default) it is spoken to in OpenAI's \
dialect. At its root (`base_url: http://127.0.0.1:11434`) its own API is spoken: `/api/chat`, `/api/generate` for \
completions, `/api/embed`. There `options` (`num_ctx`, `num_gpu`, ...), `keep_alive`, `think` and `format` of a request \
reach it, and what it cannot do is refused instead of ignored: its `/v1` takes `n`, `tool_choice` and `logit_bias`, and \
pays no heed to them.

| lost on the way | to Ollama | from Ollama's clients |
|---|---|---|
| demands | `n`, `tool_choice` other than `auto` and `none`, audio output, custom tools, `functions`, images by URL, \
files, several prompts or tokens in one completion, `echo`, `best_of`, `logprobs` of completions | `template`, `suffix`, \
`raw`, `context` |
| hints | `logit_bias`, `parallel_tool_calls: false`, `store`, `metadata`, `prediction`, `verbosity`, `service_tier`, \
names of messages | `keep_alive`, `truncate`, `shift`, options about loading (`num_ctx`, `num_gpu`, `num_thread`, ...) |

Ollama's clients find at the gateway's root what they look for: `/api/tags`, `/api/ps`, `/api/show` and `/api/version` \
beside the three above. Models are called as in `/v1/models`; `:latest` may follow. Errors are `{\"error\": \"...\"}`, in \
a stream as its last line. An API key goes in `Authorization: Bearer`, which the official clients take from \
`OLLAMA_API_KEY`.

## What servers say of themselves

A server of one's own is asked now and then how it is (`facts` of the provider; `http://` addresses by default): vLLM \
and SGLang by `/metrics`, llama.cpp by `/metrics`, `/slots` and `/props`, Ollama by `/api/ps`. Policies read it as \
signals, and Prometheus as gauges. What a server does not tell is said in the log once; its signals are neutral, as they \
are when nothing has been heard for three intervals.

| signal | metric | vLLM | SGLang | llama.cpp | Ollama | neutral |
|---|---|---|---|---|---|---|
| `upstream-queue` | `witgate_upstream_queue` | yes | yes | with `--metrics` | | 0 |
| `upstream-running` | `witgate_upstream_running` | yes | yes | yes | | 0 |
| `upstream-free-slots` | `witgate_upstream_free_slots` | | | yes | | 1000000 |
| `kv-used` | `witgate_upstream_kv_used` | yes | yes | | | 0 |
| `model-loaded` | `witgate_upstream_model_loaded` | | | | yes | 1 |

The policy `least-loaded` uses them with `prefer_ready: true`: first who has the model loaded and room for a request.
";

const MORE: &str = "
## Other endpoints

Routed by model through the policies, as chat is, at providers of OpenAI's dialect (`anthropic` and `demo` have none of \
them):

| endpoint | request | answer |
|---|---|---|
| `/v1/rerank`, also `/v2/rerank`, `/v1/reranking` | JSON with `query` and `documents`, as Jina, Cohere, llama.cpp \
(`--reranking`) and vLLM have it | JSON; SGLang's list is made into what those answer |
| `/v1/moderations` | JSON; without `model`: `omni-moderation-latest` | JSON |
| `/v1/images/generations` | JSON; without `model`: `dall-e-2` | JSON or events |
| `/v1/images/edits`, `/v1/images/variations` | form (edits: or JSON); without `model`: `dall-e-2` | JSON or events |
| `/v1/audio/speech` | JSON | sound or events, as they come |
| `/v1/audio/transcriptions`, `/v1/audio/translations` | form | JSON, text or events |

Only `model` is replaced. What is not JSON is passed on as it comes, and is never kept in the cache.

A form is read until its field `model` has come, wherever that is, but no further than `server.body_limit`. A form of \
less than 1 MiB is read to its end, so it can be tried at one deployment after another, and nobody is asked if something \
is wrong with it. Of a larger one the rest goes by piece by piece, up to `server.upload_limit`, and takes no memory; once \
a piece of it has gone to an upstream, no other is tried (`witgate_retries_refused_total{reason=\"spent\"}`), and it is \
never hedged. Put `model` before the file: the Python SDK does, JavaScript's keeps your order. If the rest turns out to be \
wrong (cut off, a second `model`), the client is told so and the upstream never gets the end of it. A policy's overlay does \
not apply to forms.

## What is passed through

```yaml
passthrough:
  provider: openai                # every other path below /v1/
  paths: {/v1/files: here}        # but these
```

Files, batches, fine-tuning, vector stores, assistants, and whatever else a provider has below `/v1/`, are passed through \
with method, query, headers and body, streamed both ways, with the provider's first key in place of the client's. What lies \
at one provider does not lie at another, so no policy is asked and nothing is tried twice. Keys, limits, timeouts, the log and \
the metrics (`endpoint=\"passthrough\"`) apply as to everything; the header `x-witgate-provider` says where it went. \
Tenants share the provider's account there: who may ask for one file may ask for all. WebSockets are not passed through. \
Without this section such paths are not found.

## Embeddings that are sent as one

With `embedding_batch` (on for presets of servers that one runs oneself, off for all others), small requests for \
embeddings that come while another one runs at the same deployment wait for each other, at most `window` (5 ms), and are sent \
as one. Only those with the same parameters are. Each client gets its own answer with its share of the usage, an attempt and a \
receipt of its own; `x-witgate-batched` says how many went together. If the upstream finds something wrong with all of them, \
each is sent by itself. A client that asks one thing after another never waits. Where Ollama's own API is spoken, they go as \
one list to `/api/embed`; what Ollama's clients ask there is sent one by one.
";

const CATALOGUE: &str = "
## Prices, limits and capabilities

A list of some 1,000 models is built in: what they cost, how much they hold, what they can do. It is dated, and made \
by `host/core/src/catalogue/make.py` out of LiteLLM's public list. `witgate models WORD...` looks models up in it; \
`witgate models --config FILE` shows what each deployment is taken for, and `witgate check` tells what was guessed: a \
date that the list does not have, a vendor's name in front. Models on one's own servers are not in it. What is written \
counts before what a server tells, and that before what the list says:

```yaml
catalogue:                                   # adds to the list, or says otherwise; may be a file of its own in a folder
  openai/gpt-4o: {price: {input: 2, output: 8, cached_input: 1}}
  here/qwen3: {price: {input: 0.1, output: 0.2}, context_tokens: 32768, capabilities: [tools], lacks: [vision]}
deployments:
  prod-chat@azure: {catalogue: azure/gpt-4o}  # where the model's name at the provider is one's own
  gpt-4o@openai: {lacks: [vision]}
  qwen3@here: {capabilities: [code_generation]}
```

A capability is known to be there, known to be missing, or not known. A request is sent only to deployments that are \
not known to be unable, by what its body says: tools, images, audio, a JSON schema, an effort of reasoning, the \
endpoint, and the length of the prompt. When all are, it is answered at once as OpenAI would (`unsupported_parameter`, \
`context_length_exceeded`, ...), and nobody is asked. Among the others policies choose. A prompt is too long only where \
no tokeniser could make it fit: words and numbers alone are counted. The window of a server of one's own need not be \
written down: llama.cpp tells what a slot has (`n_ctx`), vLLM and SGLang `max_model_len`, Ollama the `context_length` of \
a model that is loaded, else `num_ctx` of its Modelfile. They are asked when a configuration comes into service, and once a \
minute. Ollama by itself cuts a prompt that is too long; who sends `num_ctx` has his own window, and is not refused. `max_tokens` counts with it where the provider \
counts it, at OpenAI, Azure and vLLM, for models that do not reason. A client's `anthropic-beta: context-1m...` leaves \
the window to the provider.

**Cost.** Each answer's receipt has `x-witgate-cost-usd`, by the tokens that the upstream counts: fresh, cached and \
cache-writing input, output and reasoning, each at its price, and long prompts at theirs. A stream's header is sent \
before its tokens are known, so its cost is in the log (`usd`) and the metrics (`witgate_cost_usd_total` by \
deployment, `witgate_route_cost_usd_total` by route) alone, and policies are told it as the outcome field `usd`. An answer from the cache costs 0; where \
the price is not known, the header is left out.

**Estimates.** Before a call, a prompt's tokens are estimated in one pass over its bytes (about 1 µs for 1 kB). Policies see the estimate as the fact `prompt-tokens`, and it is what \
`count_tokens` answers where the provider does not count.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_page_is_the_table() {
        crate::golden::hold("docs/providers.md", &markdown());
    }

    #[test]
    fn every_row_is_whole() {
        for preset in &PRESETS {
            let named: Result<RawPreset, _> = serde_json::from_value(preset.name.into());
            assert!(named.is_ok_and(|named| std::ptr::eq(named.row(), preset)), "{}", preset.name);
            assert!(
                !preset.title.is_empty() && !preset.model.is_empty() && !preset.source.is_empty(),
                "{}",
                preset.name
            );
            assert_eq!(preset.base_url.unwrap_or(preset.address), preset.address, "{}", preset.name);
            assert!(preset.address.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some()), "{}", preset.name);
        }
    }
}
