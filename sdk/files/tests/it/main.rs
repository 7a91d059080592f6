//! The file sink from outside.

mod audit;
mod crashes;
mod drain;
mod groups;
mod layout;
mod ledger;
mod local_disk;
mod rig;
mod serializers;
mod trouble;
