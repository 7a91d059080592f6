//! Randomness, as a thing that is handed in.

use std::sync::Mutex;

/// Where random bytes come from.
///
/// Nothing outside this module draws randomness, so that a seed replays a run.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`. Never fails: a machine that cannot is not one we run on.
    fn fill(&self, bytes: &mut [u8]);

    /// A number with every bit random.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `end`, or 0 if `end` is 0.
    fn below(&self, end: u64) -> u64 {
        // The high half of a widening product: no division, and a bias of at
        // most `end / 2^64`.
        let product = u128::from(self.next_u64()) * u128::from(end);
        u64::try_from(product >> 64).expect("the high half of a u128 fits")
    }

    /// A fraction, at least 0 and below 1.
    fn fraction(&self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The kernel's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        getrandom::fill(bytes).expect("the kernel has randomness");
    }
}

/// The same bytes for the same seed. For simulation and tests, never for keys.
#[derive(Debug)]
pub struct SeededEntropy {
    state: Mutex<u64>,
}

impl SeededEntropy {
    /// The stream that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { state: Mutex::new(seed) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock().expect("no panic while the lock is held");
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&split_mix(&mut state).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// SplitMix64: one multiplication chain per word, and every seed is a good one.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
