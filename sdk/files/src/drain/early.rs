//! The bug that gives files their final names before the ledger has their Intents.

use std::sync::Arc;

use sdk_failpoints::mutant;

use super::bucket::Stage;
use super::ledger::Call;
use super::session::Session;
use super::shared::Shared;

/// Renames that come too early: member, source, directory and name.
pub(super) struct Early(Vec<(usize, String, String, String)>);

impl Early {
    /// Those of the files that a call announces; none without the bug.
    pub(super) fn of(session: &mut Session, call: &Call) -> Early {
        let Call::Announce(intents) = call else { return Early(Vec::new()) };
        let intents = if mutant!(SkipIntent) { &intents[..] } else { &[] };
        let renames = intents.iter().filter_map(|(number, id, intent)| {
            let bucket = session.table.get(*number)?;
            let member = bucket.member;
            let Stage::Announcing(closed) = &bucket.segment_mut(*id)?.stage else { return None };
            let directory = intent.bucket.directory.clone();
            Some((member, closed.path.clone(), directory, intent.name.clone()))
        });
        Early(renames.collect())
    }

    /// Does them. Whatever comes of one, it is tried again at its time.
    pub(super) async fn rename(self, shared: &Arc<Shared>) {
        for (member, source, directory, name) in self.0 {
            let fs = shared.sink(member).fs();
            drop(fs.mkdirs(&directory).await);
            drop(fs.rename(&source, &format!("{directory}/{name}")).await);
        }
    }
}
