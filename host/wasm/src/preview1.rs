//! WASI 0.1 for core modules, answered within the component that they are wrapped into: see `preview1.wat`.
//!
//! `wasi.rs` does the same for components, which bring an adapter of their own and ask the host for WASI 0.2.

/// What the module's imports are named after.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// `preview1.wat`, translated.
pub(crate) const ADAPTER: &[u8] = include_bytes!("preview1.wasm");

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    #[test]
    fn the_bytes_are_those_of_the_text() {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/preview1.wat");
        let translated = wat::parse_file(&text).unwrap();
        if env::var_os("WITGATE_BLESS").is_some_and(|value| value == "1") {
            fs::write(text.with_extension("wasm"), &translated).unwrap();
        }
        let held = fs::read(text.with_extension("wasm")).unwrap();
        assert!(
            held == translated,
            "preview1.wasm is out of date: WITGATE_BLESS=1 cargo test -p witgate-wasm writes it anew"
        );
    }
}
