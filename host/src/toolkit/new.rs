//! `witgate policy new`: a project that builds and tests as it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use witgate_wasm::Hook;

use super::project::{Grant, Language, MANIFEST, Manifest, Name};
use super::template::Filling;
use super::tools;

/// What is asked for.
pub struct Order {
    /// The policy's name.
    pub name: Name,
    /// What to write it in.
    pub language: Language,
    /// What it shall export, at least one.
    pub hooks: Vec<Hook>,
    /// What it shall read of requests.
    pub grants: Vec<Grant>,
    /// Where the project's folder is made.
    pub parent: PathBuf,
}

/// Writes a project; gives its folder.
///
/// # Errors
/// When there is something already, or it cannot be written.
pub fn run(order: &Order) -> anyhow::Result<PathBuf> {
    let folder = order.parent.join(order.name.kebab());
    if folder.exists() {
        bail!("{} is there already; choose another name, or remove it first", folder.display());
    }
    let files = files(order)?;
    for (path, text) in &files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(folder)
}

/// Everything in the project's folder.
fn files(order: &Order) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let manifest = Manifest {
        name: order.name.clone(),
        language: order.language,
        world: order.language.has_world().then(|| WORLD.to_owned()),
        hooks: order.hooks.iter().map(|hook| hook.name().to_owned()).collect(),
        grants: order.grants.clone(),
    };
    let manifest = format!("# For `witgate policy build`.\n{}", toml::to_string(&manifest)?);
    let (snake, camel) = (order.name.snake(), order.name.camel());
    let (hooks, grants) = (list(&hook_names(order)), list(&grant_names(order)));
    let allowed = if grants.is_empty() { String::new() } else { format!(" --grant {}", grants.replace(", ", ",")) };
    let (python, go, places) = (python(order), go(order), places(order));
    let mut values = vec![
        ("name", order.name.kebab()),
        ("snake", &*snake),
        ("camel", &*camel),
        ("hooks", &*hooks),
        ("grants", &*grants),
        ("language", order.language.title()),
        ("summary", summary(order)),
        ("contract", contract_version()),
        ("qjs", tools::QJS),
        ("esbuild", tools::ESBUILD),
        ("typescript", tools::TYPESCRIPT),
        ("pip", tools::pip(order.language)),
        ("go_fields", &*go),
        ("allowed", &*allowed),
    ];
    values.extend(python.iter().chain(&places).map(|(name, text)| (*name, text.as_str())));
    let language = [order.language.name()];
    let parts: BTreeSet<&str> = hook_names(order).into_iter().chain(grant_names(order)).chain(language).collect();
    let filling = Filling { values: &values, parts };
    let mut files: Vec<(PathBuf, String)> = vec![(MANIFEST.into(), manifest)];
    let templates = COMMON.iter().chain(templates(order.language));
    files.extend(templates.map(|(path, template)| (PathBuf::from(path), filling.fill(template))));
    files.extend(helpers(order.language).iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())));
    if order.language == Language::Go {
        let exported = |(hook, _, _): &&(&str, &str, &str)| *hook == "lifecycle" || hook_names(order).contains(hook);
        files.extend(GO_EXPORTS.iter().filter(exported).map(|(_, path, text)| (path.into(), (*text).to_owned())));
    }
    if order.language == Language::Rust {
        files.push((format!("{SDK_FOLDER}/Cargo.toml").into(), sdk_manifest()?));
        files.extend(SDK.iter().map(|(path, text)| (PathBuf::from(SDK_FOLDER).join(path), (*text).to_owned())));
        // What the SDK is generated from, where it looks for it.
        files.push(("wit/policy.wit".into(), CONTRACT.to_owned()));
        files.push(("wit/vocabulary.md".into(), VOCABULARY.to_owned()));
    }
    if order.language.has_world() {
        files.push(("wit/world.wit".into(), world(order)));
        files.push(("wit/deps/witgate-policy/policy.wit".into(), CONTRACT.to_owned()));
    }
    Ok(files)
}

/// What the project's policy does, in a sentence.
fn summary(order: &Order) -> &'static str {
    if order.hooks.iter().any(|hook| matches!(hook, Hook::Router | Hook::Scorer | Hook::Fallback)) {
        "Fewest requests in flight wins."
    } else if order.hooks.contains(&Hook::Filter) {
        "Leaves out who asks for a pause."
    } else {
        "Counts how often each deployment has failed."
    }
}

/// A world with just these hooks and capabilities.
fn world(order: &Order) -> String {
    let version = contract_version();
    let mut text = format!(
        "package local:policy;\n\n/// What `{}` imports and exports. The contract is in deps/witgate-policy/policy.wit.\nworld {WORLD} {{\n  \
         include witgate:policy/imports@{version};\n",
        order.name.kebab()
    );
    for grant in grant_names(order) {
        let _ = writeln!(text, "  import witgate:policy/{grant}@{version};");
    }
    for hook in ["lifecycle"].into_iter().chain(hook_names(order)) {
        let _ = writeln!(text, "  export witgate:policy/{hook}@{version};");
    }
    text.push_str("}\n");
    text
}

/// The version of the contract that the program carries.
fn contract_version() -> &'static str {
    let version = CONTRACT.split("package witgate:policy@").nth(1).and_then(|rest| rest.split(';').next());
    version.unwrap_or_default()
}

/// The lines in Python that depend on which hooks there are: the first function is under `@policy`, the others under
/// `@also`.
fn python(order: &Order) -> Vec<(&'static str, String)> {
    let observes = order.hooks.contains(&Hook::Observer);
    let more = if observes { ", outcomes=[\"target\", \"failure\"], configure=configure" } else { "" };
    let signals = if signals(order).is_empty() { "" } else { ", signals=SIGNALS" };
    let described = format!("version=\"0.1.0\"{signals}{more}");
    let first = [Hook::Router, Hook::Filter, Hook::Scorer, Hook::Fallback, Hook::Observer]
        .into_iter()
        .find(|hook| order.hooks.contains(hook));
    let function = |hook: Hook, function: &str, argument: &str| {
        if first == Some(hook) {
            format!("@policy({described}, hook=\"{function}\")\ndef {}({argument}):", order.name.snake())
        } else {
            format!("@also(\"{function}\")\ndef {function}({argument}):")
        }
    };
    let mut imports: Vec<&str> = order
        .hooks
        .iter()
        .map(|hook| match hook {
            Hook::Filter => "Filter",
            Hook::Scorer => "Scorer",
            Hook::Router => "Router",
            Hook::Fallback => "Fallback",
            Hook::Observer => "Observer",
        })
        .chain(["Lifecycle", "policy"])
        .collect();
    if order.hooks.len() > 1 {
        imports.push("also");
    }
    imports.sort_unstable();
    vec![
        ("python_imports", list(&imports)),
        ("python_filter", function(Hook::Filter, "keep", "decision")),
        ("python_scorer", function(Hook::Scorer, "score", "decision")),
        ("python_fallback", function(Hook::Fallback, "after_failure", "decision")),
        ("python_observer", function(Hook::Observer, "observe", "outcomes")),
        ("python_policy", described),
    ]
}

/// The signals that the hooks use, in the order of the subscription.
fn signals(order: &Order) -> Vec<&'static str> {
    let costs = order.hooks.iter().any(|hook| matches!(hook, Hook::Router | Hook::Scorer | Hook::Fallback));
    let used = [
        (costs, "in-flight"),
        (costs && !order.grants.is_empty(), "usd-per-mtok-out"),
        (order.hooks.contains(&Hook::Filter), "cooldown-ms"),
    ];
    used.into_iter().filter(|(used, _)| *used).map(|(_, signal)| signal).collect()
}

fn quoted(order: &Order, quote: char) -> String {
    let names: Vec<String> = signals(order).iter().map(|name| format!("{quote}{name}{quote}")).collect();
    names.join(", ")
}

/// The subscription, and the names of its places, as each language writes them.
fn places(order: &Order) -> Vec<(&'static str, String)> {
    let signals = signals(order);
    let named = |names: [&'static str; 3]| {
        signals.iter().map(move |signal| match *signal {
            "in-flight" => names[0],
            "usd-per-mtok-out" => names[1],
            _ => names[2],
        })
    };
    let joined = |names: [&'static str; 3]| named(names).collect::<Vec<_>>().join(", ");
    let cooldown = signals.iter().position(|signal| *signal == "cooldown-ms").unwrap_or_default();
    let costs: Vec<&str> = named(["inFlight", "usd", ""]).filter(|name| !name.is_empty()).collect();
    let zig = named(["in_flight", "usd", "cooldown"]).enumerate();
    let zig: Vec<String> = zig.map(|(place, name)| format!("const {name} = {place};")).collect();
    let go: Vec<String> = named(["inFlight", "usd", "cooldown"])
        .enumerate()
        .map(|(place, name)| if place == 0 { format!("\t{name} = iota") } else { format!("\t{name}") })
        .collect();
    let spaced = |list: String| if signals.len() == 1 { list } else { format!(" {list} ") };
    let decides = order.hooks.iter().any(|hook| matches!(hook, Hook::Router | Hook::Fallback));
    let decision = order.language == Language::TypeScript && !costs.is_empty();
    let imports = [(decides, "lowest, "), (decision, "type Decision, ")];
    vec![
        ("signals", quoted(order, '"')),
        ("js_signals", quoted(order, '\'')),
        ("js_imports", imports.iter().filter(|(needed, _)| *needed).map(|(_, name)| *name).collect()),
        ("js_cost", costs.join(", ")),
        ("js_cooldown", format!("{}cooldown", ", ".repeat(cooldown)).trim().to_owned()),
        ("places_upper", joined(["IN_FLIGHT", "USD", "COOLDOWN"])),
        ("places_camel", joined(["InFlight", "Usd", "Cooldown"])),
        ("zig_places", zig.join("\n")),
        ("zig_signals", spaced(quoted(order, '"'))),
        ("go_places", format!("const (\n{}\n)", go.join("\n"))),
        ("python_row", format!("{}, target", joined(["in_flight", "usd", "cooldown"]))),
        ("python_cooldown", cooldown.to_string()),
    ]
}

/// What the policy in Go says of its hooks, laid out as `gofmt` does.
fn go(order: &Order) -> String {
    let observes = order.hooks.contains(&Hook::Observer);
    let signals = format!("[]string{{{}}}", quoted(order, '"'));
    let mut fields = Vec::new();
    if signals != "[]string{}" {
        fields.push(("Signals", &*signals));
    }
    if observes {
        fields.extend([("Outcomes", "[]string{\"target\", \"failure\"}"), ("Configure", "configure")]);
    }
    fields.extend(order.hooks.iter().map(|hook| match hook {
        Hook::Router => ("Route", "route"),
        Hook::Filter => ("Keep", "keep"),
        Hook::Scorer => ("Score", "score"),
        Hook::Fallback => ("AfterFailure", "afterFailure"),
        Hook::Observer => ("Observe", "observe"),
    }));
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 1;
    let lines =
        fields.iter().map(|(name, value)| format!("\t{name}:{:space$}{value},", "", space = widest - name.len()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The SDK's own manifest, for a folder outside our workspace.
fn sdk_manifest() -> anyhow::Result<String> {
    let workspace: toml::Table = toml::from_str(WORKSPACE)?;
    let shared = &workspace["workspace"];
    let (version, edition) = (&shared["package"]["version"], &shared["package"]["edition"]);
    let mut text = format!(
        "# Witgate's SDK for policies in Rust, as `witgate policy new` of Witgate {} has put it here.\n[package]\nname = \
         \"witgate-sdk\"\nversion = {version}\nedition = {edition}\nlicense = {}\npublish = false\n\n[dependencies]\n",
        env!("CARGO_PKG_VERSION"),
        shared["package"]["license"],
    );
    for dependency in ["wit-bindgen", "serde", "serde_json"] {
        let _ = writeln!(text, "{dependency} = {}", shared["dependencies"][dependency]);
    }
    Ok(text)
}

fn hook_names(order: &Order) -> Vec<&'static str> {
    order.hooks.iter().map(|hook| hook.name()).collect()
}

fn grant_names(order: &Order) -> Vec<&'static str> {
    Grant::ALL.iter().filter(|grant| order.grants.contains(grant)).map(|grant| grant.name()).collect()
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

/// The next three commands.
pub fn next_steps(order: &Order, folder: &Path) -> String {
    let name = order.name.kebab();
    format!(
        "{} is ready: a policy in {} with {}. Next:\n  cd {}\n  witgate policy build\n  witgate policy test {name}.wasm \
         scenarios.yaml",
        folder.display(),
        order.language.title(),
        list(&hook_names(order)),
        folder.display(),
    )
}

type Files = &'static [(&'static str, &'static str)];

const COMMON: Files = &[
    ("README.md", include_str!("templates/README.md")),
    ("scenarios.yaml", include_str!("templates/scenarios.yaml")),
    (".gitignore", include_str!("templates/gitignore")),
];

const fn templates(language: Language) -> Files {
    match language {
        Language::Rust => &[
            ("Cargo.toml", include_str!("templates/rust/Cargo.toml.in")),
            ("src/lib.rs", include_str!("templates/rust/lib.rs.in")),
        ],
        Language::Python => &[("policy.py", include_str!("templates/python/policy.py.in"))],
        Language::JavaScript => &[
            ("policy.js", include_str!("templates/javascript/policy.js.in")),
            ("package.json", include_str!("templates/javascript/package.json.in")),
        ],
        Language::TypeScript => &[
            ("policy.ts", include_str!("templates/typescript/policy.ts.in")),
            ("package.json", include_str!("templates/typescript/package.json.in")),
            ("tsconfig.json", include_str!("templates/typescript/tsconfig.json")),
        ],
        Language::C => &[("policy.c", include_str!("templates/c/policy.c.in"))],
        Language::Cpp => &[("policy.cpp", include_str!("templates/cpp/policy.cpp.in"))],
        Language::Zig => &[("policy.zig", include_str!("templates/zig/policy.zig.in"))],
        Language::Go => &[("policy/policy.go", include_str!("templates/go/policy.go.in"))],
    }
}

/// What the examples use too, as it is.
const fn helpers(language: Language) -> Files {
    match language {
        Language::Rust => &[],
        Language::Python => &[("witgate.py", include_str!("../../../examples/policies/python/witgate.py"))],
        Language::JavaScript | Language::TypeScript => &[
            ("witgate.js", include_str!("../../../examples/policies/javascript/witgate.js")),
            ("witgate.d.ts", include_str!("../../../examples/policies/javascript/witgate.d.ts")),
            ("imports.d.ts", include_str!("../../../examples/policies/javascript/imports.d.ts")),
        ],
        Language::C => &[
            ("witgate.c", include_str!("../../../examples/policies/c/witgate.c")),
            ("witgate.h", include_str!("../../../examples/policies/c/witgate.h")),
        ],
        Language::Cpp => &[("witgate.hpp", include_str!("../../../examples/policies/cpp/witgate.hpp"))],
        Language::Zig => &[("witgate.zig", include_str!("../../../examples/policies/zig/witgate.zig"))],
        Language::Go => &[
            ("go.mod", include_str!("../../../examples/policies/go/go.mod")),
            ("witgate/witgate.go", include_str!("../../../examples/policies/go/witgate/witgate.go")),
            ("pkg/go.mod", include_str!("../../../examples/policies/go/pkg/go.mod")),
            ("pkg/LICENSE", include_str!("../../../examples/policies/go/pkg/LICENSE")),
            ("pkg/README.md", include_str!("../../../examples/policies/go/pkg/README.md")),
            ("pkg/wit/types/option.go", include_str!("../../../examples/policies/go/pkg/wit/types/option.go")),
            ("pkg/wit/types/result.go", include_str!("../../../examples/policies/go/pkg/wit/types/result.go")),
            ("pkg/wit/types/tuple.go", include_str!("../../../examples/policies/go/pkg/wit/types/tuple.go")),
            ("pkg/wit/types/unit.go", include_str!("../../../examples/policies/go/pkg/wit/types/unit.go")),
            ("pkg/wit/runtime/empty.s", include_str!("../../../examples/policies/go/pkg/wit/runtime/empty.s")),
            ("pkg/wit/runtime/runtime.go", include_str!("../../../examples/policies/go/pkg/wit/runtime/runtime.go")),
        ],
    }
}

/// The packages that connect the exports of a world with the policy, by the exported interface.
const GO_EXPORTS: &[(&str, &str, &str)] = &[
    (
        "lifecycle",
        "export_witgate_policy_lifecycle/lifecycle.go",
        include_str!("../../../examples/policies/go/export_witgate_policy_lifecycle/lifecycle.go"),
    ),
    (
        "router",
        "export_witgate_policy_router/router.go",
        include_str!("../../../examples/policies/go/export_witgate_policy_router/router.go"),
    ),
    (
        "fallback",
        "export_witgate_policy_fallback/fallback.go",
        include_str!("../../../examples/policies/go/export_witgate_policy_fallback/fallback.go"),
    ),
    (
        "filter",
        "export_witgate_policy_filter/filter.go",
        include_str!("../../../examples/policies/go/export_witgate_policy_filter/filter.go"),
    ),
    (
        "scorer",
        "export_witgate_policy_scorer/scorer.go",
        include_str!("../../../examples/policies/go/export_witgate_policy_scorer/scorer.go"),
    ),
    (
        "observer",
        "export_witgate_policy_observer/observer.go",
        include_str!("../../../examples/policies/go/export_witgate_policy_observer/observer.go"),
    ),
];

macro_rules! sdk {
    ($($path:literal),+ $(,)?) => { &[$(($path, include_str!(concat!("../../../policies/sdk/", $path)))),+] };
}

/// The SDK in Rust, in a project of which it is part.
const SDK: Files = sdk![
    "src/about.rs",
    "src/ask.rs",
    "src/bindings.rs",
    "src/cells.rs",
    "src/choose.rs",
    "src/component.rs",
    "src/headers.rs",
    "src/host.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/names.rs",
    "src/order.rs",
    "src/outcomes.rs",
    "src/policy.rs",
    "src/prompt.rs",
    "src/random.rs",
    "src/setup.rs",
    "src/testing/host.rs",
    "src/testing/mod.rs",
    "src/verdict.rs",
];
const SDK_FOLDER: &str = "vendor/witgate-sdk";
/// With the versions of what the SDK is built on.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");
const VOCABULARY: &str = include_str!("../../../wit/vocabulary.md");

/// Name of the generated world; C's bindings are named after it.
pub const WORLD: &str = "policy";
/// The contract, as policies are built against it.
pub const CONTRACT: &str = include_str!("../../../wit/policy.wit");
