//! The contract reference, `docs/contract.md`, is what `wit/policy.wit` says.
//!
//! `WITGATE_BLESS=1 cargo test -p witgate-wasm` writes it anew; look at the difference before you commit it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use wit_parser::{Docs, Function, Interface, PackageId, Resolve, Type, TypeDef, TypeDefKind, World, WorldItem};

#[test]
fn the_contract_reference_is_the_contract() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contract.md");
    let text = Contract::parse(include_str!("../../../../wit/policy.wit")).reference();
    if env::var_os("WITGATE_BLESS").is_some_and(|value| value == "1") {
        fs::write(&file, &text).unwrap();
    }
    let held = fs::read_to_string(&file).unwrap();
    assert_eq!(
        held, text,
        "docs/contract.md is out of date: WITGATE_BLESS=1 cargo test -p witgate-wasm writes it anew"
    );
}

/// The contract, parsed.
struct Contract {
    resolve: Resolve,
    package: PackageId,
}

impl Contract {
    fn parse(text: &str) -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("policy.wit", text).unwrap();
        Self { resolve, package }
    }

    fn reference(&self) -> String {
        let package = &self.resolve.packages[self.package];
        let mut out = format!(
            "# Contract reference\n\n`{}`. Written from [wit/policy.wit](../wit/policy.wit), which is what policies are \
             compiled against. The names that a policy may subscribe to are in \
             [wit/vocabulary.md](../wit/vocabulary.md); how the contract evolves is in [wit/README.md](../wit/README.md).\n",
            package.name
        );
        paragraphs(&mut out, &package.docs);
        for id in package.interfaces.values() {
            self.interface(&mut out, &self.resolve.interfaces[*id]);
        }
        out += "\n## Worlds\n\nA world is what a binding generator makes an empty policy from. Take the smallest that has \
                what you need; nothing keeps you from writing your own.\n\n| world | exports | imports besides `types` | |\n|---|---|---|---|\n";
        for id in package.worlds.values() {
            self.world(&mut out, &self.resolve.worlds[*id]);
        }
        out
    }

    fn interface(&self, out: &mut String, interface: &Interface) {
        write!(out, "\n## `{}`\n", interface.name.as_deref().unwrap()).unwrap();
        paragraphs(out, &interface.docs);
        for (name, id) in &interface.types {
            let definition = &self.resolve.types[*id];
            // A `use` of another interface's type is documented there.
            if !matches!(definition.kind, TypeDefKind::Type(_)) {
                self.definition(out, name, definition);
            }
        }
        for function in interface.functions.values() {
            write!(out, "\n### `{}`\n\n```wit\n{}\n```\n", function.name, self.signature(function)).unwrap();
            paragraphs(out, &function.docs);
        }
    }

    fn definition(&self, out: &mut String, name: &str, definition: &TypeDef) {
        write!(out, "\n### {} `{name}`\n", definition.kind.as_str()).unwrap();
        paragraphs(out, &definition.docs);
        let rows: Vec<[String; 3]> = match &definition.kind {
            TypeDefKind::Record(record) => {
                let row = |field: &wit_parser::Field| [field.name.clone(), self.name(&field.ty), line(&field.docs)];
                record.fields.iter().map(row).collect()
            }
            TypeDefKind::Variant(variant) => {
                let holds = |ty: &Option<Type>| ty.as_ref().map(|ty| self.name(ty)).unwrap_or_default();
                let row = |case: &wit_parser::Case| [case.name.clone(), holds(&case.ty), line(&case.docs)];
                variant.cases.iter().map(row).collect()
            }
            TypeDefKind::Enum(cases) => {
                let row = |case: &wit_parser::EnumCase| [case.name.clone(), String::new(), line(&case.docs)];
                cases.cases.iter().map(row).collect()
            }
            other => panic!("the reference has no words for a {}", other.as_str()),
        };
        let typed = rows.iter().any(|[_, ty, _]| !ty.is_empty());
        *out += if typed { "\n| | type | |\n|---|---|---|\n" } else { "\n| | |\n|---|---|\n" };
        for [name, ty, about] in rows {
            let ty = if ty.is_empty() { ty } else { format!("`{ty}`") };
            let columns = if typed { format!("`{name}` | {ty}") } else { format!("`{name}`") };
            writeln!(out, "| {columns} | {about} |").unwrap();
        }
    }

    fn world(&self, out: &mut String, world: &World) {
        let names = |items: Vec<&WorldItem>| {
            let names: Vec<String> = items.into_iter().filter_map(|item| self.interface_name(item)).collect();
            names.iter().filter(|name| *name != "types").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let exports = names(world.exports.values().collect());
        let imports = names(world.imports.values().collect());
        writeln!(out, "| `{}` | {exports} | {imports} | {} |", world.name, line(&world.docs)).unwrap();
    }

    fn interface_name(&self, item: &WorldItem) -> Option<String> {
        match item {
            WorldItem::Interface { id, .. } => self.resolve.interfaces[*id].name.clone(),
            WorldItem::Function(_) | WorldItem::Type { .. } => None,
        }
    }

    fn signature(&self, function: &Function) -> String {
        let params: Vec<String> =
            function.params.iter().map(|param| format!("{}: {}", param.name, self.name(&param.ty))).collect();
        let result = function.result.as_ref().map(|ty| format!(" -> {}", self.name(ty))).unwrap_or_default();
        format!("{}: func({}){result}", function.name, params.join(", "))
    }

    fn name(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
        let definition = &self.resolve.types[*id];
        if let Some(name) = &definition.name {
            return name.clone();
        }
        let or_blank = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| self.name(ty));
        match &definition.kind {
            TypeDefKind::List(item) => format!("list<{}>", self.name(item)),
            TypeDefKind::Option(item) => format!("option<{}>", self.name(item)),
            TypeDefKind::Result(result) => format!("result<{}, {}>", or_blank(&result.ok), or_blank(&result.err)),
            TypeDefKind::Tuple(tuple) => {
                let items: Vec<String> = tuple.types.iter().map(|ty| self.name(ty)).collect();
                format!("tuple<{}>", items.join(", "))
            }
            other => panic!("the reference has no words for a {}", other.as_str()),
        }
    }
}

fn paragraphs(out: &mut String, docs: &Docs) {
    if let Some(text) = &docs.contents {
        write!(out, "\n{}\n", text.trim()).unwrap();
    }
}

/// A table's cell.
fn line(docs: &Docs) -> String {
    docs.contents.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
