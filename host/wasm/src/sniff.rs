//! Tells what the bytes of a policy file are, before anything is parsed.

use crate::load_error::LoadProblem;

/// What kind of WebAssembly a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Component,
    /// A core module with a `component-type` section, which says what to wrap it as.
    Wrappable,
}

/// Looks at the head of a file, and at the section names of a core module.
pub(crate) fn sniff(bytes: &[u8]) -> Result<Kind, LoadProblem> {
    let Some(version) = bytes.strip_prefix(b"\0asm") else { return Err(LoadProblem::NotWasm(looks_like(bytes))) };
    match version {
        [0x0d, 0, 1, 0, ..] | [1, 0, 0, 0, ..] if ends_early(bytes) => Err(LoadProblem::Truncated { got: bytes.len() }),
        [0x0d, 0, 1, 0, ..] => Ok(Kind::Component),
        [1, 0, 0, 0, ..] if has_component_type(bytes) => Ok(Kind::Wrappable),
        [1, 0, 0, 0, ..] => Err(LoadProblem::NoComponentType),
        [_, _, _, _, ..] => Err(LoadProblem::NotWasm("it has the mark of WebAssembly, but an unknown version")),
        _ => Err(LoadProblem::NotWasm("it ends within its first 8 bytes; was it still being written?")),
    }
}

/// Whether a writer that was interrupted may have left these bytes: none, or a policy that ends in the middle.
pub fn is_unfinished(bytes: &[u8]) -> bool {
    match bytes.split_at_checked(HEADER.len()) {
        None => HEADER.starts_with(bytes),
        Some((mark, _)) => mark == HEADER && ends_early(bytes),
    }
}

const HEADER: &[u8] = b"\0asm";

/// Whether a section says that it is longer than what is there. Other mistakes are the compiler's to find.
fn ends_early(file: &[u8]) -> bool {
    let mut rest = file;
    let mut parser = wasmparser::Parser::new(0);
    // Modules and components within are a section each, and are stepped over.
    loop {
        match parser.parse(rest, false) {
            Ok(wasmparser::Chunk::NeedMoreData(_)) => return !rest.is_empty(),
            Ok(wasmparser::Chunk::Parsed { consumed, payload }) => {
                let skip = match payload {
                    wasmparser::Payload::ModuleSection { unchecked_range, .. }
                    | wasmparser::Payload::ComponentSection { unchecked_range, .. } => {
                        unchecked_range.end - unchecked_range.start
                    }
                    wasmparser::Payload::CodeSectionStart { size, .. } => {
                        parser.skip_section();
                        u64::from(size)
                    }
                    wasmparser::Payload::End(_) => return false,
                    _ => 0,
                };
                let skip = usize::try_from(skip).ok().and_then(|skip| consumed.checked_add(skip));
                let Some(next) = skip.and_then(|skip| rest.get(skip..)) else { return true };
                rest = next;
            }
            Err(_) => return false,
        }
    }
}

fn has_component_type(module: &[u8]) -> bool {
    wasmparser::Parser::new(0).parse_all(module).map_while(Result::ok).any(|payload| {
        matches!(payload, wasmparser::Payload::CustomSection(section) if section.name().starts_with("component-type"))
    })
}

fn looks_like(bytes: &[u8]) -> &'static str {
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return "it is a precompiled `.cwasm`, which is native code and is never loaded from a policy; give the `.wasm`";
    }
    match bytes {
        [] => "it is empty",
        [0x7f, b'E', b'L', b'F', ..] => "it is an ELF file, built for a machine; build for a wasm32 target",
        [0xcf, 0xfa, 0xed, 0xfe, ..] => "it is a Mach-O file, built for a machine; build for a wasm32 target",
        [b'M', b'Z', ..] => "it is a Windows program; build for a wasm32 target",
        [0x1f, 0x8b, ..] => "it is compressed with gzip; unpack it first",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstd; unpack it first",
        [b'P', b'K', 3, 4, ..] => "it is a zip archive; unpack it first",
        [b'B', b'C', 0xc0, 0xde, ..] => "it is LLVM bitcode; link it for a wasm32 target",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "it is a static library; link it for a wasm32 target",
        text if text.trim_ascii_start().starts_with(b"(component")
            || text.trim_ascii_start().starts_with(b"(module") =>
        {
            "it is WebAssembly's text format; translate it with `wasm-tools parse`"
        }
        text if std::str::from_utf8(text).is_ok() => "it is text",
        _ => "it is binary data of an unknown kind",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        sniff(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_wasm_is_called_by_its_name() {
        assert_eq!(message(b""), "the file is not WebAssembly: it is empty");
        assert_eq!(
            message(b"\x7fELF\x02\x01\x01\0"),
            "the file is not WebAssembly: it is an ELF file, built for a machine; build for a wasm32 target"
        );
        assert_eq!(message(b"def route():"), "the file is not WebAssembly: it is text");
        assert_eq!(
            message(b"\x1f\x8b\x08\0\0"),
            "the file is not WebAssembly: it is compressed with gzip; unpack it first"
        );
        assert_eq!(
            message(b"  (component)"),
            "the file is not WebAssembly: it is WebAssembly's text format; translate it with `wasm-tools parse`"
        );
        assert_eq!(message(b"\xff\xfe\x00\x01"), "the file is not WebAssembly: it is binary data of an unknown kind");
        assert_eq!(
            message(b"\0asm\x01"),
            "the file is not WebAssembly: it ends within its first 8 bytes; was it still being written?"
        );
        assert_eq!(
            message(b"\0asm\x02\0\0\0"),
            "the file is not WebAssembly: it has the mark of WebAssembly, but an unknown version"
        );
    }

    #[test]
    fn a_core_module_needs_a_component_type() {
        assert_eq!(sniff(b"\0asm\x01\0\0\0"), Err(LoadProblem::NoComponentType));
        assert_eq!(sniff(b"\0asm\x01\0\0\0\0\x0f\x0ecomponent-type"), Ok(Kind::Wrappable));
        assert_eq!(sniff(b"\0asm\x0d\0\x01\0"), Ok(Kind::Component));
    }

    #[test]
    fn a_file_that_ends_in_the_middle_of_a_section_is_told() {
        // a component with a core module in it, and a core module with code
        let component =
            wat::parse_str(r#"(component (core module (func (export "f") (nop) (nop))) (type string))"#).unwrap();
        let module =
            wat::parse_str(r#"(module (func (export "f") (nop) (nop)) (@custom "component-type" "abc"))"#).unwrap();
        for (file, kind) in [(component, Kind::Component), (module, Kind::Wrappable)] {
            assert_eq!(sniff(&file), Ok(kind));
            let mut ends = 0;
            for length in 8..file.len() {
                match sniff(&file[..length]) {
                    Err(LoadProblem::Truncated { got }) => ends += usize::from(got == length),
                    // between two sections it could be a whole file
                    Ok(_) | Err(LoadProblem::NoComponentType) => {}
                    other => panic!("{length}: {other:?}"),
                }
            }
            assert!(ends > file.len() * 2 / 3, "{ends} of {}", file.len());
        }
        assert_eq!(
            message(b"\0asm\x01\0\0\0\0\x0f\x0ecomponent-typ"),
            "the file ends in the middle, after 24 bytes; copy it again, or write it beside the folder and rename it into \
             it when it is whole"
        );
    }

    #[test]
    fn precompiled_code_is_never_taken() {
        let engine = wasmtime::Engine::default();
        let artifact = engine.precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(
            message(&artifact),
            "the file is not WebAssembly: it is a precompiled `.cwasm`, which is native code and is never loaded from \
             a policy; give the `.wasm`"
        );
    }
}
