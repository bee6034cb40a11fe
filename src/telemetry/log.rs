//! Where log lines go: standard error, through a thread of its own.

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{LogConfig, LogFormat};

/// Lines that may wait for the writer; more are dropped and counted, so that no request waits.
const WAITING: usize = 65_536;

/// Keeps the writer alive; dropping it writes what is left.
pub struct Logging {
    _guard: WorkerGuard,
    dropped: ErrorCounter,
}

impl Logging {
    /// Lines dropped so far.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }
}

/// Starts logging for the process. The second call in one process changes nothing.
///
/// # Errors
/// A sentence when the level is not understood.
pub fn start(config: &LogConfig) -> Result<Logging, String> {
    let filter = EnvFilter::try_new(directives(&config.level)).map_err(|e| format!("log.level: {e}"))?;
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).thread_name("log").finish(std::io::stderr());
    let dropped = writer.error_counter();
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(layer.with_span_events(FmtSpan::NONE).with_writer(writer)).try_init()
        }
        LogFormat::Text => registry.with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer)).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging had been started before");
    }
    Ok(Logging { _guard: guard, dropped })
}

/// The directives of a level. A bare level is Tollgate's own: libraries stay at `info` unless a
/// directive names them, because below that some of them write what they read from a connection,
/// tokens among it.
fn directives(level: &str) -> String {
    let capped = |piece: &str| match piece.trim().parse::<LevelFilter>() {
        Ok(bare) if bare > LevelFilter::INFO => format!("info,tollgate={bare}"),
        _ => piece.to_owned(),
    };
    level.split(',').map(capped).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_not_for_libraries() {
        for (level, becomes) in [
            ("trace", "info,tollgate=trace"),
            ("DEBUG", "info,tollgate=debug"),
            ("info", "info"),
            ("warn", "warn"),
            ("off", "off"),
            ("info,tollgate::proxy=debug", "info,tollgate::proxy=debug"),
            ("debug,hyper=trace", "info,tollgate=debug,hyper=trace"),
            ("trace,tollgate::access=off", "info,tollgate=trace,tollgate::access=off"),
        ] {
            assert_eq!(directives(level), becomes);
            assert!(EnvFilter::try_new(directives(level)).is_ok(), "{level}");
        }
    }
}
