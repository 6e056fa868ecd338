//! Saturation with wrk, which costs less of the core that it shares with the mock than anything of ours would.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::client::CHAT_BODY;

/// wrk with its script.
#[derive(Debug)]
pub(crate) struct Wrk {
    script: PathBuf,
}

/// What wrk says of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Throughput {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Answers with another status than 2xx or 3xx, and broken connections.
    pub(crate) errors: f64,
}

impl Throughput {
    pub(crate) fn per_second(self) -> f64 {
        self.requests / self.seconds
    }
}

impl Wrk {
    /// Writes the script into `folder`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let script = folder.join("chat.lua");
        std::fs::write(&script, format!("{HEAD}wrk.body = [==[{CHAT_BODY}]==]\n{DONE}"))
            .with_context(|| format!("{} cannot be written", script.display()))?;
        Ok(Self { script })
    }

    /// Keeps so many connections busy. It runs on the core of this process.
    ///
    /// # Errors
    /// When wrk is missing or fails.
    pub(crate) async fn run(
        &self,
        address: SocketAddr,
        connections: u32,
        time: Duration,
    ) -> anyhow::Result<Throughput> {
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs()), "--timeout", "10s", "--script"])
            .arg(&self.script)
            .arg(format!("http://{address}/v1/chat/completions"))
            .output()
            .await
            .context("`wrk` cannot be run; install it (Debian: apt-get install wrk)")?;
        let text = String::from_utf8_lossy(&output.stdout);
        match parse(&text) {
            Some(throughput) if output.status.success() => Ok(throughput),
            _ => bail!("wrk failed:\n{text}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

fn parse(output: &str) -> Option<Throughput> {
    let line = output.lines().find_map(|line| line.strip_prefix("result: "))?;
    let mut numbers = line.split(' ').map(|text| text.parse::<f64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Throughput { requests: next()?, seconds: next()? / 1e6, errors: next()? })
}

const HEAD: &str = "wrk.method = \"POST\"\nwrk.headers[\"content-type\"] = \"application/json\"\n";
const DONE: &str = r#"
function done(summary)
  local failed = summary.errors
  local errors = failed.connect + failed.read + failed.write + failed.status + failed.timeout
  io.write(string.format("result: %d %d %d\n", summary.requests, summary.duration, errors))
end
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_s_last_line_is_understood() {
        let output = "Running 1s test\n  1 threads\nresult: 120 2000000 3\n";
        let expected = Throughput { requests: 120.0, seconds: 2.0, errors: 3.0 };
        assert_eq!(parse(output), Some(expected));
        assert_eq!(expected.per_second(), 60.0);
        assert_eq!(parse("Running 1s test\n"), None);
    }
}
