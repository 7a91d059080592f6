//! What threads do in a node: writes the log, turns Raft. Here it is done whenever nothing else can happen.

use sdk_flow::{Entropy, SeededEntropy};
use sdk_wal::Log;
use server_raft::Driver;
use std::sync::Mutex;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One in so many turns the disk is slow, and time passes first.
const SLOW_ONE_IN: u64 = 6;

/// Turned before the runtime's thread would sleep.
#[derive(Default)]
pub(crate) struct Pump {
    running: Mutex<Option<Running>>,
    /// Once the control plane is dead.
    pub(crate) dead: CancellationToken,
}

struct Running {
    log: Log,
    driver: Driver,
    draw: SeededEntropy,
}

impl Pump {
    /// Begins to turn these.
    pub(crate) fn start(&self, log: Log, driver: Driver, seed: u64) {
        let draw = SeededEntropy::new(seed);
        *self.running.lock().expect("no panic while the lock is held") =
            Some(Running { log, driver, draw });
    }

    /// Lets everything happen that waits for a disk.
    pub(crate) fn turn(&self) {
        let mut running = self.running.lock().expect("no panic while the lock is held");
        let Some(Running { log, driver, draw }) = running.as_mut() else { return };
        if draw.below(SLOW_ONE_IN) == 0 {
            return;
        }
        log.drive();
        if driver.turn(Duration::ZERO).is_err() {
            self.dead.cancel();
        }
    }
}
