//! What stock Go does not take of the code that `wit-bindgen go` generates. `witgate policy build` uses this file too.

/// The exported functions in Go, made fit to compile and run:
/// - Go's compiler refuses an exported function whose parameters and result take more than 128 bytes, and counts 8 for a
///   `uintptr`. The 16 parameters of `configure` are too many, so addresses come as `uint32`.
/// - The place for answers has the size of the largest of them, which its own allocator refuses unless it is a multiple of
///   the alignment, so it is rounded up.
pub(super) fn repaired(source: &str) -> String {
    source
        .lines()
        .map(|line| repaired_area(line).or_else(|| repaired_signature(line)).unwrap_or(format!("{line}\n")))
        .collect()
}

fn repaired_area(line: &str) -> Option<String> {
    const START: &str = "var exportReturnArea = uintptr(witRuntime.Allocate(&staticPinner, ";
    let (size, align) = line.strip_prefix(START)?.strip_suffix("))")?.rsplit_once(", ")?;
    Some(format!("{START}({size}+{align}-1)/{align}*{align}, {align}))\n"))
}

fn repaired_signature(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("func wasm_export_")?.split_once('(')?;
    let (parameters, result) = rest.split_once(')')?;
    let mut widened = String::new();
    let narrow = |parameter: &str| match parameter.strip_suffix(" uintptr") {
        Some(name) if name.starts_with("arg") => {
            widened.push_str(&format!("\t{name} := uintptr({name}_)\n"));
            format!("{name}_ uint32")
        }
        _ => parameter.to_owned(),
    };
    let parameters: Vec<String> = parameters.split(", ").map(narrow).collect();
    Some(format!("func wasm_export_{name}({}){result}\n{widened}", parameters.join(", ")))
}
