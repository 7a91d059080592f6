//! The clock and the randomness of this machine, for whoever brings none.

// Whoever simulates gives `LogOptions` others.
#![allow(clippy::disallowed_methods)]

use crate::options::{Monotonic, Random};
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn monotonic() -> Monotonic {
    let start = Instant::now();
    Arc::new(move || start.elapsed())
}

pub(crate) fn random() -> Random {
    Arc::new(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).expect("the kernel has randomness once it has booted");
        u64::from_ne_bytes(bytes)
    })
}
