//! `witgate policy pull` and `witgate policy push`: a policy's way through a registry, by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use witgate_core::config::{Access, Credentials, OciReference, PolicySupply, Pull, Secret, SigningKey, Supply};
use witgate_wasm::{Compiling, Engine, EngineOptions, Hashed};

use super::say;
use crate::supply::artifact::About;
use crate::supply::proof::{Claim, Proven, prove};
use crate::supply::registry::{Artifact, Registry};

/// What `policy pull` is told.
#[derive(Args)]
pub(super) struct PullArgs {
    /// The artifact: oci://host/repository:tag or oci://host/repository@sha256:...
    reference: String,
    /// Write to this file. Without it: the last part of the repository, with .wasm
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Refuse it unless it is signed with this minisign public key, or the one in this file
    #[arg(long, value_name = "KEY")]
    verify: Vec<String>,
    #[command(flatten)]
    access: AccessArgs,
}

/// What `policy push` is told.
#[derive(Args)]
pub(super) struct PushArgs {
    /// The policy; a signature beside it (FILE.minisig) goes with it
    file: PathBuf,
    /// Where to: oci://host/repository:tag
    reference: String,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Args)]
struct AccessArgs {
    /// User name at the registry. Without it: as `docker login` left it
    #[arg(long, value_name = "NAME", env = "WITGATE_REGISTRY_USERNAME", requires = "password")]
    username: Option<String>,
    /// Password or token; better given in the environment than here
    #[arg(long, value_name = "TEXT", env = "WITGATE_REGISTRY_PASSWORD", hide_env_values = true, requires = "username")]
    password: Option<String>,
    /// Plain HTTP, although the registry is not on this machine
    #[arg(long)]
    insecure: bool,
}

/// Gets a policy out of a registry, and says how to pin it.
pub(super) fn pull(args: PullArgs) -> anyhow::Result<ExitCode> {
    let reference = parse(&args.reference)?;
    let keys = args.verify.iter().map(|text| key(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let access = args.access.resolve();
    let Artifact { digest, bytes, signature } =
        wait(async { Registry::of(&reference, &access)?.pull(&reference, &Pull::default()).await })??;
    let name = reference.repository.rsplit('/').next().unwrap_or_default();
    let Proven { sha256, key } = prove_by(keys, name, &reference, &bytes, signature.as_deref())?;
    let file = args.output.unwrap_or_else(|| PathBuf::from(format!("{name}.wasm")));
    fs::write(&file, &bytes).with_context(|| format!("{} cannot be written", file.display()))?;
    let beside = signature_of(&file);
    if let Some(text) = &signature {
        fs::write(&beside, text).with_context(|| format!("{} cannot be written", beside.display()))?;
    }
    let signed = match (&key, &signature) {
        (Some(key), _) => format!("with the key {key}, which was checked"),
        (None, Some(text)) => {
            let key = SigningKey::id_in_signature(text).unwrap_or_else(|| "(unreadable)".to_owned());
            format!("with the key {key}, which was not checked: give --verify")
        }
        (None, None) => "no".to_owned(),
    };
    let wrote = if signature.is_some() { format!(" and {}", beside.display()) } else { String::new() };
    say(&format!(
        "wrote      {}{wrote}, {} bytes\ndigest     {digest}\nsha256     {sha256}\nsigned     {signed}",
        file.display(),
        bytes.len()
    ));
    if let Some(pinned) = reference.pinned_to(&digest) {
        say(&format!("to pin it  policies: {{supply: {{{name}: {{source: \"{pinned}\"}}}}}}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Publishes a policy, after a look whether it is one.
pub(super) fn push(args: PushArgs) -> anyhow::Result<ExitCode> {
    let reference = parse(&args.reference)?;
    if reference.digest().is_some() {
        bail!("{reference} names a digest, and that follows from the policy; push to a tag: oci://host/repository:tag");
    }
    let file = &args.file;
    let bytes = fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let beside = signature_of(file);
    let signature = if beside.exists() {
        Some(fs::read_to_string(&beside).with_context(|| format!("{} cannot be read", beside.display()))?)
    } else {
        None
    };
    let engine = Engine::new(EngineOptions { compiling: Compiling::AtOnce, workers: 1, ..EngineOptions::default() })?;
    let component = engine.load(&file.file_name().unwrap_or_default().to_string_lossy(), &bytes)?;
    let access = args.access.resolve();
    let signed = if signature.is_some() { "with its signature" } else { "without a signature" };
    let digest = wait(async {
        Registry::of(&reference, &access)?
            .push(&reference, bytes, signature, About::of(&component), &Pull::default())
            .await
    })??;
    let info = component.info();
    say(&format!("pushed     {} {} to {reference}, {signed}\ndigest     {digest}", info.name, info.version));
    Ok(ExitCode::SUCCESS)
}

impl AccessArgs {
    fn resolve(self) -> Access {
        let credentials = match (self.username, self.password) {
            (Some(username), Some(password)) => Credentials::Password { username, password: Secret::new(password) },
            _ => Credentials::Unsaid,
        };
        Access { credentials, insecure: self.insecure.then_some(true) }
    }
}

fn parse(text: &str) -> anyhow::Result<OciReference> {
    OciReference::parse(text).map_err(|error| {
        anyhow::anyhow!(
            "{text:?} is no reference to an artifact: {error}; write for example oci://ghcr.io/acme/budget:v1"
        )
    })
}

fn key(text: &str) -> anyhow::Result<SigningKey> {
    if let Some(key) = SigningKey::parse(text) {
        return Ok(key);
    }
    let content = fs::read_to_string(text)
        .with_context(|| format!("`{text}` is no minisign public key, and as a file it cannot be read"))?;
    SigningKey::parse(&content).with_context(|| format!("the file `{text}` holds no minisign public key"))
}

fn prove_by(
    keys: Vec<SigningKey>,
    policy: &str,
    reference: &OciReference,
    bytes: &[u8],
    signature: Option<&str>,
) -> anyhow::Result<Proven> {
    let own = PolicySupply { keys, ..PolicySupply::default() };
    let supply = Supply { policies: BTreeMap::from([(policy.into(), own)]), ..Supply::default() };
    Ok(prove(&supply, &Claim { policy, from: &reference.to_string(), file: Hashed::new(bytes), signature })?)
}

fn signature_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

fn wait<T>(what: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("the async runtime cannot be started")?.block_on(what))
}
