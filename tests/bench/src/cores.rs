//! Which core a program runs on, and whether it runs before others.

use std::fs;
use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::report::progress;

/// Keeps this thread, and the threads and programs that it starts, on one core.
///
/// # Errors
/// When there is no such core.
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    if core < CpuSet::MAX_CPU {
        cores.set(core);
    }
    Ok(sched_setaffinity(None, &cores)?)
}

/// This process, and what it starts, run before the other programs of the machine for as long as this lives; only root
/// may do so.
#[derive(Debug)]
pub(crate) struct Precedence {
    process: Option<i32>,
    session: Option<String>,
}

impl Precedence {
    /// Before every other program.
    pub(crate) fn take() -> Self {
        let before = getpriority_process(None).ok().filter(|_| setpriority_process(None, HIGHEST).is_ok());
        if before.is_none() {
            progress("running at normal priority: other programs disturb the results more than they would for root");
        }
        let mut taken = Self::of_session();
        taken.process = before;
        taken
    }

    /// Before the programs of other sessions, where a priority counts within a session only
    /// (`sched_autogroup_enabled`): what is started here competes with itself as it always does.
    pub(crate) fn of_session() -> Self {
        let before = fs::read_to_string(SESSION).ok();
        let before = before.and_then(|text| text.split_ascii_whitespace().next_back().map(str::to_owned));
        Self { process: None, session: before.filter(|_| fs::write(SESSION, HIGHEST.to_string()).is_ok()) }
    }
}

impl Drop for Precedence {
    /// The session is the operator's shell too.
    fn drop(&mut self) {
        let process = self.process.is_none_or(|before| setpriority_process(None, before).is_ok());
        let session = self.session.as_ref().is_none_or(|before| fs::write(SESSION, before).is_ok());
        if !(process && session) {
            progress("the priority of this session could not be restored");
        }
    }
}

const HIGHEST: i32 = -20;
const SESSION: &str = "/proc/self/autogroup";
