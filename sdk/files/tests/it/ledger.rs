//! The ledger in memory does what every ledger must.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sdk_config::ledger::Span;
use sdk_files::ledger::conformance::{Subject, check};
use sdk_files::ledger::{Ledger, MemoryLedger};

use crate::rig::run;

#[derive(Default)]
struct Memory {
    ledger: MemoryLedger,
    roots: AtomicU64,
}

#[async_trait]
impl Subject for Memory {
    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }

    async fn seal(&self, end: u64) {
        self.ledger.seal(end);
    }

    async fn lose(&self, span: Span) {
        self.ledger.lose(span);
    }

    fn fresh_root(&self) -> String {
        format!("/data/root{}", self.roots.fetch_add(1, Ordering::Relaxed))
    }
}

#[test]
fn the_memory_ledger_conforms() {
    run(check(async || Memory::default()));
}
