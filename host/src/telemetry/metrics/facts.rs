//! What model servers say of themselves, put in when it is read. A server that does not say something has no such series.

use prometheus::{GaugeVec, Opts};
use witgate_core::facts::Report;
use witgate_core::fleet::Fleet;
use witgate_core::live::Millis;

use super::Maker;

/// One gauge for each thing that is said.
pub(super) struct Facts {
    gauges: [(GaugeVec, Said); 5],
}

type Said = fn(Report) -> Option<f64>;

impl Facts {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        let gauge = |name, help| {
            let gauge = GaugeVec::new(Opts::new(name, help), &["deployment"]);
            make.enter(gauge)
        };
        Self {
            gauges: [
                (
                    gauge("witgate_upstream_queue", "Requests that wait at the deployment's server, as it says."),
                    |said| said.queue,
                ),
                (
                    gauge("witgate_upstream_running", "Requests that the deployment's server carries out, as it says."),
                    |said| said.running,
                ),
                (
                    gauge("witgate_upstream_free_slots", "Requests that the server could take up at once, as it says."),
                    |said| said.free_slots,
                ),
                (
                    gauge(
                        "witgate_upstream_kv_used",
                        "Share of the server's cache of keys and values in use, as it says.",
                    ),
                    |said| said.kv_used,
                ),
                (
                    gauge("witgate_upstream_model_loaded", "1 when the server has the model in memory, 0 when not."),
                    |said| said.loaded.map(|loaded| f64::from(u8::from(loaded))),
                ),
            ],
        }
    }

    pub(super) fn show(&self, fleet: &Fleet, now: Millis) {
        for (gauge, value) in &self.gauges {
            // Who says nothing any more goes away.
            gauge.reset();
            for deployment in fleet.deployments() {
                if let Some(value) = value(deployment.live.reported(now)) {
                    gauge.with_label_values(&[&*deployment.spec.id]).set(value);
                }
            }
        }
    }
}
