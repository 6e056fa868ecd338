//! The `witgate` program as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use witgate_tests::{Folder, Request, eventually};

/// What a run of the program printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program in a folder to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Run {
    run_with(folder, arguments, &[])
}

/// The same with some environment variables set.
pub(crate) fn run_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = command(folder);
    command.args(arguments).envs(variables.iter().copied());
    let output = command.output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code().expect("an exit code"), out: text(output.stdout), err: text(output.stderr) }
}

/// `witgate serve` as a process of its own; killed when it is dropped.
pub(crate) struct Serving {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) address: SocketAddr,
}

impl Serving {
    /// Starts it with the folder's configuration and waits until it listens.
    pub(crate) async fn start(folder: &Folder) -> Self {
        let mut child = command(folder.path())
            .args(["serve", "--config", "witgate.yaml"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *lines.lock().unwrap() += &(line + "\n");
            }
        });
        let mut serving = Self { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        eventually("the program listens", async || {
            assert_eq!(serving.child.try_wait().unwrap(), None, "it ended: {}", serving.log());
            let address = serving.log().split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
            serving.address = address.unwrap_or(serving.address);
            address.is_some()
        })
        .await;
        serving
    }

    /// Everything that it has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A request to it.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end and gives the exit code.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the program ends", async || match self.child.try_wait().unwrap() {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        })
        .await;
        code
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_witgate-under-test"));
    command.current_dir(folder).env_remove("RUST_LOG").env_remove("WITGATE_CONFIG").env("XDG_CACHE_HOME", folder);
    // help is wrapped to the terminal's width
    command.env("COLUMNS", "100").stdin(Stdio::null());
    command
}
