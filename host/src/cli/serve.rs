//! `witgate serve`: one runtime, one gateway, until a signal.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use witgate_core::config::{Config, Loaded};

use super::local::with_local_servers;
use super::{ServeArgs, complain, supervisor};
use crate::app::{self, App};
use crate::config_files::{ConfigFiles, Overrides};
use crate::telemetry::logging;

pub(super) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { listen: args.listen, policies: args.policies, watch_models: args.watch_models };
    let (files, loaded) = match load(find(args.config.config), overrides) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in problems {
                complain(&problem);
            }
            complain("error: the configuration cannot be used; see above");
            return Ok(ExitCode::FAILURE);
        }
    };
    let logging = logging::init(&loaded.config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(app::workers(&loaded.config))
        .thread_name("witgate-worker")
        .enable_all()
        .build()
        .context("the async runtime cannot be started")?;
    let ended = runtime.block_on(serve(files, loaded, logging));
    // Tasks that outlived the grace time end here.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}

async fn serve(files: ConfigFiles, loaded: Loaded, logging: logging::Logging) -> anyhow::Result<ExitCode> {
    let mut hangups = signal(SignalKind::hangup())?;
    let mut endings = Endings::listen()?;
    let source = files.describe();
    for warning in &loaded.warnings {
        tracing::warn!(problem = %warning, "configuration");
    }
    let welcome = Welcome::of(&loaded.config);
    let handle = logging.clone();
    let starting = App::start(files, loaded, move |config| handle.reload(&config.log));
    let started = tokio::select! {
        started = starting => started,
        _ = endings.next() => return Ok(ExitCode::SUCCESS),
    };
    let app = match started {
        Ok(app) => app,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    tracing::info!(address = %app.address(), config = source, "serving");
    complain(&welcome.text(&app));
    supervisor::tell(&[NotifyState::Ready]);
    let gateway = std::sync::Arc::clone(app.gateway());
    let reloads = tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: reading configuration and policies again");
            supervisor::tell_reloading();
            gateway.reload_now().await;
            supervisor::tell(&[NotifyState::Ready]);
        }
    });
    let asked = endings.next().await;
    tracing::info!("shutting down; a second signal ends at once");
    supervisor::tell(&[NotifyState::Stopping]);
    reloads.abort();
    let stopping = async {
        match asked {
            Ending::Terminate => app.stop().await,
            // Somebody sits at the terminal and waits; no load balancer does.
            Ending::Interrupt => app.stop_now().await,
        }
    };
    tokio::select! {
        () = stopping => Ok(ExitCode::SUCCESS),
        _ = endings.next() => {
            tracing::warn!("second signal: ending at once");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The signals that end the gateway, listened to from the start: none is missed between the first and the second.
struct Endings {
    terminate: Signal,
    interrupt: Signal,
}

/// Who asks for the end.
enum Ending {
    /// A supervisor.
    Terminate,
    /// Ctrl-C.
    Interrupt,
}

impl Endings {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::Terminate,
            _ = self.interrupt.recv() => Ending::Interrupt,
        }
    }
}

/// The configuration's path, if there is a file: as told, else at the usual places.
pub(super) fn find(told: Option<PathBuf>) -> Option<PathBuf> {
    told.or_else(|| USUAL_PLACES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned))
}

fn load(path: Option<PathBuf>, overrides: Overrides) -> Result<(ConfigFiles, Loaded), Vec<String>> {
    let mut files = match path {
        Some(path) => ConfigFiles::at(path, overrides),
        None => with_local_servers(overrides),
    };
    let loaded = files.load()?;
    Ok((files, loaded))
}

/// What a person sees who has just started the gateway.
struct Welcome {
    models: Vec<String>,
    routes: Vec<String>,
    wants_key: bool,
}

impl Welcome {
    fn of(config: &Config) -> Self {
        let table = witgate_core::routes::RouteTable::new(config);
        let routes = config.routes.iter().map(|route| {
            let policies: Vec<&str> = route.chain.iter().map(|stage| &*stage.policy).collect();
            format!("  {} → {} deployment(s), {}", route.name, route.deployments.len(), policies.join(" → "))
        });
        Self {
            models: table.models().iter().map(ToString::to_string).collect(),
            routes: routes.collect(),
            wants_key: !config.auth.keys.is_empty(),
        }
    }

    fn text(&self, app: &App) -> String {
        let address = app.address();
        let model = self.models.first().map_or("demo", String::as_str);
        let policies = app.gateway().snapshot().config.policies.directory.display().to_string();
        let key = if self.wants_key { " -H 'authorization: Bearer YOUR_KEY'" } else { "" };
        format!(
            "\nWitgate serves {} model name(s) on http://{address}/v1\n{}\n\nPolicies are watched in {policies}/. \
             Try it:\n  curl -s http://{address}/v1/chat/completions -H 'content-type: application/json'{key} \
             -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n",
            self.models.len(),
            self.routes.join("\n"),
        )
    }
}

const USUAL_PLACES: [&str; 2] = ["witgate.yaml", "/etc/witgate/witgate.yaml"];
