//! What the programs promise, one file for each promise.
