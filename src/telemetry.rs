//! Logs: one line an event to stderr, as text for people or JSON for machines.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged when nobody says.
pub const DEFAULT_FILTER: &str = "info";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, with the fields of the event and of its span.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log level {filter:?} is neither a level nor a list such as info,poolwright=debug")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Somebody else has taken the logs already.
    #[error("logs are already set up")]
    Taken(#[from] TryInitError),
}

/// Sends logs to stderr from now on, for the whole process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    subscriber(format, filter, colours, io::stderr)?.try_init()?;
    Ok(())
}

/// What writes the lines.
fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let directives = if filter.trim().is_empty() {
        DEFAULT_FILTER
    } else {
        filter
    };
    let directives = EnvFilter::try_new(directives).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(directives)
        .with_ansi(colours)
        .with_writer(writer);
    Ok(match format {
        LogFormat::Text => Box::new(lines.finish()),
        LogFormat::Json => Box::new(
            lines
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .finish(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = subscriber(format, filter, false, move || writer.clone()).expect("logs");
        tracing::subscriber::with_default(lines, || {
            tracing::info_span!("run", request = "r-1").in_scope(|| {
                tracing::info!(pool = "foo", "published");
                tracing::debug!("sent");
            });
        });
        let bytes = kept.0.lock().expect("the lines").clone();
        String::from_utf8(bytes).expect("a text")
    }

    /// A JSON line holds the event's fields at the top and those of its span beside them.
    #[test]
    fn json() {
        let text = logged(LogFormat::Json, "");
        let line: serde_json::Value = serde_json::from_str(&text).expect("one line of JSON");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "published");
        assert_eq!(line["pool"], "foo");
        assert_eq!(line["span"]["request"], "r-1");
    }

    /// Text holds the same, and the filter decides what is there.
    #[test]
    fn text() {
        let text = logged(LogFormat::Text, "warn,poolwright=debug");
        assert!(text.contains("published pool=\"foo\"") && text.contains("request=\"r-1\""));
        assert_eq!(text.lines().count(), 2);
        assert_eq!(logged(LogFormat::Text, "error"), "");
    }

    /// A filter that cannot be read is an error that names it.
    #[test]
    fn filters() {
        let error = subscriber(LogFormat::Text, "poolwright=loud", false, io::sink)
            .err()
            .expect("an error");
        assert!(error.to_string().contains("poolwright=loud"));
    }
}
