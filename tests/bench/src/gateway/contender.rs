//! Who is measured, and how each is configured: as alike as they can be.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Something that stands between the load and the mock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A second mock in the gateway's place: the machine's own speed.
    Direct,
    /// A proxy that looks at nothing.
    Nginx,
    /// Us, with a policy that reads four signals of each candidate.
    Witgate,
    /// Us, with the simplest policy.
    WitgateInOrder,
}

impl Contender {
    /// All.
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Nginx, Self::Witgate, Self::WitgateInOrder];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Witgate => "witgate",
            Self::WitgateInOrder => "witgate-in-order",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("it is one of: {known}")
        })
    }

    /// Whether it is ours.
    pub(crate) const fn is_witgate(self) -> bool {
        matches!(self, Self::Witgate | Self::WitgateInOrder)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// For configurations and logs.
    pub(crate) folder: PathBuf,
    /// Our binary.
    pub(crate) witgate: PathBuf,
    /// The mock's addresses.
    pub(crate) upstreams: Vec<SocketAddr>,
}

impl Site {
    /// Writes what a contender needs, and says how to start it so that it listens on `address`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn prepare(&self, contender: Contender, address: SocketAddr) -> anyhow::Result<Vec<String>> {
        match contender {
            Contender::Direct => mock_command(&[address]),
            Contender::Nginx => {
                let file = self.write("nginx.conf", &self.nginx(address))?;
                let log = self.folder.join("nginx-error.log").display().to_string();
                Ok(vec![nginx_program(), "-c".into(), file, "-e".into(), log])
            }
            Contender::Witgate => self.witgate(address, "peak-ewma"),
            Contender::WitgateInOrder => self.witgate(address, "in-order"),
        }
    }

    /// The command for our gateway with this policy; its folder of policies is `policies` in [`Site::folder`].
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn witgate(&self, address: SocketAddr, policy: &str) -> anyhow::Result<Vec<String>> {
        self.witgate_with(address, policy, &format!("  bench: {{deployments: '*', policies: [{policy}]}}\n"))
    }

    /// The same with these routes, in a configuration of this name.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn witgate_with(&self, address: SocketAddr, name: &str, routes: &str) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.display();
        fs::create_dir_all(self.folder.join("policies"))?;
        let providers: String = self
            .upstreams
            .iter()
            .enumerate()
            .map(|(n, upstream)| format!("  mock{n}: {{dialect: openai, base_url: 'http://{upstream}/v1'}}\n"))
            .collect();
        let deployments: String = (0..self.upstreams.len()).map(|n| format!("  bench@mock{n}: {{}}\n")).collect();
        let text = format!(
            "server: {{listen: '{address}', workers: 1}}\n\
             log: {{filter: warn, requests: false}}\n\
             providers:\n{providers}\
             deployments:\n{deployments}\
             routes:\n{routes}\
             policies: {{directory: '{folder}/policies', code_cache: '{folder}/code'}}\n"
        );
        let file = self.write(&format!("{name}.yaml"), &text)?;
        let program = self.witgate.display().to_string();
        Ok(vec![program, "serve".into(), "--config".into(), file])
    }

    fn nginx(&self, address: SocketAddr) -> String {
        let folder = self.folder.display();
        let servers: String = self.upstreams.iter().map(|upstream| format!("    server {upstream};\n")).collect();
        // Temporary files are never written at these sizes, but nginx wants its folders, and the default ones need root.
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("  {name}_temp_path {folder}/nginx-{name};\n"))
            .concat();
        format!(
            "daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
             events {{ worker_connections 4096; }}\n\
             http {{\n{folders}  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 1000000000;\n\
             \x20 upstream mock {{\n{servers}    keepalive 512;\n    keepalive_requests 1000000000;\n  }}\n\
             \x20 server {{\n    listen {address};\n    location / {{\n      proxy_pass http://mock;\n\
             \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n\
             \x20   }}\n  }}\n}}\n"
        )
    }

    /// Writes a file into the folder, and says where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(file.display().to_string())
    }
}

/// This program as a mock.
///
/// # Errors
/// When the system does not say where this program is.
pub(crate) fn mock_command(addresses: &[SocketAddr]) -> anyhow::Result<Vec<String>> {
    let mut command = vec![std::env::current_exe()?.display().to_string(), "upstream".into()];
    command.extend(addresses.iter().map(ToString::to_string));
    Ok(command)
}

/// Debian puts it where only root's `PATH` leads.
fn nginx_program() -> String {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() { debian.into() } else { "nginx".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_found_by_its_name() {
        for contender in Contender::ALL {
            assert_eq!(Contender::parse(&contender.to_string()), Ok(contender));
        }
        assert_eq!(
            Contender::parse("apache"),
            Err("it is one of: direct, nginx, witgate, witgate-in-order".to_owned())
        );
    }
}
