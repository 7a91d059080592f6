//! The file sink from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod crashes;
mod drain;
mod formats;
mod groups;
mod layout;
mod ledger;
mod local_disk;
mod outage;
mod rig;
mod serializers;
mod trouble;
