use witgate_wasm::{Hook, Imports};

use crate::guest::{guest, router};
use crate::world::world;

const PICK: &str = "(call $pick (i32.load (local.get $candidates)))";

fn refusal(bytes: &[u8]) -> String {
    world().load(bytes).unwrap_err().to_string()
}

#[test]
fn a_core_module_and_a_component_are_taken_alike() {
    let guest = router(PICK).hook("fallback", PICK).schema("{}");
    for file in [guest.module(), guest.component()] {
        let component = world().load(&file).unwrap();
        assert_eq!(&**component.name(), "test");
        assert_eq!(component.revision().len(), 12);
        assert_eq!(component.contract(), "0.1.0");
        assert_eq!(component.hooks().iter().collect::<Vec<_>>(), [Hook::Router, Hook::Fallback]);
        assert_eq!(component.imports(), &Imports::default());
        let info = component.info();
        assert_eq!((&*info.name, &*info.version, &*info.summary), ("Test", "1.2.3", "made on the spot"));
        assert!(component.code_size() > 0 && component.file_size() == file.len());
    }
}

#[test]
fn a_newer_patch_of_the_contract_is_taken() {
    let component = world().load(&router(PICK).version("0.1.9").module()).unwrap();
    assert_eq!(component.contract(), "0.1.9");
}

#[test]
fn another_contract_version_is_refused() {
    assert_eq!(
        refusal(&router(PICK).version("0.2.0").module()),
        "policy `test`: it was built for version 0.2.0 of the contract `witgate:policy`, this gateway speaks 0.1.0; build \
         it against this gateway's `wit/policy.wit`"
    );
}

#[test]
fn a_policy_needs_lifecycle_and_a_hook() {
    assert_eq!(
        refusal(&guest().module()),
        "policy `test`: it exports `witgate:policy/lifecycle` but no hook, so it could never do anything; export at \
         least one of `router`, `fallback`, `filter`, `scorer`, `observer`"
    );
    assert_eq!(
        refusal(&wat::parse_str("(component)").unwrap()),
        "policy `test`: it does not export `witgate:policy/lifecycle`, which every policy does; it exports nothing"
    );
}

#[test]
fn what_no_policy_can_have_is_named() {
    let file = router(PICK)
        .wit("package acme:db@1.0.0; interface query { run: func(); }")
        .imports("acme:db/query@1.0.0")
        .code(r#"(import "acme:db/query@1.0.0" "run" (func))"#)
        .module();
    assert_eq!(
        refusal(&file),
        "policy `test`: it imports `acme:db/query@1.0.0`, which this gateway does not offer; a policy may import \
         `log`, `cells`, `names`, `headers` and `prompt` of `witgate:policy`"
    );
}

#[test]
fn a_hook_of_another_type_does_not_fit() {
    let file = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $lifecycle (export "describe" (func $f)) (export "configure" (func $f)))
            (instance $router (export "route" (func $f)))
            (export "witgate:policy/lifecycle@0.1.0" (instance $lifecycle))
            (export "witgate:policy/router@0.1.0" (instance $router)))"#,
    );
    assert_eq!(
        refusal(&file.unwrap()),
        "policy `test`: it does not fit the contract `witgate:policy@0.1.0`: export `lifecycle`: failed to convert \
         function to given type: type mismatch with results: expected 1-tuple, found 0-tuple"
    );
}

#[test]
fn the_size_has_a_cap() {
    let mut file = b"\0asm\x0d\0\x01\0".to_vec();
    file.resize((64 << 20) + 1, 0);
    assert_eq!(refusal(&file), "policy `test`: the file has 67108865 bytes, at most 67108864 are taken");
    file.pop();
    assert!(refusal(&file).starts_with("policy `test`: the file is not valid WebAssembly"));
}

#[test]
fn features_that_policies_may_not_use_are_refused() {
    let start = "policy `test`: the file is not valid WebAssembly, or uses a feature that policies may not: ";
    for (feature, code) in [
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        ("gc", "(type (struct))"),
        ("exceptions", "(tag)"),
    ] {
        let file = wat::parse_str(format!("(component (core module {code}))")).unwrap();
        let message = refusal(&file);
        assert!(message.starts_with(start), "{feature}: {message}");
    }
}

#[test]
fn a_describe_that_does_not_come_back_is_stopped() {
    assert_eq!(
        refusal(&router(PICK).describe("(loop $l (br $l)) i32.const 0").module()),
        "policy `test`: its `describe` failed: it missed its deadline of 2000 ms"
    );
    assert_eq!(
        refusal(&router(PICK).describe("unreachable").module()),
        "policy `test`: its `describe` failed: it trapped: wasm trap: wasm `unreachable` instruction executed"
    );
}

#[test]
fn a_schema_that_is_none_is_refused() {
    assert_eq!(
        refusal(&router(PICK).schema("[").module()),
        "policy `test`: its settings schema is not a JSON Schema: EOF while parsing a list at line 1 column 1"
    );
}

#[test]
fn compiled_code_is_found_again_by_the_next_engine() {
    let directory = tempfile::tempdir().unwrap();
    let options = witgate_wasm::EngineOptions {
        code_cache: Some(directory.path().join("code")),
        workers: 1,
        ..Default::default()
    };
    let file = router(PICK).module();
    let first = witgate_wasm::Engine::new(options.clone()).unwrap().load("test", &file).unwrap();
    let second = witgate_wasm::Engine::new(options).unwrap().load("test", &file).unwrap();
    assert_eq!((first.from_cache(), second.from_cache()), (false, true));
    assert_eq!(first.revision(), second.revision());
}
