//! The cap of the state, and its reserve.

use sdk_config::ledger::{BucketKey, CommitFile, Drops, Intent, Refusal};
use server_cluster::command::{LedgerAction, OnLedger, RaiseFloor};
use server_cluster::limits::{FILES_PER_BATCH_MAX, STATE_BYTES_MAX, STATE_RESERVE_BYTES};
use server_cluster::{Command, Reply, State};

use crate::script::{lineage, parse};

struct Holder {
    state: State,
    index: u64,
    number: u64,
}

impl Holder {
    fn new() -> Holder {
        let mut holder = Holder { state: State::new(), index: 0, number: 0 };
        for line in ["init", "up 1", "flow web", "root /r1:1", "acquire 3/0/1"] {
            holder.apply(parse(line).unwrap());
        }
        holder
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.index += 1;
        self.state.apply(self.index, command)
    }

    fn act(&mut self, action: LedgerAction) -> Result<Vec<(u32, Refusal)>, Refusal> {
        self.number += 1;
        let (number, lineage) = (self.number, lineage("3/0/1"));
        match self.apply(OnLedger { lineage, group: 1, token: 1, number, action }.into()) {
            Reply::Ledger(answer) => answer.map(|answer| answer.refused),
            other => panic!("{other:?}"),
        }
    }
}

fn intent(at: u64) -> Intent {
    let bucket = BucketKey {
        sink: 1,
        directory: format!("/r1/{at}{}", "x".repeat(2_000)),
        prefix: "events".to_owned(),
        suffix: String::new(),
    };
    Intent {
        bucket,
        name: "n".repeat(255),
        length: 1,
        crc: 1,
        first: at,
        last: at,
        events: 1,
        previous_end: None,
        continues: true,
        dead_letters: false,
    }
}

#[test]
fn a_full_state_takes_what_makes_it_smaller() {
    let mut holder = Holder::new();
    let mut accepted = 0;
    let refused = loop {
        let batch = (accepted..).take(FILES_PER_BATCH_MAX).map(intent).collect::<Vec<_>>();
        let refused = holder.act(LedgerAction::Intend(batch)).unwrap();
        if !refused.is_empty() {
            break refused;
        }
        accepted += FILES_PER_BATCH_MAX as u64;
        assert!(accepted < 100_000, "the cap was never met");
    };
    assert!(refused.iter().all(|(_, refusal)| *refusal == Refusal::Full));
    let size = holder.state.size();
    assert!((STATE_BYTES_MAX * 95 / 100..STATE_BYTES_MAX).contains(&size), "{size}");
    assert!(holder.state.crowded());
    assert_eq!(size, holder.state.reckon());
    accepted += u64::from(refused[0].0);

    // What else would make it grow is refused; what makes it smaller in the end is not.
    let flow = parse(&format!("flow more spec={}", "s".repeat(900_000))).unwrap();
    assert!(matches!(holder.apply(flow), Reply::Rejected(_)));
    let seal = parse(&format!("seal 3/0/1@{accepted}")).unwrap();
    assert!(matches!(holder.apply(seal), Reply::Sealed(seals) if seals[0].is_ok()));
    for at in (0..accepted).step_by(FILES_PER_BATCH_MAX) {
        let files = (at..accepted).take(FILES_PER_BATCH_MAX).map(|at| CommitFile {
            bucket: intent(at).bucket,
            first: at,
            last: at,
            length: 1,
            crc: 1,
        });
        assert_eq!(holder.act(LedgerAction::Commit(files.collect())).unwrap(), vec![]);
    }
    assert!(holder.state.size() < STATE_BYTES_MAX + STATE_RESERVE_BYTES);
    let raise = RaiseFloor {
        from: 0,
        to: accepted,
        stored: accepted,
        delivered: 0,
        dead_lettered: 0,
        drops: Drops::default(),
    };
    assert_eq!(holder.act(LedgerAction::RaiseFloor(raise)).unwrap(), vec![]);
    assert!(holder.state.size() < 10_000, "{}", holder.state.size());
    assert_eq!(holder.state.audit()[0].total().in_files, accepted);
}

#[test]
fn a_batch_has_a_limit() {
    let mut holder = Holder::new();
    let batch = (0..).take(FILES_PER_BATCH_MAX + 1).map(intent).collect();
    assert!(matches!(holder.act(LedgerAction::Intend(batch)), Err(Refusal::Invalid(_))));
}
