//! `tollgate serve`: run until told to stop, take a changed config on the way.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, failed, say};
use crate::app::{Gateway, Surroundings};
use crate::config::watch::Watch;
use crate::config::{Finding, Loaded, load_checked};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    // Before the files are read, so that no change falls between reading and watching.
    let watch = Watch::new(&args.config.sources().files);
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let logging = match crate::telemetry::log::start(&loaded.config.log) {
        Ok(logging) => std::sync::Arc::new(logging),
        Err(message) => return failed(&message),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    // Heard from before the first caller comes in, so that no signal ends the process without a drain.
    let signals = {
        let _inside = runtime.enter();
        (Signal::hangup(), Signal::stop())
    };
    let gateway = match Gateway::start(&loaded.config, &Surroundings::default()) {
        Ok(gateway) => gateway,
        Err(unfit) => {
            unfit.into_iter().for_each(|(key, message)| say(&loaded.locate(Finding::value(key, message)).to_string()));
            return ExitCode::from(1);
        }
    };
    count_panics(gateway.metrics.clone());
    let counted = logging.clone();
    gateway.count_dropped_lines(move || counted.dropped());
    for address in &gateway.addresses {
        tracing::info!(%address, "serving");
    }
    if let Some(address) = gateway.admin {
        tracing::info!(%address, "operators");
    }
    let watch = watch.inspect_err(|error| tracing::warn!(%error, "changes are taken on SIGHUP only")).ok();
    let last = runtime.block_on(until_told(args, &gateway, loaded, (signals, watch)));
    runtime.block_on(leave(gateway, &last))
}

/// A panic ends one request, not the gateway: it is counted, and logged by its place. Its message could quote a caller.
fn count_panics(metrics: crate::metrics::Metrics) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.inc();
        tracing::error!(at = panic.location().map(tracing::field::display), "panic");
    }));
}

/// Reloads on change and on SIGHUP; comes back with the config in force when told to stop.
async fn until_told(args: &ServeArgs, gateway: &Gateway, first: Loaded, told_by: ((Signal, Signal), Option<Watch>)) -> Loaded {
    let mut current = first;
    let ((mut hangup, mut stop), mut watch) = told_by;
    watch_files(watch.as_mut(), &current);
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.received() => return current,
            () = hangup.received() => tracing::info!("SIGHUP: reading the config"),
            () = changed => tracing::info!("files have changed: reading the config"),
        }
        let Some(next) = reload(args, gateway, &current) else { continue };
        watch_files(watch.as_mut(), &next);
        current = next;
    }
}

/// Watches the files that the config in force is made of.
fn watch_files(watch: Option<&mut Watch>, loaded: &Loaded) {
    if let Some(Err(error)) = watch.map(|watch| watch.set_files(&loaded.watched_files())) {
        tracing::warn!(%error, "changes of some files are taken on SIGHUP only");
    }
}

/// One try to take the config as it stands now; the faults go to the log.
fn reload(args: &ServeArgs, gateway: &Gateway, current: &Loaded) -> Option<Loaded> {
    let next = match load_checked(&args.config.sources(), &|config, _| crate::app::try_out(config)) {
        Ok(next) => next,
        Err(faults) => {
            gateway.refused_config();
            faults.0.iter().for_each(|fault| tracing::error!(%fault, "config fault"));
            tracing::error!(faults = faults.0.len(), "config not taken; the old one is in force");
            return None;
        }
    };
    needs_restart(current, &next);
    match gateway.reload(&next.config) {
        Ok(()) => {
            tracing::info!("config taken");
            Some(next)
        }
        Err(unfit) => {
            unfit
                .into_iter()
                .for_each(|(key, message)| tracing::error!(fault = %next.locate(Finding::value(key, message)), "config fault"));
            tracing::error!("config not taken; the old one is in force");
            None
        }
    }
}

/// Says which changes have no effect before a restart.
fn needs_restart(current: &Loaded, next: &Loaded) {
    let addresses = |loaded: &Loaded| loaded.config.server.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>();
    let (before, after) = (&current.config, &next.config);
    let changes = [
        ("server.listeners", addresses(current) != addresses(next)),
        ("store", before.store != after.store),
        ("server.workers", before.server.workers != after.server.workers),
        ("admin", (before.admin.address, before.admin.enabled) != (after.admin.address, after.admin.enabled)),
        ("log", serde_json::to_value(&before.log).ok() != serde_json::to_value(&after.log).ok()),
    ];
    for (key, _) in changes.iter().filter(|(_, changed)| *changed) {
        tracing::warn!(key, "this change takes effect after a restart only");
    }
}

/// Drains; a second signal ends it at once.
async fn leave(gateway: Gateway, last: &Loaded) -> ExitCode {
    let server = &last.config.server;
    tracing::info!(delay = ?server.drain_delay, patience = ?server.drain_timeout, "stopping");
    gateway.leave();
    let mut again = Signal::stop();
    tokio::select! {
        () = tokio::time::sleep(server.drain_delay.0) => {}
        () = again.received() => {}
    }
    let patience: Duration = server.drain_timeout.0;
    let drained = tokio::task::spawn_blocking(move || gateway.drain(patience));
    tokio::select! {
        drained = drained => {
            let all = drained.unwrap_or(false);
            tracing::info!(all, "stopped");
            ExitCode::from(u8::from(!all))
        }
        () = again.received() => {
            tracing::warn!("stopped at once");
            // The drain thread still waits for transfers; leaving the process is what the signal asks for.
            std::process::exit(1)
        }
    }
}

/// Signals of this process.
struct Signal(Vec<tokio::signal::unix::Signal>);

impl Signal {
    fn of(kinds: &[tokio::signal::unix::SignalKind]) -> Self {
        Self(kinds.iter().filter_map(|kind| tokio::signal::unix::signal(*kind).ok()).collect())
    }

    fn hangup() -> Self {
        Self::of(&[tokio::signal::unix::SignalKind::hangup()])
    }

    fn stop() -> Self {
        Self::of(&[tokio::signal::unix::SignalKind::terminate(), tokio::signal::unix::SignalKind::interrupt()])
    }

    async fn received(&mut self) {
        std::future::poll_fn(|cx| {
            if self.0.iter_mut().any(|signal| signal.poll_recv(cx).is_ready()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}
