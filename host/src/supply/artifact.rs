//! How a policy lies in a registry: the CNCF's layout for Wasm artifacts, and those that came before it.
//!
//! One layer holds the `.wasm`. Its minisign signature is an annotation of the manifest, because other Wasm tools take
//! an artifact with exactly one layer only, and so that policy and signature can never come apart; a layer of a media
//! type of its own is understood too.

use std::collections::BTreeMap;

use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use serde_json::json;
use sha2::{Digest, Sha256};
use witgate_wasm::{Component, Hook, Imports};

use super::hex;

/// The media type of a `.wasm` file.
pub const WASM: &str = "application/wasm";
/// The media type of the configuration that goes with it.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The annotation of a manifest that holds the text of the `.minisig` file.
pub const SIGNATURE_ANNOTATION: &str = "dev.witgate.minisign";
/// The media type of a layer that holds the text of the `.minisig` file.
pub const SIGNATURE_LAYER: &str = "application/vnd.minisign.signature";

/// Media types that tools gave `.wasm` files before there was one: wasm-to-oci, krustlet, the solo.io image.
const OLDER_WASM: [&str; 2] =
    ["application/vnd.wasm.content.layer.v1+wasm", "application/vnd.module.wasm.content.layer.v1+wasm"];
/// A minisign signature has about 300 bytes.
pub(super) const LARGEST_SIGNATURE: u64 = 4096;

/// What of a manifest is a policy.
#[derive(Debug)]
pub(super) struct Parts<'m> {
    pub(super) wasm: &'m OciDescriptor,
    pub(super) signature: Option<SignaturePart<'m>>,
}

/// Where the signature is.
#[derive(Debug)]
pub(super) enum SignaturePart<'m> {
    Annotation(&'m str),
    Layer(&'m OciDescriptor),
}

/// Finds the policy in an artifact; the error says what is there instead.
pub(super) fn parts(manifest: &OciImageManifest) -> Result<Parts<'_>, String> {
    let is_wasm = |layer: &&OciDescriptor| layer.media_type == WASM || OLDER_WASM.contains(&&*layer.media_type);
    let mut found = manifest.layers.iter().filter(is_wasm);
    let wasm = match (found.next(), found.count()) {
        (Some(wasm), 0) => wasm,
        (Some(_), more) => return Err(format!("it has {} Wasm layers, and a policy is one", more + 1)),
        (None, _) => {
            let types: Vec<&str> = manifest.layers.iter().map(|layer| &*layer.media_type).collect();
            return Err(format!("it has no layer of the media type {WASM}, but [{}]", types.join(", ")));
        }
    };
    let annotation = manifest.annotations.as_ref().and_then(|all| all.get(SIGNATURE_ANNOTATION));
    let layer = || manifest.layers.iter().find(|layer| layer.media_type == SIGNATURE_LAYER);
    let signature =
        annotation.map(|text| SignaturePart::Annotation(text)).or_else(|| layer().map(SignaturePart::Layer));
    Ok(Parts { wasm, signature })
}

/// An artifact to be pushed.
pub(super) struct Packed {
    pub(super) layers: [ImageLayer; 1],
    pub(super) config: Config,
    pub(super) manifest: OciImageManifest,
}

/// What an artifact says of the policy in it, for people and tools.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Title, version, description.
    pub annotations: BTreeMap<String, String>,
    /// Names of the interfaces that a component exports.
    pub exports: Vec<String>,
    /// Names of the interfaces that a component imports.
    pub imports: Vec<String>,
}

impl About {
    /// What is known of a loaded policy.
    pub fn of(policy: &Component) -> Self {
        let info = policy.info();
        let texts = [("title", &info.name), ("version", &info.version), ("description", &info.summary)];
        let annotations =
            texts.into_iter().map(|(key, text)| (format!("org.opencontainers.image.{key}"), text.clone())).collect();
        let interface = |name: &str| format!("witgate:policy/{name}@{}", policy.contract());
        let exports = ["lifecycle"].into_iter().chain(policy.hooks().iter().map(Hook::name)).map(interface).collect();
        // Which of WASI's a runtime insists on says nothing about the policy.
        let Imports { log, cells, names, headers, prompt, wasi: _ } = *policy.imports();
        let imports = [(log, "log"), (cells, "cells"), (names, "names"), (headers, "headers"), (prompt, "prompt")];
        let imports = imports.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| interface(name)).collect();
        Self { annotations, exports, imports }
    }
}

/// Makes an artifact of a policy; the same policy always makes the same artifact.
pub(super) fn pack(bytes: Vec<u8>, signature: Option<String>, about: About) -> Packed {
    let About { mut annotations, exports, imports } = about;
    let is_component = bytes.get(4..8) == Some(&COMPONENT);
    let mut config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": if is_component { "wasip2" } else { "wasip1" },
        "layerDigests": [format!("sha256:{}", hex(&Sha256::digest(&bytes)))],
    });
    if is_component {
        config["component"] = json!({"exports": exports, "imports": imports});
    }
    annotations.extend(signature.map(|text| (SIGNATURE_ANNOTATION.to_owned(), text)));
    let layers = [ImageLayer::new(bytes, WASM.to_owned(), None)];
    let config = Config::new(config.to_string(), WASM_CONFIG.to_owned(), None);
    let mut manifest = OciImageManifest::build(&layers, &config, (!annotations.is_empty()).then_some(annotations));
    manifest.media_type = Some(oci_client::manifest::OCI_IMAGE_MEDIA_TYPE.to_owned());
    Packed { layers, config, manifest }
}

/// Version and layer of a component's binary; a core module has 1 and 0.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers whose digests are their places.
    fn manifest(layers: &[&str]) -> OciImageManifest {
        let layer = |(place, media_type): (usize, &&str)| OciDescriptor {
            media_type: (*media_type).to_owned(),
            digest: place.to_string(),
            ..OciDescriptor::default()
        };
        OciImageManifest { layers: layers.iter().enumerate().map(layer).collect(), ..OciImageManifest::default() }
    }

    /// The digest of the policy, and the signature: its text, or the digest of its layer.
    fn found(manifest: &OciImageManifest) -> (&str, Option<&str>) {
        let parts = parts(manifest).expect("a policy");
        let signature = parts.signature.map(|signature| match signature {
            SignaturePart::Annotation(text) => text,
            SignaturePart::Layer(layer) => &layer.digest,
        });
        (&parts.wasm.digest, signature)
    }

    #[test]
    fn the_wasm_layer_is_found_by_its_new_and_older_names() {
        for media_type in [WASM, OLDER_WASM[0], OLDER_WASM[1]] {
            assert_eq!(found(&manifest(&["text/plain", media_type])), ("1", None));
        }
    }

    #[test]
    fn the_signature_is_an_annotation_or_a_layer() {
        assert_eq!(found(&manifest(&[SIGNATURE_LAYER, WASM])), ("1", Some("0")));
        let packed = pack(b"\0asm\x0d\0\x01\0".to_vec(), Some("text".to_owned()), About::default());
        assert_eq!(found(&packed.manifest).1, Some("text"));
    }

    #[test]
    fn what_is_no_policy_says_what_it_is() {
        let told = |layers: &[&str]| parts(&manifest(layers)).map(|_| ()).expect_err("no policy");
        assert_eq!(
            told(&["application/vnd.oci.image.layer.v1.tar+gzip"]),
            "it has no layer of the media type application/wasm, but [application/vnd.oci.image.layer.v1.tar+gzip]"
        );
        assert_eq!(told(&[WASM, WASM]), "it has 2 Wasm layers, and a policy is one");
    }

    #[test]
    fn what_is_pushed_has_the_layout_of_the_cncf() {
        let about = About { exports: vec!["x:y/z@1.0.0".to_owned()], ..About::default() };
        let packed = pack(b"\0asm\x0d\0\x01\0".to_vec(), None, about.clone());
        assert_eq!(packed.manifest.config.media_type, WASM_CONFIG);
        assert_eq!((packed.manifest.layers.len(), &*packed.manifest.layers[0].media_type), (1, WASM));
        let config: serde_json::Value = serde_json::from_slice(&packed.config.data).expect("JSON");
        let expected = json!({
            "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2",
            "layerDigests": [packed.manifest.layers[0].digest],
            "component": {"exports": ["x:y/z@1.0.0"], "imports": []},
        });
        assert_eq!(config, expected);
        let module = pack(b"\0asm\x01\0\0\0".to_vec(), None, about);
        let config: serde_json::Value = serde_json::from_slice(&module.config.data).expect("JSON");
        assert_eq!((&config["os"], config.get("component")), (&json!("wasip1"), None));
    }
}
