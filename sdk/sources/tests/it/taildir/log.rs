//! What the source writes to the log.

use std::io;
use std::sync::{Mutex, Once};

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps every line that is logged in this process from now on.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_writer(|| Writer).with_ansi(false).init();
    });
}

/// How many lines have all of these words.
pub(crate) fn lines(words: &[&str]) -> usize {
    let text = TEXT.lock().unwrap();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
