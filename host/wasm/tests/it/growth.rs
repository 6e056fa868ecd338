//! The contract grows by patch versions. A guest of 0.1.0 runs unchanged on a gateway of 0.1.1; a guest of 0.1.1 runs here
//! as long as it uses nothing that came with it, and is told so when it does.

use std::io::Read as _;

use lzma_rust2::XzReader;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType, Val};
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, Store};
use wit_parser::{Resolve, WorldItem};

use crate::guest::{guest, router};
use crate::world::world;

const PICK: &str = "(call $pick (i32.load (local.get $candidates)))";
const CONTRACT: &str = include_str!("../../../../wit/policy.wit");

/// Today's contract with a function, a capability and a hook more.
fn grown() -> String {
    let grow = |text: &str, at: &str, more: &str| {
        assert!(text.contains(at), "the contract has no `{at}` any more");
        text.replacen(at, &format!("{at}{more}"), 1)
    };
    let text = CONTRACT.replace("policy@0.1.0", "policy@0.1.1");
    let text = grow(&text, "interface cells {\n", "  oldest: func(table: u32) -> f64;\n");
    let text = grow(&text, "world everything {\n", "  import blobs;\n  export ticker;\n");
    text + "interface blobs { length: func() -> u32; }\ninterface ticker { tick: func(now-ms: f64) -> result<_, string>; }\n"
}

/// Offers everything that the world `everything` of a contract imports; nothing behind it can be called.
fn offering(engine: &Engine, contract: &str) -> Linker<()> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", contract).unwrap();
    let everything = resolve.select_world(&[package], Some("everything")).unwrap();
    let mut linker = Linker::new(engine);
    for item in resolve.worlds[everything].imports.values() {
        let WorldItem::Interface { id, .. } = item else { continue };
        let mut instance = linker.instance(&resolve.id_of(*id).unwrap()).unwrap();
        for name in resolve.interfaces[*id].functions.keys() {
            instance.func_new(name, |_, _, _, _| Err(wasmtime::Error::msg("nothing behind it"))).unwrap();
        }
    }
    linker
}

#[test]
fn a_guest_of_today_runs_unchanged_when_the_contract_has_grown() {
    let load = r#"(import "witgate:policy/cells@0.1.0" "load" (func $load (param i32 i32) (result f64)))"#;
    let guest = router(&format!(
        "(if (f64.lt (local.get $now) (f64.const 0)) (then (drop (call $load (i32.const 0) (i32.const 0))))) {PICK}"
    ));
    let engine = Engine::default();
    let component = Component::new(&engine, guest.imports("cells").code(load).component()).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = offering(&engine, &grown()).instantiate(&mut store, &component).unwrap();
    let router = instance.get_export_index(&mut store, None, "witgate:policy/router@0.1.1").unwrap();
    let route = instance.get_export_index(&mut store, Some(&router), "route").unwrap();
    let route = instance.get_func(&mut store, route).unwrap();
    let request = Val::Record(vec![
        ("decision".to_owned(), Val::U32(1)),
        ("attempt".to_owned(), Val::U32(0)),
        ("seed".to_owned(), Val::U32(1)),
        ("now-ms".to_owned(), Val::Float64(0.0)),
    ]);
    let candidates = Val::List(vec![Val::U32(6), Val::U32(7)]);
    let mut answer = [Val::Bool(false)];
    route.call(&mut store, &[request, candidates, Val::List(Vec::new()), Val::List(Vec::new())], &mut answer).unwrap();
    let pick = Val::Variant("pick".to_owned(), Some(Box::new(Val::U32(6))));
    assert_eq!(answer, [Val::Result(Ok(Some(Box::new(pick))))]);
}

#[test]
fn a_newer_guest_is_taken_when_it_uses_nothing_new() {
    let component = world().load(&router(PICK).contract(grown(), "0.1.1").module()).unwrap();
    assert_eq!(component.contract(), "0.1.1");
}

#[test]
fn a_newer_hook_is_not_called_and_does_not_harm() {
    let component =
        world().load(&router(PICK).contract(grown(), "0.1.1").hook("ticker", "i32.const 0").module()).unwrap();
    assert_eq!(component.hooks().iter().map(|hook| hook.to_string()).collect::<Vec<_>>(), ["router"]);
}

#[test]
fn a_newer_guest_that_needs_what_is_not_here_is_told_so() {
    let oldest = r#"(import "witgate:policy/cells@0.1.1" "oldest" (func (param i32) (result f64)))"#;
    let length = r#"(import "witgate:policy/blobs@0.1.1" "length" (func (result i32)))"#;
    let refusal = |interface, code: &str| {
        let guest = router(PICK).contract(grown(), "0.1.1").imports(interface).code(code);
        world().load(&guest.module()).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("cells", oldest),
        "policy `test`: it was built for version 0.1.1 of the contract `witgate:policy` and uses something of it that this \
         gateway, which speaks 0.1.0, does not have: component imports instance `witgate:policy/cells@0.1.1`, but a \
         matching implementation was not found in the linker: instance export `oldest` has the wrong type: function \
         implementation is missing; update the gateway, or build it against this gateway's `wit/policy.wit`"
    );
    assert_eq!(
        refusal("blobs", length),
        "policy `test`: it imports `witgate:policy/blobs@0.1.1`, which this gateway does not offer; a policy may import \
         `log`, `cells`, `names`, `headers` and `prompt` of `witgate:policy`"
    );
}

#[test]
fn a_guest_with_newer_hooks_alone_has_none_here() {
    let message = world().load(&guest().contract(grown(), "0.1.1").hook("ticker", "i32.const 0").module()).unwrap_err();
    assert!(message.to_string().contains("but no hook"), "{message}");
}

/// `tests/conformance` holds what toolchains made of contract 0.1.0.
#[test]
fn stored_guests_load_unchanged_when_the_contract_has_grown() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance");
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let engine = quick();
    let mut loaded = Vec::new();
    for stored in manifest["policies"].as_array().unwrap() {
        let file = stored["file"].as_str().unwrap();
        let component = component(unpacked(&std::fs::read(folder.join(file)).unwrap()));
        let component = Component::new(&engine, component).unwrap();
        let mut linker = offering(&engine, &grown());
        offer_wasi(&mut linker, &component);
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component).unwrap_or_else(|error| panic!("{file}: {error:#}"));
        for hook in stored["hooks"].as_array().unwrap() {
            let hook = format!("witgate:policy/{}@0.1.1", hook.as_str().unwrap());
            assert!(instance.get_export_index(&mut store, None, &hook).is_some(), "{file} has no {hook}");
        }
        assert_eq!(name_of(&mut store, &instance), stored["policy"].as_str().unwrap(), "{file}");
        loaded.push(stored["language"].as_str().unwrap());
    }
    loaded.sort_unstable();
    loaded.dedup();
    assert_eq!(loaded, ["C", "C++", "Go", "JavaScript", "Python", "Rust", "Zig"]);
}

/// Compiles as a gateway compiles a large policy first: CPython takes a quarter of the time.
fn quick() -> Engine {
    let mut config = Config::new();
    config.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    Engine::new(config.max_wasm_stack(1 << 20)).unwrap()
}

fn unpacked(stored: &[u8]) -> Vec<u8> {
    if !stored.starts_with(b"\xfd7zXZ") {
        return stored.to_vec();
    }
    let mut guest = Vec::new();
    XzReader::new(stored, false).read_to_end(&mut guest).unwrap();
    guest
}

/// As the host makes one of a core module.
fn component(guest: Vec<u8>) -> Vec<u8> {
    const IS_COMPONENT: u8 = 0x0d;
    if guest[4] == IS_COMPONENT {
        return guest;
    }
    let adapter = include_bytes!("../../src/preview1.wasm");
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(&guest).unwrap().adapter("wasi_snapshot_preview1", adapter).unwrap().encode().unwrap()
}

/// What runtimes import besides the contract. No guest needs it to say who it is.
fn offer_wasi(linker: &mut Linker<()>, component: &Component) {
    struct Nothing;
    let engine = linker.engine().clone();
    for (name, import) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with("wasi:") {
            continue;
        }
        let mut instance = linker.instance(name).unwrap();
        for (item, export) in interface.exports(&engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => {
                    instance.func_new(item, |_, _, _, _| Err(wasmtime::Error::msg("nothing behind it"))).unwrap();
                }
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host::<Nothing>(), |_, _| Ok(())).unwrap();
                }
                _ => {}
            }
        }
    }
}

/// What its `describe` says.
fn name_of(store: &mut Store<()>, instance: &wasmtime::component::Instance) -> String {
    let lifecycle = instance.get_export_index(&mut *store, None, "witgate:policy/lifecycle@0.1.1").unwrap();
    let describe = instance.get_export_index(&mut *store, Some(&lifecycle), "describe").unwrap();
    let describe = instance.get_func(&mut *store, describe).unwrap();
    let mut info = [Val::Bool(false)];
    describe.call(&mut *store, &[], &mut info).unwrap();
    let Val::Record(fields) = &info[0] else { panic!("{info:?}") };
    let Val::String(name) = &fields[0].1 else { panic!("{fields:?}") };
    name.clone()
}
