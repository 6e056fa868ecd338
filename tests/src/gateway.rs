//! The real gateway, in this process, with a configuration that is written to a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use witgate::app::App;
use witgate::config_files::{ConfigFiles, Overrides};

use crate::client::{Answer, EventStream, Request, chat_request, send_raw, stream_request};
use crate::{Upstream, eventually, in_time};

/// A configuration that is being put together.
#[derive(Debug)]
pub struct Builder {
    config: Value,
    providers: Vec<SocketAddr>,
    policies: Option<Value>,
    files: Vec<(String, Vec<u8>)>,
}

/// A gateway: say which models it has, then [`start`](Builder::start) it. Unless told otherwise, its routes are
/// decided by `in-order`.
pub fn gateway() -> Builder {
    let code_cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tests/code-cache");
    let config = json!({
        // there is no load balancer to wait for
        "server": {"listen": "127.0.0.1:0", "drain_delay": "0s"},
        // compiled once for all tests
        "policies": {"directory": "policies", "poll": "200ms", "code_cache": code_cache},
        "providers": {}, "deployments": {}, "routes": {},
    });
    Builder { config, providers: Vec::new(), policies: None, files: Vec::new() }
}

impl Builder {
    /// A route of this name over these upstreams. The first upstream that is named becomes the provider `a`, the next
    /// `b`, and so on; the deployment of `fast` at `a` is `fast@a`, and the upstream knows it as `real-fast`.
    #[must_use]
    pub fn model<'a>(mut self, name: &str, upstreams: impl IntoIterator<Item = &'a Upstream>) -> Self {
        let addresses = upstreams.into_iter().map(Upstream::address);
        let ids: Vec<String> = addresses.map(|address| self.deployment(name, address)).collect();
        self.config["routes"][name] = json!({"deployments": ids});
        self
    }

    /// A route of this name over deployments of which some have nobody listening.
    #[must_use]
    pub fn model_at(mut self, name: &str, addresses: &[SocketAddr]) -> Self {
        let ids: Vec<String> = addresses.iter().map(|address| self.deployment(name, *address)).collect();
        self.config["routes"][name] = json!({"deployments": ids});
        self
    }

    /// Every route that does not say otherwise is decided by this policy.
    #[must_use]
    pub fn policy(self, name: &str) -> Self {
        self.policies(&[name])
    }

    /// Every route that does not say otherwise is decided by this chain.
    #[must_use]
    pub fn policies(mut self, chain: &[&str]) -> Self {
        self.policies = Some(json!(chain));
        self
    }

    /// A file in the policy folder.
    #[must_use]
    pub fn policy_file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.push((name.to_owned(), bytes.to_owned()));
        self
    }

    /// Client keys, each with its name.
    #[must_use]
    pub fn keys(mut self, keys: &[(&str, &str)]) -> Self {
        let keys: Vec<Value> = keys.iter().map(|(name, key)| json!({"name": name, "key": key})).collect();
        self.config["auth"] = json!({"keys": keys});
        self
    }

    /// More configuration, laid over what there is: maps are joined, anything else is replaced.
    #[must_use]
    pub fn config(mut self, more: Value) -> Self {
        lay_over(&mut self.config, more);
        self
    }

    /// Starts it.
    pub async fn start(self) -> Gateway {
        self.try_start().await.unwrap_or_else(|refusal| panic!("the gateway does not start: {refusal}"))
    }

    /// Starts it, or gives the reason why not.
    ///
    /// # Errors
    /// What the command line would print.
    pub async fn try_start(self) -> Result<Gateway, String> {
        Self::start_in(self.write()).await
    }

    /// Starts with the files of a folder, for example after a first gateway has ended.
    ///
    /// # Errors
    /// What the command line would print.
    pub async fn start_in(folder: impl Into<Arc<Folder>>) -> Result<Gateway, String> {
        let folder = folder.into();
        let mut files = ConfigFiles::at(folder.config_file(), Overrides::default());
        let mut loaded = files.load().map_err(|problems| problems.join("\n"))?;
        // relative to the working directory, which tests share
        loaded.config.policies.directory = folder.policies();
        let app = App::start(files, loaded, |_| ()).await.map_err(|error| error.to_string())?;
        Ok(Gateway { address: app.address(), app: Some(app), folder })
    }

    /// Only writes the files, for a gateway that is a process of its own.
    pub fn write(mut self) -> Folder {
        let folder = Folder { temporary: tempfile::tempdir().expect("a folder") };
        fs::create_dir(folder.policies()).expect("a folder");
        self.config["policies"]["directory"] = json!(folder.policies());
        // with the folder, so that what is kept is there as long as it is
        if self.config["policies"].get("revisions").is_none() {
            self.config["policies"]["revisions"] = json!(folder.path().join("revisions"));
        }
        let chain = self.policies.unwrap_or(json!(["in-order"]));
        for route in self.config["routes"].as_object_mut().into_iter().flat_map(Map::values_mut) {
            if route.get("policies").is_none() {
                route["policies"] = chain.clone();
            }
        }
        for (name, bytes) in self.files {
            folder.put_policy(&name, &bytes);
        }
        folder.write_config(&self.config);
        folder
    }

    fn deployment(&mut self, model: &str, address: SocketAddr) -> String {
        let place = self.providers.iter().position(|known| *known == address).unwrap_or_else(|| {
            self.providers.push(address);
            self.providers.len() - 1
        });
        let provider = char::from(b'a' + u8::try_from(place).expect("few providers"));
        self.config["providers"][provider.to_string()] = json!({
            "dialect": "openai", "base_url": format!("http://{address}/v1"), "api_key": "sk-provider",
            // a probe would count as a hit, and so would a question about the server
            "probe": {"enabled": false},
            "facts": {"enabled": false},
        });
        let id = format!("{model}@{provider}");
        self.config["deployments"][&id] = json!({"model": format!("real-{model}")});
        id
    }
}

/// Configuration and policy folder of one gateway; removed with the value.
#[derive(Debug)]
pub struct Folder {
    temporary: TempDir,
}

impl Folder {
    /// Where all of it is.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.path().join("witgate.yaml")
    }

    /// The policy folder.
    pub fn policies(&self) -> PathBuf {
        self.path().join("policies")
    }

    /// Puts a policy into the folder as one should: written beside it, then renamed.
    pub fn put_policy(&self, name: &str, bytes: &[u8]) {
        let beside = self.path().join(format!("{name}.new"));
        fs::write(&beside, bytes).expect("a file");
        fs::rename(beside, self.policy_file(name)).expect("a rename");
    }

    /// Where a policy's file is.
    pub fn policy_file(&self, name: &str) -> PathBuf {
        self.policies().join(format!("{name}.wasm"))
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.config_file()).expect("a configuration")).expect("JSON")
    }

    /// Replaces the configuration.
    pub fn write_config(&self, config: &Value) {
        let text = serde_json::to_string_pretty(config).expect("JSON, which is YAML");
        self.write_config_text(&text);
    }

    /// Replaces the configuration by any text.
    pub fn write_config_text(&self, text: &str) {
        let beside = self.path().join("witgate.yaml.new");
        fs::write(&beside, text).expect("a file");
        fs::rename(beside, self.config_file()).expect("a rename");
    }

    /// Lays this over the configuration.
    pub fn edit_config(&self, more: Value) {
        let mut config = self.config();
        lay_over(&mut config, more);
        self.write_config(&config);
    }
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    app: Option<App>,
    /// Its files.
    pub folder: Arc<Folder>,
}

impl Gateway {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shuts it down and starts another one with the same files.
    ///
    /// # Panics
    /// When that one does not start.
    pub async fn restart(self) -> Self {
        let folder = Arc::clone(&self.folder);
        self.stop().await;
        Builder::start_in(folder).await.unwrap_or_else(|refusal| panic!("the gateway does not start again: {refusal}"))
    }

    /// Any request.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    /// A request with a JSON body.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Request {
        self.request("POST", path).json(body)
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// Asks for a chat completion.
    pub async fn chat(&self, model: &str, text: &str) -> Answer {
        self.post(CHAT, chat_request(model, text).to_string()).send().await
    }

    /// Asks for a streamed chat completion.
    pub async fn stream(&self, model: &str, text: &str) -> EventStream {
        self.post(CHAT, stream_request(model, text).to_string()).stream().await
    }

    /// Sends bytes that need not be HTTP.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(&send_raw(self.address, bytes).await).into_owned()
    }

    /// A metric's value with exactly these labels as they are printed, such as
    /// `witgate_attempts_total{deployment="fast@a",outcome="served"}`; 0 when it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        metric_in(self.get("/metrics").await.body_text(), series)
    }

    /// Asks for something to be done with a policy.
    pub async fn change(&self, policy: &str, what: &str) -> Answer {
        self.request("POST", &format!("/admin/policies/{policy}/{what}")).send().await
    }

    /// What `GET /admin/policies` says about one policy.
    pub async fn policy_status(&self, name: &str) -> Value {
        let report = self.get("/admin/policies").await.json();
        let policies = report["policies"].as_array().cloned().unwrap_or_default();
        policies.into_iter().find(|policy| policy["name"] == name).unwrap_or(Value::Null)
    }

    /// The generation of the snapshot in service.
    pub async fn generation(&self) -> u64 {
        self.get("/admin/policies").await.json()["generation"].as_u64().expect("a number")
    }

    /// Everything that is wrong with configuration and policies.
    pub async fn problems(&self) -> Vec<String> {
        let report = self.get("/admin/policies").await.json();
        let problems = report["problems"].as_array().cloned().unwrap_or_default();
        problems.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Waits until this policy's newest file is in service, and the admin API says so.
    pub async fn wait_for_reason(&self, model: &str, reason: &str) {
        let mut revision = String::new();
        eventually("the new policy decides", async || {
            let answer = self.chat(model, "hi").await;
            revision = answer.header("x-witgate-policy").unwrap_or_default().to_owned();
            answer.header("x-witgate-reason") == Some(reason)
        })
        .await;
        let (policy, revision) = revision.split_once('/').expect("a policy and its revision");
        eventually("it is shown", async || self.policy_status(policy).await["revision"] == revision).await;
    }

    /// Shuts it down and waits for that.
    pub async fn stop(mut self) {
        if let Some(app) = self.app.take() {
            in_time(app.stop()).await;
        }
    }

    /// Takes the part that shuts down, to do so while the gateway is asked.
    pub fn take_app(&mut self) -> App {
        self.app.take().expect("the gateway runs")
    }
}

/// The path of chat completions.
pub const CHAT: &str = "/v1/chat/completions";

/// A series' value in Prometheus' text format.
pub fn metric_in(text: &str, series: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

fn lay_over(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
