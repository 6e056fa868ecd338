//! Programs that a run starts, looks at from outside, harms, and stops by their own id whatever happened to them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::redis::free_address;

/// A program that runs; it is killed with the value.
#[derive(Debug)]
pub(super) struct Process {
    command: Vec<String>,
    log: PathBuf,
    child: Child,
}

/// What a program has, as the kernel counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holdings {
    /// Resident, in KiB.
    pub(super) memory: u64,
    /// Open files and sockets.
    pub(super) files: usize,
    /// Threads.
    pub(super) threads: usize,
}

impl Process {
    /// Starts a program; what it prints goes to the end of `log`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(super) fn start(command: Vec<String>, log: &Path) -> io::Result<Self> {
        let child = spawn(&command, log)?;
        Ok(Self { command, log: log.to_owned(), child })
    }

    /// As if the machine had gone: no goodbye.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The same program again.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(super) fn again(&mut self) -> io::Result<()> {
        self.child = spawn(&self.command, &self.log)?;
        Ok(())
    }

    /// Sends a signal, by its name.
    pub(super) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no {name} for {:?}", self.command);
    }

    /// What it printed.
    pub(super) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has now.
    pub(super) fn holdings(&self) -> Holdings {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0);
        let count = |what| fs::read_dir(folder.join(what)).map_or(0, Iterator::count);
        Holdings { memory, files: count("fd"), threads: count("task") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(command: &[String], log: &Path) -> io::Result<Child> {
    let output = fs::File::options().create(true).append(true).open(log)?;
    let (program, arguments) = command.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(output.try_clone()?).stderr(output).spawn()
}

/// llama.cpp's own server, with a model that says what it is given.
#[derive(Debug)]
pub(super) struct Llama {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
}

impl Llama {
    /// Starts one that answers with `reply`, in which no word comes twice.
    ///
    /// # Errors
    /// When Python, or what it needs, is not there.
    pub(super) fn start(python: &Path, folder: &Path, reply: &str) -> io::Result<Self> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("real");
        let tool = |name: &str| tools.join(name).display().to_string();
        let model = folder.join(format!("{}.gguf", reply.replace(' ', "-"))).display().to_string();
        let made = Command::new(python)
            .args([&tool("make_tiny_gguf.py"), "--out", &model, "--reply", reply])
            .stdout(Stdio::null())
            .status()?;
        if !made.success() {
            return Err(io::Error::other(format!(
                "{} cannot make a model; `make chaos` installs it",
                python.display()
            )));
        }
        let address = free_address();
        let (python, port) = (python.display().to_string(), address.port().to_string());
        let command = [&python, &tool("run_llama_server.py"), "--model", &model, "--port", &port, "--parallel", "4"];
        let log = folder.join(format!("llama-{port}.log"));
        Ok(Self { process: Process::start(command.map(|part| part.to_string()).to_vec(), &log)?, address })
    }
}
