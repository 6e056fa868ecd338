//! The `witgate` program as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
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
    result(&command.output().expect("the program runs"))
}

fn result(output: &Output) -> Run {
    let text = |bytes: &[u8]| str::from_utf8(bytes).expect("UTF-8").to_owned();
    Run { code: output.status.code().expect("an exit code"), out: text(&output.stdout), err: text(&output.stderr) }
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
        Self::start_as(command(folder.path()).args(SERVE)).await
    }

    /// As [`Serving::start`], and `NOTIFY_SOCKET` says where the supervisor listens.
    pub(crate) async fn start_supervised(folder: &Folder, notify: &Path) -> Self {
        Self::start_as(command(folder.path()).args(SERVE).env("NOTIFY_SOCKET", notify)).await
    }

    /// As [`Serving::start`], with a socket that was opened before, as systemd hands it over.
    pub(crate) async fn start_with_socket(folder: &Folder, socket: OwnedFd) -> Self {
        Self::start_as(&mut with_sockets(folder.path(), socket, 1)).await
    }

    async fn start_as(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program runs");
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

    /// The most memory that it has had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
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

/// A command that serves with a socket from its parent, which says that there are `count`.
fn with_sockets(folder: &Path, socket: OwnedFd, count: usize) -> Command {
    // `LISTEN_PID` must be the program's own, which only the process that becomes it knows.
    let script = format!("exec 3<&0 </dev/null; export LISTEN_FDS={count} LISTEN_PID=$$; exec \"$@\"");
    let program = command(folder);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).arg(program.get_program()).args(SERVE).current_dir(folder);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(socket);
    shell
}

/// Runs `serve` with sockets from its parent to its end.
pub(crate) fn run_with_sockets(folder: &Path, socket: OwnedFd, count: usize) -> Run {
    result(&with_sockets(folder, socket, count).output().expect("the program runs"))
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_witgate-under-test"));
    command.current_dir(folder).env_remove("RUST_LOG").env_remove("WITGATE_CONFIG").env("XDG_CACHE_HOME", folder);
    // help is wrapped to the terminal's width
    command.env("COLUMNS", "100").stdin(Stdio::null());
    command
}

const SERVE: [&str; 3] = ["serve", "--config", "witgate.yaml"];
