//! What the light sinks do with a batch.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod light;
