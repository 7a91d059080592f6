//! What a flow's parts promise, through their public face.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod group;
mod interceptors;
mod penalties;
mod positions;
mod seams;
mod selector;
mod stored;
mod support;
mod tasks;
