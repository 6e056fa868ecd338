//! Live reload of configuration and policies, on one thread of its own with low priority.
//!
//! Whatever happened (a file event, the slow poll, SIGHUP, a call of the admin API), the thread looks at the
//! policy folder and at the configuration, prepares a whole new snapshot, and swaps it in. If anything is wrong, what
//! serves now goes on serving, and the reason is in the log, in the admin API and in a metric.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use witgate_core::config::Config;

use crate::config_files::{ConfigFiles, LoadFailure};
use crate::reload::command::{Command, CommandError};
use crate::reload::crash::CrashQueue;
use crate::reload::store::{PolicyStatus, PolicyStore};
use crate::reload::watch::Watch;
use crate::snapshot::{Parts, Snapshot, prepare};

pub mod command;
mod crash;
pub mod folder;
mod load;
mod restart;
pub mod revisions;
mod shelf;
pub mod standing;
pub mod store;
mod watch;
mod workshop;

/// What the reload thread is told.
pub(crate) enum Event {
    /// Something in a watched folder changed.
    Files,
    /// A policy failed too often; which one is in the queue.
    Crash,
    /// A policy is compiled, or refused.
    Compiled,
    /// Read everything again, and say what came of it.
    Now(oneshot::Sender<Report>),
    /// Do something with a policy, and say what came of it.
    Command(Arc<str>, Command, oneshot::Sender<Result<(), CommandError>>),
    /// The gateway shuts down.
    Stop,
}

/// What the last reload led to.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Of the snapshot in service.
    pub generation: u64,
    /// Everything that is wrong; empty when all files are in service.
    pub problems: Vec<String>,
}

/// The handle to the reload thread. Dropping it does not stop the thread; [`Reloader::stop`] does.
pub struct Reloader {
    events: SyncSender<Event>,
    thread: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

/// What the reload thread publishes for the admin API.
#[derive(Default)]
pub struct Published {
    /// Every known policy.
    pub policies: ArcSwap<Vec<PolicyStatus>>,
    /// What the last reload led to.
    pub report: ArcSwap<Report>,
}

/// What the reload thread works with.
pub struct Work {
    /// Loaded policies.
    pub store: PolicyStore,
    /// Configuration on disk.
    pub files: ConfigFiles,
    /// What goes into each snapshot.
    pub parts: Arc<Parts>,
    /// Where requests take their snapshot.
    pub current: Arc<ArcSwap<Snapshot>>,
    /// For the admin API.
    pub published: Arc<Published>,
    /// Told about a new configuration: what is outside the snapshot (log filter).
    pub on_config: Box<dyn Fn(&Config) + Send>,
    /// What the gateway was started with.
    pub started: Arc<Config>,
    /// Where it listens.
    pub address: SocketAddr,
    /// What the last look could not put into service.
    pub waiting: Waiting,
}

/// A configuration that is good in itself, but cannot serve with the policies that are there.
#[derive(Default)]
pub struct Waiting {
    /// Tried again whenever policies change; `None` when only policies keep the newest files out of service.
    config: Option<Arc<Config>>,
    problems: Vec<String>,
    /// It has not been tried yet: a policy that it names is being compiled.
    untried: bool,
    /// The newest configuration would let everybody in; that is not tried again.
    exposed: Option<String>,
}

impl Reloader {
    /// Starts the thread and the watches.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut work: Work) -> std::io::Result<Self> {
        // One pending wake-up is enough: a look sees everything that happened before it.
        let (events, inbox) = sync_channel(1);
        let (watched, crashed, arrivals, compiled) = (events.clone(), events.clone(), events.clone(), events.clone());
        let crashes = CrashQueue::default();
        let queue = crashes.clone();
        work.store.engine().on_crash(move |crash| {
            queue.push(crash);
            wake(&crashed, Event::Crash);
        });
        work.store.supplies().wake_with(move || wake(&arrivals, Event::Files));
        work.store.compile_aside(move || wake(&compiled, Event::Compiled))?;
        let thread = thread::Builder::new().name("witgate-reload".into()).spawn(move || {
            be_nice();
            run(work, &inbox, watched, &crashes);
        })?;
        Ok(Self { events, thread: parking_lot::Mutex::new(Some(thread)) })
    }

    /// Reads everything again now; `None` when the thread has ended.
    pub async fn now(&self) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || events.send(Event::Now(reply))).await.ok()?.ok()?;
        report.await.ok()
    }

    /// Does something with a policy; `None` when the thread has ended.
    pub async fn command(&self, policy: Arc<str>, command: Command) -> Option<Result<(), CommandError>> {
        let (reply, done) = oneshot::channel();
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || events.send(Event::Command(policy, command, reply))).await.ok()?.ok()?;
        done.await.ok()
    }

    /// Ends the thread and waits for it; a compilation that is under way is waited for too.
    pub fn stop(&self) {
        let Some(thread) = self.thread.lock().take() else { return };
        if self.events.send(Event::Stop).is_ok() && thread.join().is_err() {
            tracing::error!("the reload thread panicked");
        }
    }
}

/// A wake-up that may be dropped when one is pending: whatever that is, it leads to a look.
pub(crate) fn wake(events: &SyncSender<Event>, event: Event) {
    match events.try_send(event) {
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }
}

fn run(mut work: Work, inbox: &Receiver<Event>, events: SyncSender<Event>, crashes: &CrashQueue) {
    let mut watch = Watch::new(events);
    let mut unsettled = true;
    let mut asked = Vec::new();
    loop {
        watch.follow(&work.watched());
        let patience = if unsettled { SETTLE } else { work.current.load().config.policies.poll };
        let event = inbox.recv_timeout(patience);
        work.see_to(crashes.take());
        match event {
            Ok(Event::Files | Event::Crash | Event::Compiled) | Err(RecvTimeoutError::Timeout) => {
                if matches!(event, Ok(Event::Files)) {
                    watch.wait_for_quiet();
                }
                work.store.hear(watch.writers());
                unsettled = work.look(true).unsettled;
            }
            Ok(Event::Now(reply)) => {
                work.store.supplies().ask_again();
                unsettled = work.look(false).unsettled;
                asked.push(Asked::Report(reply));
            }
            Ok(Event::Command(policy, command, reply)) => {
                let takes_the_file = command == Command::Unpin;
                // Somebody may be writing another policy's file just now.
                work.store.hear(watch.writers());
                let done = work.obey(&policy, command);
                // The command may have looked.
                work.store.hear(watch.writers());
                unsettled = work.look(true).unsettled;
                asked.push(Asked::Done(Some(policy).filter(|_| takes_the_file), done, reply));
            }
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let (ready, waits) = asked.into_iter().partition(|asked: &Asked| asked.is_ready(&work.store));
        asked = waits;
        ready.into_iter().for_each(|asked: Asked| asked.answer(&work.published));
    }
}

/// Somebody who waits for an answer.
enum Asked {
    /// For all that is compiled.
    Report(oneshot::Sender<Report>),
    /// For what came of a command, and for the file of this policy.
    Done(Option<Arc<str>>, Result<(), CommandError>, oneshot::Sender<Result<(), CommandError>>),
}

impl Asked {
    fn is_ready(&self, store: &PolicyStore) -> bool {
        match self {
            Self::Report(_) => !store.is_busy(),
            Self::Done(policy, ..) => !policy.as_ref().is_some_and(|policy| store.is_compiling(policy)),
        }
    }

    fn answer(self, published: &Published) {
        // Nobody waits any more: fine.
        match self {
            Self::Report(reply) => drop(reply.send(published.report.load().as_ref().clone())),
            Self::Done(_, done, reply) => drop(reply.send(done)),
        }
    }
}

/// What one look at the disk led to.
struct Look {
    unsettled: bool,
}

impl Work {
    fn watched(&self) -> Vec<PathBuf> {
        let mut folders = self.files.folders();
        folders.push(self.store.folder().to_owned());
        folders
    }

    fn look(&mut self, settle: bool) -> Look {
        let before = self.current.load_full();
        let mut problems = Vec::new();
        let read = self.read_config(&mut problems);
        if let Some(config) = &read {
            self.store.follow(&config.policies);
        }
        let configs = [read.as_deref(), self.waiting.config.as_deref(), Some(&*before.config)];
        self.store.prefer(configs.into_iter().flatten());
        let looked = match self.store.look(settle) {
            Ok(looked) => looked,
            Err(error) => {
                let folder = self.store.folder().display();
                problems.push(format!("policy folder {folder}: cannot be listed: {error}"));
                store::Looked::default()
            }
        };
        for (policy, problem) in &looked.refused {
            tracing::error!(policy = &**policy, problem, "policy file refused; what served before serves on");
            self.parts.metrics.policy_reload("refused");
        }
        if read.is_some() || self.waiting.untried || !looked.changed.is_empty() {
            self.put_into_service(read, looked.changed, &before);
        }
        problems.extend(self.waiting.exposed.iter().chain(&self.waiting.problems).cloned());
        problems.extend(restart::needed(&self.started, &self.current.load().config));
        self.publish(problems);
        Look { unsettled: looked.unsettled }
    }

    /// A configuration that is new and good in itself.
    fn read_config(&mut self, problems: &mut Vec<String>) -> Option<Arc<Config>> {
        let refused = match self.files.reload() {
            Ok(None) => return None,
            Ok(Some(loaded)) => {
                for warning in &loaded.warnings {
                    tracing::warn!(problem = %warning, "configuration");
                }
                match restart::exposes(self.address, &loaded.config) {
                    None => return Some(Arc::new(loaded.config)),
                    Some(problem) => {
                        self.waiting = Waiting { exposed: Some(problem.clone()), ..Waiting::default() };
                        LoadFailure::New(vec![problem])
                    }
                }
            }
            Err(failure) => {
                // What waited is no longer what the files say.
                self.waiting = Waiting::default();
                problems.extend(failure.lines());
                failure
            }
        };
        if let LoadFailure::New(lines) = refused {
            for problem in lines {
                tracing::error!(problem, "new configuration refused; the one before serves on");
            }
            self.parts.metrics.config_reload("refused");
        }
        None
    }

    /// Swaps to the newest configuration, the one that waits included, with the newest policies; where that cannot
    /// serve, the newest policies at least.
    fn put_into_service(&mut self, read: Option<Arc<Config>>, mut changed: BTreeSet<Arc<str>>, before: &Snapshot) {
        let Waiting { config: waiting, exposed, untried, .. } = std::mem::take(&mut self.waiting);
        let is_new = read.is_some() || untried;
        self.waiting.exposed = exposed.filter(|_| !is_new);
        let mut newest = read.or(waiting);
        if let Some(config) = newest.take_if(|config| is_new && !self.store.awaited(config).is_empty()) {
            // Not to be tried with the file of before.
            let awaited = self.store.awaited(&config);
            let problems = awaited.iter().map(|policy| {
                format!(
                    "the new configuration is not in service yet: policy `{policy}`, which it names, is being compiled"
                )
            });
            self.waiting = Waiting { problems: problems.collect(), config: Some(config), untried: true, exposed: None };
            if !changed.is_empty()
                && let Err(problems) = self.swap(&before.config, before, &changed)
            {
                self.waiting.problems.extend(problems);
            }
            return;
        }
        if is_new {
            // A grant or settings may be what a refused file was waiting for.
            changed.extend(self.store.reconsider());
        }
        if let Some(config) = newest {
            let Err(problems) = self.swap(&config, before, &changed) else { return };
            if is_new {
                self.parts.metrics.config_reload("refused");
            }
            self.waiting = Waiting { config: Some(config), problems, untried: false, exposed: None };
            changed.extend(self.store.reconsider());
            if changed.is_empty() {
                return;
            }
        }
        if let Err(problems) = self.swap(&before.config, before, &changed) {
            self.waiting.problems.extend(problems);
        }
    }

    /// Prepares and swaps; `Err` says what is wrong.
    fn swap(
        &mut self,
        config: &Arc<Config>,
        before: &Snapshot,
        changed: &BTreeSet<Arc<str>>,
    ) -> Result<(), Vec<String>> {
        let next = prepare(&mut self.store, config, Some(before), &self.parts).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            for problem in &problems {
                tracing::error!(problem, "reload refused; what served before serves on");
            }
            problems
        })?;
        let known = before.warnings();
        for warning in next.warnings().iter().filter(|warning| !known.contains(warning)) {
            tracing::warn!(problem = %warning, "configuration");
        }
        let generation = next.generation;
        let in_use = next.policies_in_use();
        // Before the first request is put to them: one that fails at once is not to be suspended first.
        for policy in next.policies() {
            policy.set_spare(self.store.has_spare(policy.name()));
        }
        next.take_effect();
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        for policy in next.policies() {
            before.policies().for_each(|before| policy.takes_over(before));
        }
        self.store.commit(&in_use);
        for policy in before.policies().filter(|policy| !self.store.serves(policy.component())) {
            policy.component().withdraw();
        }
        if !Arc::ptr_eq(config, &before.config) {
            (self.on_config)(config);
            self.parts.metrics.config_reload("ok");
            tracing::info!(generation, "configuration reloaded");
            for problem in restart::needed(&self.started, config) {
                tracing::warn!(problem, "configuration");
            }
        }
        let statuses = self.store.status(&in_use);
        for policy in changed.iter().filter(|name| !statuses.iter().any(|status| status.name == **name)) {
            tracing::info!(policy = &**policy, generation, "policy file is gone, and the policy with it");
            self.parts.metrics.policy_reload("ok");
        }
        for status in statuses.iter().filter(|status| changed.contains(&status.name)) {
            let revision = status.revision.as_deref().unwrap_or("none");
            let (policy, state) = (&*status.name, status.state);
            match self.store.refusal(policy) {
                Some(problem) => {
                    tracing::error!(policy, revision, problem, "policy file refused; what served before serves on");
                    self.parts.metrics.policy_reload("refused");
                }
                None => {
                    tracing::info!(policy, revision, state, generation, "policy reloaded");
                    self.parts.metrics.policy_reload("ok");
                }
            }
        }
        Ok(())
    }

    /// Shows the state to the admin API and the metrics, and writes down what a restart must find.
    pub fn publish(&mut self, mut problems: Vec<String>) {
        let snapshot = self.current.load();
        for policy in snapshot.policies() {
            policy.set_spare(self.store.has_spare(policy.name()));
        }
        let status = self.store.status(&snapshot.policies_in_use());
        problems.extend(status.iter().filter_map(|status| status.problem.clone()));
        problems.extend(self.store.supplies().problems());
        self.parts.metrics.policies(snapshot.generation, &status);
        self.published.report.store(Arc::new(Report { generation: snapshot.generation, problems }));
        // Last: whoever sees a new revision here sees what was told about it too.
        self.published.policies.store(Arc::new(status));
        self.store.persist();
    }
}

/// Compiling must not take the processor from requests.
pub(super) fn be_nice() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "the reload thread keeps its priority");
    }
}

/// Long enough for a writer's next write, short enough to be live at once.
const SETTLE: Duration = Duration::from_millis(50);
