//! WASI for language runtimes that insist on it, with nothing behind it: no files, no network, no environment, no
//! arguments, a clock that stands still, and "randomness" that is the same sequence in each call.
//!
//! Each function is answered from the type that the component itself imports it with, so every 0.2.x works alike and no
//! implementation of WASI, with its files, sockets and async runtime, is linked into the gateway at all. A function
//! that has no harmless answer traps, naming itself.

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut};

use crate::logbook::Level;
use crate::state::State;

/// Namespace of the imports that are answered here.
pub(crate) const NAMESPACE: &str = "wasi:";

/// Bytes that one call may write or be given.
const MAX_BYTES: u64 = 65_536;

/// What every WASI resource (stream, pollable, error, descriptor) is: a handle to nothing.
struct Nothing;

/// Defines every import of `component` that is WASI's.
pub(crate) fn link(linker: &mut Linker<State>, engine: &Engine, component: &Component) -> wasmtime::Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with(NAMESPACE) {
            continue;
        }
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            match export.ty {
                ComponentItem::ComponentFunc(_) => define(&mut instance, name, item)?,
                ComponentItem::Resource(_) => {
                    instance.resource(item, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn define(instance: &mut LinkerInstance<'_, State>, interface: &str, function: &str) -> wasmtime::Result<()> {
    let unversioned = interface.split('@').next().unwrap_or(interface);
    let name = format!("{unversioned}#{function}");
    instance.func_new(function, move |mut store, ty, args, results| {
        let answer = answer(&name, &mut store, &ty, args);
        for value in args {
            if let Val::Resource(handle) = value {
                handle.resource_drop(&mut store)?;
            }
        }
        if let (Some(result), Some(value)) = (results.first_mut(), answer?) {
            *result = value;
        }
        Ok(())
    })
}

/// The answer to one call; `None` for a function without a result.
fn answer(
    name: &str,
    store: &mut StoreContextMut<'_, State>,
    ty: &ComponentFunc,
    args: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let closed = || result(Err(Some(Val::Variant("closed".to_owned(), None))));
    Ok(Some(match name {
        "wasi:cli/environment#get-environment"
        | "wasi:cli/environment#get-arguments"
        | "wasi:filesystem/preopens#get-directories" => Val::List(Vec::new()),
        "wasi:cli/environment#initial-cwd"
        | "wasi:cli/terminal-stdin#get-terminal-stdin"
        | "wasi:cli/terminal-stdout#get-terminal-stdout"
        | "wasi:cli/terminal-stderr#get-terminal-stderr"
        | "wasi:filesystem/types#filesystem-error-code" => Val::Option(None),
        "wasi:cli/stdin#get-stdin"
        | "wasi:cli/stdout#get-stdout"
        | "wasi:cli/stderr#get-stderr"
        | "wasi:clocks/monotonic-clock#subscribe-instant"
        | "wasi:clocks/monotonic-clock#subscribe-duration"
        | "wasi:io/streams#[method]input-stream.subscribe"
        | "wasi:io/streams#[method]output-stream.subscribe"
        | "wasi:sockets/instance-network#instance-network" => handle(store)?,
        "wasi:io/streams#[method]input-stream.read"
        | "wasi:io/streams#[method]input-stream.blocking-read"
        | "wasi:io/streams#[method]input-stream.skip"
        | "wasi:io/streams#[method]input-stream.blocking-skip" => closed(),
        "wasi:io/streams#[method]output-stream.check-write" => result(Ok(Some(Val::U64(MAX_BYTES)))),
        "wasi:io/streams#[method]output-stream.write"
        | "wasi:io/streams#[method]output-stream.blocking-write-and-flush" => {
            say(store, args);
            result(Ok(None))
        }
        "wasi:io/streams#[method]output-stream.flush" | "wasi:io/streams#[method]output-stream.blocking-flush" => {
            result(Ok(None))
        }
        "wasi:io/error#[method]error.to-debug-string" => Val::String(String::new()),
        "wasi:io/poll#[method]pollable.ready" => Val::Bool(true),
        "wasi:io/poll#[method]pollable.block" => return Ok(None),
        "wasi:io/poll#poll" => {
            let Some(Val::List(polled)) = args.first() else { return Err(unavailable(name)) };
            Val::List((0..polled.len()).filter_map(|place| u32::try_from(place).ok()).map(Val::U32).collect())
        }
        "wasi:clocks/monotonic-clock#now" => Val::U64(0),
        "wasi:clocks/monotonic-clock#resolution" => Val::U64(1_000_000),
        "wasi:clocks/wall-clock#now" => time(0),
        "wasi:clocks/wall-clock#resolution" => time(1_000_000),
        "wasi:random/random#get-random-bytes" | "wasi:random/insecure#get-insecure-random-bytes" => {
            let Some(Val::U64(length @ ..=MAX_BYTES)) = args.first() else { return Err(unavailable(name)) };
            Val::List((0..*length).map(|_| Val::U8(random(store) as u8)).collect())
        }
        "wasi:random/random#get-random-u64" | "wasi:random/insecure#get-insecure-random-u64" => Val::U64(random(store)),
        "wasi:random/insecure-seed#insecure-seed" | "wasi:random/insecure-seed#get-insecure-seed" => {
            Val::Tuple(vec![Val::U64(random(store)), Val::U64(random(store))])
        }
        _ => return refusal(ty).map(Some).ok_or_else(|| unavailable(name)),
    }))
}

/// "Not permitted" in the words of the function's own error type, where it has such words.
fn refusal(ty: &ComponentFunc) -> Option<Val> {
    let Some(Type::Result(outcome)) = ty.results().next() else { return None };
    let Some(Type::Enum(codes)) = outcome.err() else { return None };
    let word = ["not-permitted", "access-denied"].into_iter().find(|word| codes.names().any(|code| code == *word))?;
    Some(result(Err(Some(Val::Enum(word.to_owned())))))
}

fn unavailable(name: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("WASI has nothing behind it in a policy: `{name}` cannot be used"))
}

fn result(value: Result<Option<Val>, Option<Val>>) -> Val {
    Val::Result(value.map(|ok| ok.map(Box::new)).map_err(|err| err.map(Box::new)))
}

fn handle(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<Val> {
    Ok(Val::Resource(ResourceAny::try_from_resource(Resource::<Nothing>::new_own(0), store)?))
}

fn time(nanoseconds: u32) -> Val {
    Val::Record(vec![("seconds".to_owned(), Val::U64(0)), ("nanoseconds".to_owned(), Val::U32(nanoseconds))])
}

/// What is written to standard output or error (a panic's message, say) is worth a line in the policy's log.
fn say(store: &StoreContextMut<'_, State>, args: &[Val]) {
    let Some(Val::List(bytes)) = args.get(1) else { return };
    let bytes: Vec<u8> =
        bytes.iter().filter_map(|byte| if let Val::U8(byte) = byte { Some(*byte) } else { None }).collect();
    let text = String::from_utf8_lossy(&bytes);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        store.data().log().write(Level::Warn, line);
    }
}

/// SplitMix64: every state gives a full-period, well-mixed sequence.
fn random(store: &mut StoreContextMut<'_, State>) -> u64 {
    let state = &mut store.data_mut().random;
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
