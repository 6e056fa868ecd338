//! What a registry is shown: as configured, else what `docker login` left.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use witgate_core::config::Credentials;

/// For one registry. Nothing is said when there is none: most policies can be read by everybody.
pub(super) fn auth(host: &str, configured: &Credentials) -> RegistryAuth {
    match configured {
        Credentials::Password { username, password } => {
            RegistryAuth::Basic(username.clone(), password.expose().to_owned())
        }
        Credentials::Token(token) => RegistryAuth::Bearer(token.expose().to_owned()),
        Credentials::Unsaid => {
            docker_config().and_then(|file| from_docker(&file, host)).unwrap_or(RegistryAuth::Anonymous)
        }
    }
}

fn docker_config() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = folder("DOCKER_CONFIG").or_else(|| Some(folder("HOME")?.join(".docker")))?;
    Some(folder.join("config.json"))
}

/// The parts of docker's `config.json` that matter here.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::HashMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    auth: Option<String>,
}

fn from_docker(file: &Path, host: &str) -> Option<RegistryAuth> {
    let text = std::fs::read_to_string(file).ok()?;
    let config: DockerConfig = serde_json::from_str(&text)
        .inspect_err(
            |_| tracing::warn!(file = %file.display(), "docker's credentials cannot be read; going on without"),
        )
        .ok()?;
    // Docker writes Docker Hub's as an address of its old API.
    let names = [host.to_owned(), format!("https://{host}"), format!("https://{host}/v1/")];
    let hub = ["docker.io", "index.docker.io"].contains(&host).then(|| "https://index.docker.io/v1/".to_owned());
    let found = names.iter().chain(&hub).find_map(|name| config.auths.get(name)?.auth.as_ref())?;
    let plain = String::from_utf8(BASE64_STANDARD.decode(found).ok()?).ok()?;
    let (username, password) = plain.split_once(':')?;
    Some(RegistryAuth::Basic(username.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_login_left_is_found_by_host() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("config.json");
        let user = BASE64_STANDARD.encode("ann:pass:word");
        let text = format!(
            r#"{{"auths": {{"ghcr.io": {{"auth": "{user}"}}, "https://index.docker.io/v1/": {{"auth": "{user}"}}, "empty.example": {{}}}}, "credsStore": "x"}}"#
        );
        std::fs::write(&file, text).expect("a file");
        let ann = Some(RegistryAuth::Basic("ann".to_owned(), "pass:word".to_owned()));
        assert_eq!(from_docker(&file, "ghcr.io"), ann);
        assert_eq!(from_docker(&file, "docker.io"), ann);
        assert_eq!(from_docker(&file, "empty.example"), None);
        assert_eq!(from_docker(&file, "ghcr.io.evil.example"), None);
        std::fs::write(&file, "{").expect("a file");
        assert_eq!(from_docker(&file, "ghcr.io"), None);
        assert_eq!(from_docker(&dir.path().join("none"), "ghcr.io"), None);
    }
}
