//! Policies made on the spot: a core module in text form whose hooks are given as instructions, wrapped by the engine.
//!
//! The module has a bump allocator that `post-return` resets, the answers of `describe` and `configure` as data, and
//! helper functions that write verdicts: `$pick`, `$abstain`, `$err`, `$list`.

use std::fmt::Write as _;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// Parameters of `route`, `keep` and `score`; `after-failure` has the failures after the request.
const QUESTION: &str = "(param $decision i32) (param $attempt i32) (param $seed i32) (param $now f64)";
const FED: &str = "(param $candidates i32) (param $count i32) (param $signals i32) (param $signal-count i32) \
                   (param $facts i32) (param $fact-count i32)";

/// A policy to be made.
pub(crate) struct Guest {
    version: &'static str,
    contract: String,
    hooks: Vec<(&'static str, String)>,
    imports: Vec<&'static str>,
    wit: &'static str,
    code: String,
    allocation: String,
    configure: String,
    describe: String,
    schema: String,
    signals: Vec<String>,
    facts: Vec<String>,
    outcomes: Vec<String>,
}

/// A policy without hooks that says yes to everything.
pub(crate) fn guest() -> Guest {
    Guest {
        version: "0.1.0",
        contract: include_str!("../../../../wit/policy.wit").to_owned(),
        hooks: Vec::new(),
        imports: Vec::new(),
        wit: "",
        code: String::new(),
        allocation: String::new(),
        configure: "i32.const 64".to_owned(),
        describe: "i32.const 16".to_owned(),
        schema: String::new(),
        signals: Vec::new(),
        facts: Vec::new(),
        outcomes: Vec::new(),
    }
}

/// A router whose `route` is these instructions; they leave the address of the answer.
pub(crate) fn router(body: &str) -> Guest {
    guest().hook("router", body)
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

impl Guest {
    pub(crate) fn hook(mut self, hook: &'static str, body: &str) -> Self {
        self.hooks.push((hook, body.to_owned()));
        self
    }

    /// Built for another version of the contract.
    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.contract = self.contract.replace("policy@0.1.0", &format!("policy@{version}"));
        self.version = version;
        self
    }

    /// Built for this text of the contract, which is of this version.
    pub(crate) fn contract(self, contract: String, version: &'static str) -> Self {
        Self { contract, version, ..self }
    }

    /// Imports an interface of the contract, for example `cells`.
    pub(crate) fn imports(mut self, interface: &'static str) -> Self {
        self.imports.push(interface);
        self
    }

    /// Further interfaces to import, as WIT packages.
    pub(crate) fn wit(mut self, packages: &'static str) -> Self {
        self.wit = packages;
        self
    }

    /// Imports, functions, data and globals of the module.
    pub(crate) fn code(mut self, code: &str) -> Self {
        self.code = code.to_owned();
        self
    }

    /// Instructions that are carried out whenever the host asks for memory.
    pub(crate) fn allocation(mut self, body: &str) -> Self {
        self.allocation = body.to_owned();
        self
    }

    /// The instructions of `configure`; without it, it says yes.
    pub(crate) fn configure(mut self, body: &str) -> Self {
        self.configure = body.to_owned();
        self
    }

    /// The instructions of `describe`.
    pub(crate) fn describe(mut self, body: &str) -> Self {
        self.describe = body.to_owned();
        self
    }

    pub(crate) fn schema(mut self, schema: &str) -> Self {
        self.schema = schema.to_owned();
        self
    }

    pub(crate) fn signals(mut self, names: &[&str]) -> Self {
        self.signals = strings(names);
        self
    }

    pub(crate) fn facts(mut self, names: &[&str]) -> Self {
        self.facts = strings(names);
        self
    }

    pub(crate) fn outcomes(mut self, names: &[&str]) -> Self {
        self.outcomes = strings(names);
        self
    }

    /// The core module with its component type, as a file.
    pub(crate) fn module(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap();
        let (resolve, world) = self.world();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
        module
    }

    /// The component, as a file.
    pub(crate) fn component(&self) -> Vec<u8> {
        wit_component::ComponentEncoder::default().module(&self.module()).unwrap().encode().unwrap()
    }

    fn world(&self) -> (Resolve, wit_parser::WorldId) {
        let mut resolve = Resolve::default();
        resolve.push_str("policy.wit", &self.contract).unwrap();
        if !self.wit.is_empty() {
            resolve.push_str("others.wit", self.wit).unwrap();
        }
        let mut world = "package test:guest;\nworld guest {\n".to_owned();
        for interface in &self.imports {
            let interface = if interface.contains(':') {
                (*interface).to_owned()
            } else {
                format!("witgate:policy/{interface}@{}", self.version)
            };
            writeln!(world, "import {interface};").unwrap();
        }
        for hook in ["lifecycle"].into_iter().chain(self.hooks.iter().map(|(hook, _)| *hook)) {
            writeln!(world, "export witgate:policy/{hook}@{};", self.version).unwrap();
        }
        world.push('}');
        let package = resolve.push_str("guest.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        (resolve, world)
    }

    fn text(&self) -> String {
        let mut data = Data { bytes: vec![0; 4096] };
        let mut info = Vec::new();
        for text in ["Test", "1.2.3", "made on the spot", &self.schema] {
            info.extend(data.string(text));
        }
        data.write(16, &info);
        let mut subscription = vec![0];
        for list in [&self.signals[..], &self.facts, &self.outcomes, &[][..], &[][..]] {
            subscription.extend(data.list(list));
        }
        data.write(64, &subscription);
        let oops = data.string("oops");

        let export =
            |interface: &str, function: &str| format!("witgate:policy/{interface}@{}#{function}", self.version);
        let mut hooks = String::new();
        for (hook, body) in &self.hooks {
            let (function, params) = match *hook {
                "router" => ("route", format!("{QUESTION} {FED}")),
                "filter" => ("keep", format!("{QUESTION} {FED}")),
                "scorer" => ("score", format!("{QUESTION} {FED}")),
                "fallback" => {
                    ("after-failure", format!("{QUESTION} (param $failures i32) (param $failure-count i32) {FED}"))
                }
                "observer" => ("observe", "(param $rows i32) (param $columns i32) (param $value-count i32)".to_owned()),
                "ticker" => ("tick", "(param $now f64)".to_owned()),
                other => panic!("no hook `{other}`"),
            };
            let name = export(hook, function);
            write!(hooks, "(func (export \"{name}\") {params} (result i32) (local $i i32) (local $x f64) {body})")
                .unwrap();
            write!(hooks, "(func (export \"cabi_post_{name}\") (param i32) (global.set $heap (i32.const 65536)))")
                .unwrap();
        }
        format!(
            r#"(module
                {code}
                (memory (export "memory") 4)
                (global $heap (mut i32) (i32.const 65536))
                (data (i32.const 0) "{data}")
                (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
                    {allocation}
                    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                    (global.set $heap (i32.add (local.get $at) (local.get $size)))
                    (local.get $at))
                ;; result<verdict, string>: ok, pick
                (func $pick (param $target i32) (result i32)
                    (i32.store8 (i32.const 128) (i32.const 0))
                    (i32.store8 (i32.const 136) (i32.const 0))
                    (i32.store (i32.const 144) (local.get $target))
                    (i32.const 128))
                (func $abstain (result i32)
                    (i32.store8 (i32.const 128) (i32.const 0))
                    (i32.store8 (i32.const 136) (i32.const 3))
                    (i32.const 128))
                ;; err("oops") of a hook whose answer is aligned to 8 (router, fallback)
                (func $err (result i32)
                    (i32.store8 (i32.const 128) (i32.const 1))
                    (i32.store (i32.const 136) (i32.const {oops_at}))
                    (i32.store (i32.const 140) (i32.const {oops_len}))
                    (i32.const 128))
                ;; the same of one whose answer is aligned to 4 (all others)
                (func $err4 (result i32)
                    (i32.store8 (i32.const 128) (i32.const 1))
                    (i32.store (i32.const 132) (i32.const {oops_at}))
                    (i32.store (i32.const 136) (i32.const {oops_len}))
                    (i32.const 128))
                ;; ok(list)
                (func $list (param $at i32) (param $count i32) (result i32)
                    (i32.store8 (i32.const 128) (i32.const 0))
                    (i32.store (i32.const 132) (local.get $at))
                    (i32.store (i32.const 136) (local.get $count))
                    (i32.const 128))
                (func (export "{describe}") (result i32) {describe_body})
                (func (export "{configure}") {configure_params} (result i32) {configure_body})
                {hooks})"#,
            code = self.code,
            allocation = self.allocation,
            data = data.escaped(),
            oops_at = oops[0],
            oops_len = oops[1],
            describe = export("lifecycle", "describe"),
            describe_body = self.describe,
            configure = export("lifecycle", "configure"),
            configure_params = "(param i32)".repeat(16),
            configure_body = self.configure,
        )
    }
}

/// The module's initial memory.
struct Data {
    bytes: Vec<u8>,
}

impl Data {
    fn string(&mut self, text: &str) -> [u32; 2] {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text.as_bytes());
        [at, text.len() as u32]
    }

    fn list(&mut self, texts: &[String]) -> [u32; 2] {
        let entries: Vec<[u32; 2]> = texts.iter().map(|text| self.string(text)).collect();
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let at = self.bytes.len() as u32;
        for entry in &entries {
            self.bytes.extend(entry.iter().flat_map(|word| word.to_le_bytes()));
        }
        [at, entries.len() as u32]
    }

    fn write(&mut self, at: usize, words: &[u32]) {
        for (word, place) in words.iter().zip(self.bytes[at..].chunks_exact_mut(4)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }

    fn escaped(&self) -> String {
        self.bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    }
}
