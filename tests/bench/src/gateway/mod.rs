//! The gateway beside nginx and beside nothing: throughput, CPU, added latency, streams, memory.
//!
//! One contender at a time has a core to itself; the mock and the load have another. Every round measures all of
//! them in a new random order, and what is compared is compared within the round, so that a machine that is slower
//! now than it was a minute ago changes the figures but not the ratios.

mod contender;
mod process;
mod round;
mod tables;
mod wrk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

pub(crate) use contender::{Contender, Site, mock_command};
pub(crate) use process::{Launch, Process};

use crate::client::CHAT;
use crate::cores::{Precedence, pin_to};
use crate::free_address;
use crate::report::{Section, progress};
use round::{Lengths, Run, Track};
use wrk::Wrk;

/// Settings of a run.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "gateway")]
pub(crate) struct Options {
    /// Rounds; every contender runs once in each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure these alone
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Contender::parse)]
    only: Vec<Contender>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Which binary, on which cores.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// The gateway's binary. Without it: `witgate` beside this program
    #[arg(long, value_name = "FILE")]
    witgate: Option<PathBuf>,
    /// Core of the contender
    #[arg(long, default_value_t = 0)]
    pub(crate) gateway_core: usize,
    /// Core of the mock and the load
    #[arg(long, default_value_t = 1)]
    pub(crate) load_core: usize,
}

impl Place {
    /// The gateway's binary.
    ///
    /// # Errors
    /// When it is not there.
    pub(crate) fn binary(&self) -> anyhow::Result<PathBuf> {
        let beside = || std::env::current_exe().map(|program| program.with_file_name("witgate"));
        let file = self.witgate.clone().map_or_else(beside, Ok)?;
        let file = std::path::absolute(file)?;
        ensure!(file.is_file(), "{} is not there; build it: cargo build --release", file.display());
        Ok(file)
    }

    /// Keeps this process, and whatever it starts and does not pin elsewhere, on the load's core.
    ///
    /// # Errors
    /// When there is no such core.
    pub(crate) fn pin(&self) -> anyhow::Result<()> {
        ensure!(self.gateway_core != self.load_core, "the contender and the load need a core each");
        pin_to(self.load_core).with_context(|| format!("the load cannot run on core {}", self.load_core))
    }
}

/// A mock that listens on so many addresses, on the load's core, with this pause between the chunks of a stream.
///
/// # Errors
/// When it does not start.
pub(crate) async fn start_mock(site: &Site, core: usize, chunk_delay: Duration) -> anyhow::Result<Process> {
    let mut command = mock_command(&site.upstreams)?;
    command.extend(["--chunk-delay-ms".to_owned(), chunk_delay.as_millis().to_string()]);
    let log = site.folder.join("mock.log");
    Process::start(&Launch { name: "the mock", command, core, address: site.upstreams[0], log: &log, ready: CHAT })
        .await
}

/// A site with as many upstream addresses.
///
/// # Errors
/// When there are no free ports.
pub(crate) fn site(folder: &Path, witgate: PathBuf) -> anyhow::Result<Site> {
    let upstreams = (0..UPSTREAMS).map(|_| free_address()).collect::<anyhow::Result<_>>()?;
    Ok(Site { folder: folder.to_owned(), witgate, upstreams })
}

/// Runs all rounds.
///
/// # Errors
/// When something that is measured, or wrk, does not run.
pub(crate) async fn run(options: &Options, quick: bool) -> anyhow::Result<Section> {
    let place = &options.place;
    place.pin()?;
    let _first = Precedence::take();
    let contenders = if options.only.is_empty() { Contender::ALL.to_vec() } else { options.only.clone() };
    let ours = contenders.iter().any(|contender| contender.is_witgate());
    let witgate = if ours { place.binary()? } else { PathBuf::new() };
    let folder = tempfile::tempdir()?;
    let site = site(folder.path(), witgate)?;
    let wrk = Wrk::new(folder.path())?;
    let _mock = start_mock(&site, place.load_core, Duration::ZERO).await?;

    let lengths = if quick { Lengths::QUICK } else { Lengths::FULL };
    let track = Track { site: &site, wrk: &wrk, core: place.gateway_core, lengths };
    let mut rounds: Vec<Vec<(Contender, Run)>> = Vec::new();
    for number in 1..=options.rounds {
        let mut order = contenders.clone();
        fastrand::shuffle(&mut order);
        let mut round = Vec::new();
        for contender in order {
            let run = track.run(contender).await?;
            let (rate, cpu) = (run.few.throughput.per_second(), run.few.cpu);
            progress(&format!(
                "round {number}/{} {contender:<16} {rate:>7.0} req/s {cpu:>6.1} ms CPU/1000 {:>8.0} events/s {} errors",
                options.rounds, run.events_per_second, run.errors
            ));
            if let Some(error) = &run.error {
                progress(&format!("  first error: {error}"));
            }
            round.push((contender, run));
        }
        rounds.push(round);
    }
    Ok(tables::section(&contenders, &rounds))
}

/// Addresses of the mock: as many deployments a policy has to choose from.
const UPSTREAMS: usize = 4;
