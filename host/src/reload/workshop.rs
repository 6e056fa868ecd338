//! Compiles new files and artifacts on a thread of its own, because one in Python takes many seconds, and a rollback must
//! not wait for it.
//!
//! What is ordered is offered back as [`Done`]. A policy has one order that counts, the newest: an older one that waits is
//! taken back, and the result of one under way carries a ticket by which it is known to be old.

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use witgate_core::config::Config;
use witgate_wasm::Engine;

use super::be_nice;
use super::load::{Offer, load_offer};
use super::shelf::Loaded;
use super::store::{Looked, PolicyStore};

/// The thread, and what it is to do. Dropping it waits for the compilation that is under way.
pub(super) struct Workshop {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    last: u64,
}

/// Which order of a policy it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What has become of an order.
struct Done {
    name: Arc<str>,
    ticket: Ticket,
    offer: Offer,
    /// Or the message of the refusal.
    loaded: Result<Loaded, String>,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Default)]
struct Orders {
    waiting: Vec<(Arc<str>, Ticket, Offer)>,
    done: Vec<Done>,
    /// Policies that the configuration names: requests wait for these.
    first: BTreeSet<Arc<str>>,
    closed: bool,
}

impl Workshop {
    /// Starts the thread; `wake` is called for each order that is done.
    ///
    /// # Errors
    /// When the thread cannot be started.
    fn open(engine: Engine, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let works = Arc::clone(&shared);
        let thread = thread::Builder::new().name("witgate-load".into()).spawn(move || {
            be_nice();
            work(&engine, &works, wake);
        })?;
        Ok(Self { shared, thread: Some(thread), last: 0 })
    }

    /// Compiles these bytes. Whatever was ordered for the policy has been taken back.
    pub(super) fn order(&mut self, name: &Arc<str>, offer: Offer) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let mut orders = self.shared.orders.lock();
        orders.waiting.push((Arc::clone(name), ticket, offer));
        self.shared.changed.notify_one();
        ticket
    }

    /// What waits for this policy is not compiled any more.
    pub(super) fn take_back(&self, name: &str) {
        self.shared.orders.lock().waiting.retain(|(other, ..)| **other != *name);
    }

    /// Which policies come before all others.
    fn prefer(&self, first: BTreeSet<Arc<str>>) {
        self.shared.orders.lock().first = first;
    }

    /// What has been done since this was last asked.
    fn done(&self) -> Vec<Done> {
        mem::take(&mut self.shared.orders.lock().done)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let mut orders = self.shared.orders.lock();
        orders.closed = true;
        orders.waiting.clear();
        drop(orders);
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that compiles policies panicked");
        }
    }
}

impl Orders {
    fn next(&mut self) -> Option<(Arc<str>, Ticket, Offer)> {
        let named = self.waiting.iter().position(|(name, ..)| self.first.contains(name));
        let place = named.or((!self.waiting.is_empty()).then_some(0))?;
        Some(self.waiting.remove(place))
    }
}

fn work(engine: &Engine, shared: &Shared, wake: impl Fn()) {
    let mut orders = shared.orders.lock();
    while !orders.closed {
        let Some((name, ticket, offer)) = orders.next() else {
            shared.changed.wait(&mut orders);
            continue;
        };
        drop(orders);
        // Whoever waits for the result must get one.
        let loaded = catch_unwind(AssertUnwindSafe(|| load_offer(engine, &name, &offer)));
        let loaded = loaded.unwrap_or_else(|_| {
            Err(format!(
                "policy `{name}`: the gateway panicked while it loaded the file; the log says where, please report it"
            ))
        });
        orders = shared.orders.lock();
        orders.done.push(Done { name, ticket, offer, loaded });
        wake();
    }
}

impl PolicyStore {
    /// Compiles what is new on a thread of its own from now on; `wake` is called when something is done.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn compile_aside(&mut self, wake: impl Fn() + Send + 'static) -> io::Result<()> {
        self.workshop = Some(Workshop::open(self.engine.clone(), wake)?);
        Ok(())
    }

    /// What these configurations name is compiled before everything else.
    pub(super) fn prefer<'a>(&self, configs: impl IntoIterator<Item = &'a Config>) {
        let Some(workshop) = &self.workshop else { return };
        workshop.prefer(configs.into_iter().flat_map(named).cloned().collect());
    }

    /// Takes what has been compiled, or refused, if it is what was ordered last.
    pub(super) fn take_done(&mut self, looked: &mut Looked) {
        for Done { name, ticket, offer, loaded } in self.workshop.as_ref().map(Workshop::done).unwrap_or_default() {
            let shelf = self.shelves.get_mut(&name).filter(|shelf| shelf.compiling == Some(ticket));
            let Some(shelf) = shelf else { continue };
            shelf.compiling = None;
            // The operator may have decided something meanwhile.
            if shelf.unless_left_alone(&name, offer).is_some() {
                self.took(name, loaded, looked);
            }
        }
    }

    /// Whether the policy's file is being compiled.
    pub(super) fn is_compiling(&self, name: &str) -> bool {
        self.shelves.get(name).is_some_and(|shelf| shelf.compiling.is_some())
    }

    /// Whether anything is being compiled.
    pub(super) fn is_busy(&self) -> bool {
        self.shelves.values().any(|shelf| shelf.compiling.is_some())
    }

    /// Policies that the configuration names and whose newest file is being compiled.
    pub(super) fn awaited(&self, config: &Config) -> BTreeSet<Arc<str>> {
        named(config).filter(|name| self.is_compiling(name)).cloned().collect()
    }
}

/// The policies of its routes.
fn named(config: &Config) -> impl Iterator<Item = &Arc<str>> {
    config.routes.iter().flat_map(|route| route.chain.iter().map(|stage| &stage.policy))
}
