//! What a model server says of itself beside its answers: how many wait at it, how full its cache is, which models it
//! has loaded. Pure: texts in, numbers out; asking is the host's.
//!
//! Read from vLLM's `/metrics` (`vllm:num_requests_waiting`, `vllm:num_requests_running`, `vllm:kv_cache_usage_perc`,
//! before 0.10 `vllm:gpu_cache_usage_perc`), SGLang's (`sglang:num_queue_reqs`, `sglang:num_running_reqs`,
//! `sglang:token_usage`), llama.cpp's `/metrics` (`llamacpp:requests_deferred`, `llamacpp:requests_processing`), `/slots`
//! and `/props`, and Ollama's `/api/ps`.

use serde::Deserialize;

/// What one server said, as far as it did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Requests that wait at the server, whoever sent them.
    pub queue: Option<f64>,
    /// Requests that it carries out.
    pub running: Option<f64>,
    /// Share of its cache of keys and values that is in use.
    pub kv_used: Option<f64>,
    /// Requests that it could take up at once.
    pub free_slots: Option<f64>,
    /// Whether it has the model in memory.
    pub loaded: Option<bool>,
}

impl Report {
    /// Of two answers of one server; what this one does not say is as the other has it.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            queue: self.queue.or(other.queue),
            running: self.running.or(other.running),
            kv_used: self.kv_used.or(other.kv_used),
            free_slots: self.free_slots.or(other.free_slots),
            loaded: self.loaded.or(other.loaded),
        }
    }
}

/// Reads a page of Prometheus' text format. Where a series names a model, only those of `model` count, unless none does
/// or it is not known. `None` when the page is of no server that is known.
pub fn of_metrics(page: &str, model: Option<&str>) -> Option<Report> {
    let series = || page.lines().filter_map(Series::parse);
    let names_it = |one: &Series<'_>| one.label("model_name").is_none_or(|name| Some(name) == model);
    let is_named = model.is_some() && series().any(|one| one.label("model_name").is_some() && names_it(&one));
    // Several engines are one server: counts add up, shares do not.
    let fold = |name: &str, fold: fn(f64, f64) -> f64| {
        let values = series().filter(|one| one.name == name && (!is_named || names_it(one))).map(|one| one.value);
        values.reduce(fold)
    };
    let count = |names: &[&str]| names.iter().find_map(|name| fold(name, |a, b| a + b));
    let share = |names: &[&str]| names.iter().find_map(|name| fold(name, f64::max)).map(|share| share.clamp(0.0, 1.0));
    let report = Report {
        queue: count(&["vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred"]),
        running: count(&["vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing"]),
        kv_used: share(&[
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc",
            "sglang:token_usage",
            "llamacpp:kv_cache_usage_ratio",
        ]),
        ..Report::default()
    };
    (report != Report::default()).then_some(report)
}

/// One line of a page of metrics.
struct Series<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Series<'a> {
    /// `None` for a comment, and for a value that is none.
    fn parse(line: &'a str) -> Option<Self> {
        let (named, value) =
            line.split_once(['{', ' ']).filter(|(name, _)| !name.starts_with('#') && !name.is_empty())?;
        let (labels, value) = if line[named.len()..].starts_with('{') {
            // A label's value may hold a brace: the last one ends the labels.
            value.rsplit_once('}')?
        } else {
            ("", value)
        };
        let value: f64 = value.split_whitespace().next()?.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(Self { name: named, labels, value })
    }

    fn label(&self, name: &str) -> Option<&'a str> {
        let start = self.labels.match_indices(name).find_map(|(at, _)| {
            let is_whole = at == 0 || self.labels[..at].ends_with([',', ' ']);
            self.labels[at + name.len()..].strip_prefix("=\"").filter(|_| is_whole)
        })?;
        start.split('"').next()
    }
}

/// Reads llama.cpp's `/slots`; `None` when it is not that.
pub fn of_slots(json: &[u8]) -> Option<Report> {
    #[derive(Deserialize)]
    struct Slot {
        is_processing: bool,
    }
    let slots: Vec<Slot> = serde_json::from_slice(json).ok()?;
    let busy = slots.iter().filter(|slot| slot.is_processing).count();
    Some(Report { running: Some(busy as f64), free_slots: Some((slots.len() - busy) as f64), ..Report::default() })
}

/// What llama.cpp's `/props` says; `None` when it is not that.
pub fn of_props(json: &[u8]) -> Option<Props> {
    #[derive(Deserialize)]
    struct Raw {
        total_slots: u32,
        default_generation_settings: Settings,
    }
    #[derive(Deserialize)]
    struct Settings {
        n_ctx: u32,
    }
    let raw: Raw = serde_json::from_slice(json).ok()?;
    Some(Props { slots: raw.total_slots, context_tokens: raw.default_generation_settings.n_ctx })
}

/// How a llama.cpp server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Props {
    /// Requests that it carries out at once.
    pub slots: u32,
    /// The context of one of them.
    pub context_tokens: u32,
}

impl Props {
    /// The free slots, where only their number and what runs are told.
    #[must_use]
    pub fn complete(self, report: Report) -> Report {
        let free = report.running.map(|running| (f64::from(self.slots) - running).max(0.0));
        Report { free_slots: report.free_slots.or(free), ..report }
    }
}

/// A model that Ollama has in memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Loaded {
    /// With its tag.
    pub name: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Bytes of it that are in the memory of a graphics card.
    #[serde(default)]
    pub size_vram: u64,
    /// Tokens.
    #[serde(default)]
    pub context_length: u32,
}

/// Reads Ollama's `/api/ps`; `None` when it is not that.
pub fn of_ps(json: &[u8]) -> Option<Vec<Loaded>> {
    #[derive(Deserialize)]
    struct Raw {
        models: Vec<Loaded>,
    }
    Some(serde_json::from_slice::<Raw>(json).ok()?.models)
}

/// Whether a model is among those.
pub fn is_loaded(model: &str, loaded: &[Loaded]) -> bool {
    loaded.iter().any(|one| is_same(model, &one.name))
}

/// Whether two of Ollama's names are one model's; a name without a tag is the one with `latest`.
pub fn is_same(model: &str, other: &str) -> bool {
    let plain = |name: &'_ str| name.len() - if name.ends_with(":latest") { ":latest".len() } else { 0 };
    model[..plain(model)] == other[..plain(other)]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn vllm_s_page_is_read_for_the_model() {
        // vLLM 0.32.0, GET /metrics, shortened; a second engine as `--data-parallel-size 2` gives it.
        let page = "\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine=\"0\",model_name=\"tiny-v\"} 2.0
vllm:num_requests_running{engine=\"1\",model_name=\"tiny-v\"} 1.0
vllm:num_requests_waiting{engine=\"0\",model_name=\"tiny-v\"} 3.0
vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"tiny-v\",reason=\"capacity\"} 9.0
vllm:num_requests_waiting{engine=\"0\",model_name=\"other\"} 70.0
vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"tiny-v\"} 0.25
vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"tiny-v\"} 0.5
vllm:prompt_tokens_total{engine=\"0\",model_name=\"tiny-v\"} NaN
";
        let wanted = Report { queue: Some(3.0), running: Some(3.0), kv_used: Some(0.5), ..Report::default() };
        assert_eq!(of_metrics(page, Some("tiny-v")), Some(wanted));
        // an alias of ours that the server does not know: all of it is about the one
        assert_eq!(of_metrics(page, Some("alias")).unwrap().queue, Some(73.0));
        assert_eq!(of_metrics(page, None).unwrap().running, Some(3.0));
    }

    #[test]
    fn llama_cpp_s_and_sglang_s_pages_are_read() {
        // llama.cpp b11549, GET /metrics, shortened
        let page =
            "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 2\nllamacpp:requests_deferred 3\n";
        let wanted = Report { queue: Some(3.0), running: Some(2.0), ..Report::default() };
        assert_eq!(of_metrics(page, None), Some(wanted));
        // SGLang's docs, Production Metrics
        let page = "sglang:num_running_reqs{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 162.0\n\
                    sglang:token_usage{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 0.28\n\
                    sglang:num_queue_reqs{model_name=\"meta-llama/Llama-3.1-8B-Instruct\"} 2826.0\n";
        let wanted = Report { queue: Some(2826.0), running: Some(162.0), kv_used: Some(0.28), ..Report::default() };
        assert_eq!(of_metrics(page, None), Some(wanted));
        for page in ["", "<html>\n</html>", "go_goroutines 7\n", "vllm:num_requests_waiting -1\n", "{\"a\": 1}"] {
            assert_eq!(of_metrics(page, None), None, "{page}");
        }
    }

    #[test]
    fn slots_and_properties_tell_the_room() {
        // llama.cpp b11549
        let slots = br#"[{"id":0,"n_ctx":1024,"speculative":false,"is_processing":false},{"id":1,"n_ctx":1024,"is_processing":true,"id_task":1072}]"#;
        let report = of_slots(slots).unwrap();
        assert_eq!((report.running, report.free_slots), (Some(1.0), Some(1.0)));
        assert_eq!(of_slots(br#"{"error":{"code":501}}"#), None);
        let props = of_props(br#"{"default_generation_settings":{"params":{},"n_ctx":1024},"total_slots":2}"#).unwrap();
        assert_eq!(props, Props { slots: 2, context_tokens: 1024 });
        let running = |running| Report { running: Some(running), ..Report::default() };
        assert_eq!(props.complete(running(1.0)).free_slots, Some(1.0));
        assert_eq!(props.complete(running(5.0)).free_slots, Some(0.0));
        assert_eq!(props.complete(report).free_slots, Some(1.0));
        assert_eq!(of_props(b"{}"), None);
    }

    #[test]
    fn ollama_s_models_are_known_with_and_without_their_tag() {
        // Ollama's docs/api.md, List Running Models
        let ps = br#"{"models":[{"name":"mistral:latest","model":"mistral:latest","size":5137025024,
            "digest":"2ae6f6dd7a3dd734790bbbf58b8909a606e0e7e97e94b7604e0aa7ae4490e6d8",
            "details":{"parent_model":"","format":"gguf","family":"llama","families":["llama"],
            "parameter_size":"7.2B","quantization_level":"Q4_0"},
            "expires_at":"2024-06-04T14:38:31.83753-07:00","size_vram":5137025024}]}"#;
        let loaded = of_ps(ps).unwrap();
        assert_eq!(
            (&*loaded[0].name, loaded[0].size_vram, loaded[0].context_length),
            ("mistral:latest", 5_137_025_024, 0)
        );
        assert!(is_loaded("mistral", &loaded) && is_loaded("mistral:latest", &loaded));
        assert!(!is_loaded("mistral:7b", &loaded) && !is_loaded("llama3.2", &loaded));
        assert_eq!(of_ps(b"[]"), None);
    }
}
