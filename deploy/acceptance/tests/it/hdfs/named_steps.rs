//! The node dies, or falls asleep (`pauses`), at each of its named steps, before and after it, while it writes to HDFS.

mod pauses;

use super::verify;
use crate::named_steps::{kill_everywhere, node, only_finals, only_living_tokens};
use deploy_acceptance::{Hdfs, NodeOptions, full, rounds};

#[test]
fn a_kill_at_no_step_loses_or_doubles_an_event_on_hdfs() {
    let Some(hdfs) = Hdfs::shared() else { return };
    let name = "named-steps";
    let config = super::config(hdfs, name);
    let environment = hdfs.environment();
    let mut node =
        node(NodeOptions { config: Some(config), environment, ..NodeOptions::default() });
    let ledger = node.folder().join("ledger");
    let rounds = if full() { rounds(1, 16) } else { 0..1 };
    kill_everywhere(&mut node, &ledger, rounds, "2000");
    verify(hdfs, &node, &ledger, name);
    nothing_unfinished(hdfs, name);
}

/// Fails if something has a name that a job would read and is no final, or if the staging of a token that does not
/// live any more is still there.
fn nothing_unfinished(hdfs: &Hdfs, name: &str) {
    // permissions, replication, owner, group, size, day, time, path
    let list = || -> Vec<(bool, String)> {
        let listed = hdfs.fs(&["-ls", "-R", &format!("/{name}/files")]);
        let path = |line: &str| line.split_whitespace().nth(7).map(str::to_owned);
        let entry = |line: &str| Some((line.starts_with('d'), path(line)?));
        listed.lines().filter_map(entry).collect()
    };
    let paths = list();
    let finals = paths.iter().filter(|(folder, path)| !folder && !path.contains("/."));
    only_finals(finals.filter_map(|(_, path)| path.rsplit('/').next()));
    let staging = format!("/{name}/files/.staging/");
    // cluster / flow / sink / lineage / token
    let token = |path: &str| {
        let inside = path.strip_prefix(&staging)?;
        let (at, _) = inside.match_indices('/').nth(2)?;
        let below = &inside[at + 1..];
        (below.matches('/').count() == 1).then(|| below.to_owned())
    };
    only_living_tokens(|| list().iter().filter_map(|(_, path)| token(path)).collect());
}
