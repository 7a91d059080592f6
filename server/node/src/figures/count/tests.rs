//! Books that do not balance, and are said not to.

use super::{Waiting, weigh};
use crate::figures::Figures;
use crate::figures::rig::{config, send, started};
use sdk_config::ledger::Drops;
use server_cluster::command::{LedgerAction, OnLedger, RaiseFloor};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn what_is_in_no_column_is_missed() {
    let well = Waiting { stored: 100, pending: 60, agree: true };
    assert_eq!(weigh(70, 40, 30, 0, 100), well);
    assert!(!weigh(70, 40, 29, 0, 100).agree, "read, not ended, in no hand");
    assert!(!weigh(70, 39, 30, 0, 100).agree, "ended nowhere");
    assert!(!weigh(70, 41, 30, 0, 100).agree, "ended twice");
    assert!(!weigh(70, 40, 30, 0, 69).agree, "read, never stored");
    assert_eq!(weigh(70, 40, 28, 5, 100), well);
    assert!(!weigh(70, 40, 24, 5, 100).agree, "more than was lost");
}

/// Stored, pending, and whether the columns agree; asked until they are as `expected`, after `nudge`
/// each time.
async fn audited_after(nudge: impl Fn(), figures: &Figures, expected: (u64, u64, bool)) {
    let mut last = None;
    for _ in 0..400 {
        nudge();
        let books = figures.counted_books().await;
        let found = books.first().map(|book| (book.stored, book.pending, book.agree));
        if found == Some(expected) {
            return;
        }
        last = found;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{last:?} instead of {expected:?}");
}

async fn audited(figures: &Figures, expected: (u64, u64, bool)) {
    audited_after(|| (), figures, expected).await;
}

/// Raises the floor over everything, as a drain with a defect would: nothing is booked for it.
async fn lose_everything(figures: &Figures) {
    let row = figures.cluster.read(server_cluster::State::audit).remove(0);
    let living = row.living[0].clone();
    let held = figures.lineages.get(living.lineage).expect("the node has it");
    let (to, totals) = held.held.totals();
    let (lineage, group) = (living.lineage, living.group);
    for number in 1.. {
        let (floor, token) = figures.cluster.read(|state| {
            let ledger = state.ledger(lineage, group).expect("it is not drained");
            (ledger.floor, ledger.token)
        });
        let raise = RaiseFloor {
            from: floor,
            to,
            stored: totals.channel(0).stored(),
            delivered: 0,
            dead_lettered: 0,
            drops: Drops::default(),
        };
        let action = LedgerAction::RaiseFloor(raise);
        let forged = OnLedger { lineage, group, token, number, action };
        // Under a number that the drain has used already, its answer comes again.
        figures.cluster.propose(forged).await.expect("an answer");
        let floor = figures.cluster.read(|state| state.ledger(lineage, group).map(|it| it.floor));
        if floor == Some(to) {
            break;
        }
        assert!(number < 1_000, "no turn is ours");
    }
    figures.drains.refresh(None);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_lost_between_log_and_ledger_unbalance_the_books() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = started(config(folder.path())).await;
    let figures = Arc::clone(node.figures());
    send(&node, 10).await;
    audited(&figures, (10, 10, true)).await;
    send(&node, 5).await;
    audited(&figures, (15, 15, true)).await;
    lose_everything(&figures).await;
    audited(&figures, (15, 0, false)).await;
    // Others that wait do not stand in for them.
    send(&node, 15).await;
    audited(&figures, (30, 15, false)).await;
    // A roll finishes what is open: it comes too early for a drain that has not read them yet.
    audited_after(|| node.roll_now(), &figures, (30, 0, false)).await;
    node.stop().await;
}
