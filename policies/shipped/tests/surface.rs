//! What each shipped policy imports and exports, as its component says: no more than it uses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use wit_component::DecodedWasm;
use witgate_shipped::{ALL, find};

/// Name, exports besides `lifecycle`, imports besides `types`.
const SURFACES: [(&str, &[&str], &[&str]); 13] = [
    ("best-score", &["router"], &[]),
    ("capability", &["filter"], &[]),
    ("cheapest", &["router"], &[]),
    ("fallback-chain", &["fallback"], &[]),
    ("health", &["filter"], &[]),
    ("hedge", &["observer", "router"], &["cells"]),
    ("in-order", &["router"], &[]),
    ("latency", &["router"], &[]),
    ("least-loaded", &["router"], &[]),
    ("peak-ewma", &["router"], &[]),
    ("resilient", &["fallback"], &[]),
    ("round-robin", &["router"], &["cells"]),
    ("usage-based", &["router"], &[]),
];

#[test]
fn policies_export_the_hooks_they_answer_and_import_what_they_call() {
    for (name, exports, imports) in SURFACES {
        let (mut got_exports, mut got_imports) = surface(find(name).unwrap().bytes);
        got_exports.retain(|export| export != "lifecycle");
        got_imports.retain(|import| import != "types");
        assert_eq!((got_exports, got_imports), (owned(exports), owned(imports)), "{name}");
    }
}

#[test]
fn every_policy_is_listed_once_and_small() {
    let mut names: Vec<&str> = ALL.iter().map(|policy| policy.name).collect();
    names.sort_unstable();
    assert_eq!(names, SURFACES.map(|(name, _, _)| name));
    for policy in ALL {
        assert!(policy.bytes.len() < LARGEST, "`{}` has {} bytes", policy.name, policy.bytes.len());
    }
}

/// Something was dragged in when a policy is larger.
const LARGEST: usize = 100 * 1024;

fn surface(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).unwrap() else {
        panic!("not a component");
    };
    let world = &resolve.worlds[world];
    let names = |items: Vec<_>| {
        let ours = |key| {
            let name: String = resolve.name_world_key(key);
            let inner = name.strip_prefix("witgate:policy/").and_then(|name| name.strip_suffix("@0.1.0"));
            inner.unwrap_or(&name).to_owned()
        };
        let mut names: Vec<String> = items.into_iter().map(ours).collect();
        names.sort_unstable();
        names
    };
    (names(world.exports.keys().collect()), names(world.imports.keys().collect()))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
