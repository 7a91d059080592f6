//! What the configuration promises.

mod specs;
