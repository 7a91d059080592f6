//! Blocks through their public face.

mod blocks;
