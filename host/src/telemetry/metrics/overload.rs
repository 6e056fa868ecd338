//! What is measured when there is more to do than can be done: queues, requests that were turned away, the end.

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use witgate_core::fleet::Fleet;

use super::{Maker, seconds};
use crate::admission::Away;

pub(super) struct Overload {
    wait: HistogramVec,
    shed: IntCounterVec,
    body_memory: IntCounter,
    depth: IntGaugeVec,
    running: IntGauge,
    waiting: IntGauge,
    body_bytes: IntGauge,
    draining: IntGauge,
}

/// What the gateway's state is when it is asked for its metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Requests within `server.max_in_flight`.
    pub running: u32,
    /// Requests that wait for that.
    pub waiting: u32,
    /// Of request bodies in memory.
    pub body_bytes: usize,
    /// Whether it is about to end.
    pub draining: bool,
}

impl Overload {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let shed = make.counters(
            "witgate_shed_total",
            "Requests that were turned away instead of running, by queue (gateway, deployment; bodies: the memory for \
             them) and reason. A request that one deployment turns away may still be served by another.",
            &["queue", "reason"],
        );
        Self {
            wait: make.histograms(
                "witgate_queue_wait_seconds",
                "How long requests waited where a limit is set, by queue: before the gateway, before a deployment.",
                WAIT_SECONDS,
                &["queue"],
            ),
            // All from the start: an alert needs the zero before the first one.
            body_memory: shed.with_label_values(&["bodies", "memory"]),
            shed,
            depth: make.gauges(
                "witgate_deployment_queue_depth",
                "Requests that wait for a slot of a deployment that has a limit.",
                &["deployment"],
            ),
            running: make.gauge(
                "witgate_admitted_requests",
                "Requests that run within `server.max_in_flight`; 0 where there is no limit.",
            ),
            waiting: make.gauge("witgate_queue_depth", "Requests that wait for `server.max_in_flight`."),
            body_bytes: make.gauge("witgate_body_bytes", "Memory that request bodies take."),
            draining: make.gauge("witgate_draining", "1 while the gateway is about to end."),
        }
    }

    /// Puts in what is only known when somebody asks.
    pub(super) fn show(&self, fleet: &Fleet, standing: Standing) {
        self.depth.reset();
        for entry in fleet.deployments().iter().filter(|entry| entry.spec.max_concurrency.is_some()) {
            self.depth.with_label_values(&[&*entry.spec.id]).set(entry.live.queued().into());
        }
        let Standing { running, waiting, body_bytes, draining } = standing;
        self.running.set(running.into());
        self.waiting.set(waiting.into());
        self.body_bytes.set(i64::try_from(body_bytes).unwrap_or(i64::MAX));
        self.draining.set(draining.into());
    }
}

/// Of one kind of queue.
#[derive(Clone)]
pub struct OverloadMetrics {
    wait: Histogram,
    full: IntCounter,
    timed_out: IntCounter,
    displaced: IntCounter,
    body_memory: IntCounter,
}

impl OverloadMetrics {
    pub(super) fn new(queue: &'static str, overload: &Overload) -> Self {
        let shed = |reason| overload.shed.with_label_values(&[queue, reason]);
        Self {
            wait: overload.wait.with_label_values(&[queue]),
            full: shed("full"),
            timed_out: shed("timeout"),
            displaced: shed("displaced"),
            body_memory: overload.body_memory.clone(),
        }
    }

    /// A request has waited, and was let in or not.
    pub fn waited(&self, time: Duration) {
        self.wait.observe(seconds(time));
    }

    /// A request was not let in.
    pub fn turned(&self, away: Away) {
        match away {
            Away::Full => self.full.inc(),
            Away::TimedOut => self.timed_out.inc(),
            Away::Displaced => self.displaced.inc(),
        }
    }

    /// A body did not fit into the memory for bodies.
    pub fn no_memory(&self) {
        self.body_memory.inc();
    }
}

const WAIT_SECONDS: &[f64] = &[0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
