//! A program under test: pinned to one core, started, measured from outside, and stopped whatever happens.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Connection, Request};

/// A running program; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    /// To its first good answer.
    pub(crate) start: Duration,
}

/// What a program needs to be started.
pub(crate) struct Launch<'a> {
    pub(crate) name: &'a str,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// The core that it may use.
    pub(crate) core: usize,
    /// Where it will answer.
    pub(crate) address: SocketAddr,
    /// For what it prints.
    pub(crate) log: &'a Path,
    /// What it answers when it is ready.
    pub(crate) ready: Request,
}

impl Process {
    /// Starts a program and waits until it answers.
    ///
    /// # Errors
    /// When it ends, or does not answer within 30 s; with what it printed.
    pub(crate) async fn start(launch: &Launch<'_>) -> anyhow::Result<Self> {
        let Launch { name, command, core, address, log, ready } = launch;
        let mut output = fs::File::create(log).with_context(|| format!("{} cannot be made", log.display()))?;
        writeln!(output, "$ {}", command.join(" "))?;
        let started = Instant::now();
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("`taskset` (Debian: util-linux) cannot be run")?;
        let mut process = Self { name: (*name).to_owned(), child, start: Duration::ZERO };
        loop {
            let answer = match Connection::open(*address).await {
                Ok(mut connection) => connection.ask(*ready).await,
                Err(error) => Err(error),
            };
            let printed = || fs::read_to_string(log).unwrap_or_default();
            match answer {
                Ok(_) => break,
                Err(_) if process.child.try_wait()?.is_some() => bail!("{name} ended at its start:\n{}", printed()),
                Err(error) if started.elapsed() > PATIENCE => {
                    bail!("{name} gave no answer within {PATIENCE:?}: {error}\n{}", printed());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        process.start = started.elapsed();
        Ok(process)
    }

    /// CPU time of the program and of the processes that it started, in milliseconds.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        self.each(|pid| {
            // The name in parentheses may contain anything; the numbers come after it.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
            let ticks: f64 = fields.skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum();
            Ok(ticks * 1000.0 / rustix::param::clock_ticks_per_second() as f64)
        })
    }

    /// Resident memory, in MB.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.each(|pid| {
            let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
            let pages = statm.split(' ').nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            Ok(pages * rustix::param::page_size() as f64 / 1e6)
        })
    }

    fn each(&self, measure: impl Fn(u32) -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        let name = &self.name;
        let pids = family(self.child.id());
        pids.into_iter().map(measure).sum::<anyhow::Result<f64>>().with_context(|| format!("{name} has ended"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A master process takes its workers along when it is asked to end, and not when it is killed.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut place = 0;
    while let Some(parent) = all.get(place) {
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        all.extend(children);
        place += 1;
    }
    all
}

/// Busy and idle time of one core since the machine started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreTime {
    idle: f64,
    total: f64,
}

impl CoreTime {
    /// As of now.
    ///
    /// # Errors
    /// Where there is no `/proc/stat`.
    pub(crate) fn now(core: usize) -> anyhow::Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
        let label = format!("cpu{core} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&label));
        let line = line.with_context(|| format!("there is no core {core}"))?;
        let ticks: Vec<f64> = line.split_ascii_whitespace().take(8).filter_map(|text| text.parse().ok()).collect();
        Ok(Self { idle: ticks.iter().skip(3).take(2).sum(), total: ticks.iter().sum() })
    }

    /// The share of the time since `before` in which the core had nothing to do.
    pub(crate) fn idle_since(self, before: Self) -> f64 {
        (self.idle - before.idle) / (self.total - before.total)
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
