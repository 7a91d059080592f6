//! `logger`: the log of the process, for looking.

use std::fmt;
use std::io::{self, Write};

use async_trait::async_trait;
use sdk_config::LoggerSink;
use sdk_event::EventRef;
use sdk_flow::{Batch, Sink, SinkError};
use tracing::info;

/// Bytes in a line of a dump, as in Flume.
const LINE_BYTES: usize = 16;

/// Shows each event as Flume's logger sink does: headers, then the first bytes of the body in hex
/// and as text. Into the log of the process, unless it is given something else to write to.
pub struct Logger {
    body_bytes_max: usize,
    writer: Option<Box<dyn Write + Send>>,
}

impl Logger {
    /// A sink as `spec` says.
    #[must_use]
    pub fn new(spec: &LoggerSink) -> Logger {
        Logger { body_bytes_max: spec.max_bytes_to_log as usize, writer: None }
    }

    /// Writes to `writer`, such as standard output, instead of the log.
    #[must_use]
    pub fn with_writer(mut self, writer: Box<dyn Write + Send>) -> Logger {
        self.writer = Some(writer);
        self
    }

    /// `{ headers:{k=v, …} body: 68 65 6C 6C 6F    hello }`, where the event's timestamp is the
    /// header `timestamp`. Each further line of the dump begins with its offset.
    #[must_use]
    pub fn line(&self, event: &EventRef<'_>) -> String {
        let mut line = String::from("{ headers:{");
        let mut comma = "";
        if let Some(timestamp_ms) = event.timestamp_ms() {
            push(&mut line, format_args!("timestamp={timestamp_ms}"));
            comma = ", ";
        }
        for (key, value) in event.headers() {
            push(&mut line, format_args!("{comma}{}={}", printable(key), printable(value)));
            comma = ", ";
        }
        line.push_str("} body:");
        let body = event.body();
        let shown = &body[..body.len().min(self.body_bytes_max)];
        for (number, bytes) in shown.chunks(LINE_BYTES).enumerate() {
            if number > 0 {
                push(&mut line, format_args!("\n{:08X}", number * LINE_BYTES));
            }
            bytes.iter().for_each(|byte| push(&mut line, format_args!(" {byte:02X}")));
            // Text stands in one column, also behind a line that is not full.
            let width = 3 * (LINE_BYTES - bytes.len()) + 1;
            push(&mut line, format_args!("{:width$}", ""));
            let text = |byte: &u8| if matches!(byte, 0x20..=0x7E) { *byte as char } else { '.' };
            line.extend(bytes.iter().map(text));
        }
        line.push_str(" }");
        line
    }
}

/// Control characters must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

fn push(line: &mut String, what: fmt::Arguments<'_>) {
    fmt::Write::write_fmt(line, what).expect("a string takes everything");
}

#[async_trait]
impl Sink for Logger {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        for (_, event) in batch.events() {
            let line = self.line(&event);
            // The one place where content is shown: it is what this sink is for.
            match &mut self.writer {
                None => info!(target: "event", "Event: {line}"),
                Some(writer) => writeln!(writer, "Event: {line}").map_err(unavailable)?,
            }
        }
        match &mut self.writer {
            None => Ok(()),
            Some(writer) => writer.flush().map_err(unavailable),
        }
    }
}

fn unavailable(error: io::Error) -> SinkError {
    SinkError::Unavailable(error.into())
}
