//! `logger`: the log of the process, for looking.

use std::fmt::Write as _;

use async_trait::async_trait;
use sdk_config::LoggerSink;
use sdk_event::EventRef;
use sdk_flow::{Batch, Sink, SinkError};
use tracing::info;

/// Bytes in a line of a dump, as in Flume.
const LINE_BYTES: usize = 16;

/// Writes one line of the log per event, as Flume's logger sink does: headers, then the first bytes
/// of the body in hex and as text.
pub struct Logger {
    body_bytes_max: usize,
}

impl Logger {
    /// A sink as `spec` says.
    #[must_use]
    pub fn new(spec: &LoggerSink) -> Logger {
        Logger { body_bytes_max: spec.max_bytes_to_log as usize }
    }

    /// `{ headers:{k=v, …} body: 68 65 6C 6C 6F    hello }`.
    #[must_use]
    pub fn line(&self, event: &EventRef<'_>) -> String {
        let mut line = String::from("{ headers:{");
        for (number, (key, value)) in event.headers().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            push(&mut line, format_args!("{comma}{}={}", printable(key), printable(value)));
        }
        line.push_str("} body:");
        let body = event.body();
        for bytes in body[..body.len().min(self.body_bytes_max)].chunks(LINE_BYTES) {
            if bytes.as_ptr() != body.as_ptr() {
                line.push('\n');
            }
            bytes.iter().for_each(|byte| push(&mut line, format_args!(" {byte:02X}")));
            // Text stands in one column, also behind a line that is not full.
            let width = 3 * (LINE_BYTES - bytes.len()) + 1;
            push(&mut line, format_args!("{:width$}", ""));
            let shown = |byte: &u8| if matches!(byte, 0x20..=0x7E) { *byte as char } else { '.' };
            line.extend(bytes.iter().map(shown));
        }
        line.push_str(" }");
        line
    }
}

/// Control characters must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

fn push(line: &mut String, what: std::fmt::Arguments<'_>) {
    line.write_fmt(what).expect("a string takes everything");
}

#[async_trait]
impl Sink for Logger {
    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        for (_, event) in batch.events() {
            // The one place where content goes into a log: it is what this sink is for.
            info!(target: "event", "Event: {}", self.line(&event));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sdk_event::{BlockBuilder, Codec, ProducerId};

    fn line(headers: &[(&str, &str)], body: &[u8], max_bytes_to_log: u32) -> String {
        let mut builder = BlockBuilder::new(ProducerId([1; 16]), 1, 0);
        builder.push(None, headers.iter().copied(), body).unwrap();
        let block = builder.finish(Codec::None);
        let logger = Logger::new(&LoggerSink { max_bytes_to_log, ..LoggerSink::default() });
        logger.line(&block.events().next().unwrap())
    }

    #[test]
    fn lines_are_flumes() {
        assert_eq!(
            line(&[("k", "v"), ("a", "b")], b"hello", 16),
            "{ headers:{k=v, a=b} body: 68 65 6C 6C 6F                                  hello }"
        );
        assert_eq!(line(&[], b"", 16), "{ headers:{} body: }");
        assert!(line(&[], b"0123456789abcdefXYZ", 16).ends_with("0123456789abcdef }"));
        assert!(line(&[("k", "a\u{1b}[2J")], b"\x00\x7f", 16).contains("k=a.[2J"));
    }
}
