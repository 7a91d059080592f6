//! What holds whatever is proposed.

use proptest::prelude::*;
use sdk_config::ledger::{BucketKey, CommitFile, Drops, Hole, Intent, Root, RootId, Span};
use server_cluster::codec::{decode_command, decode_snapshot, encode_command, encode_snapshot};
use server_cluster::command::{AddHole, GiveUp, LedgerAction, OnLedger, RaiseFloor};
use server_cluster::{Command, State};

use crate::script::{lineage, parse};

fn bucket(name: u8) -> BucketKey {
    BucketKey {
        sink: u32::from(name % 2),
        directory: format!("/r1/{name}"),
        prefix: "events".to_owned(),
        suffix: String::new(),
    }
}

fn span() -> impl Strategy<Value = Span> {
    (0..60u64, 0..12u64).prop_map(|(first, length)| Span { first, last: first + length })
}

fn action() -> impl Strategy<Value = LedgerAction> {
    let root = |id: u8| Root { path: "/r1".to_owned(), id: RootId([id; 16]) };
    let intent = (0..3u8, span(), 1..4u64, 0..3u32, 0..80u64, any::<bool>(), any::<bool>());
    let intent = intent.prop_map(|(name, span, events, crc, end, continues, dead)| Intent {
        bucket: bucket(name),
        name: format!("{}-{}", span.first, span.last),
        length: 1,
        crc,
        first: span.first,
        last: span.last,
        events,
        previous_end: (end < 60).then_some(end),
        continues,
        dead_letters: dead,
    });
    let commit = (0..3u8, span(), 0..3u32).prop_map(|(name, span, crc)| CommitFile {
        bucket: bucket(name),
        first: span.first,
        last: span.last,
        length: 1,
        crc,
    });
    let floor = (0..60u64, 0..30u64, 0..60u64, 0..3u64, 0..2u64);
    let floor = floor.prop_map(|(from, by, stored, late, lost)| {
        let mut drops = Drops { lost, ..Drops::default() };
        drops.add("late", late);
        RaiseFloor { from, to: from + by, stored, delivered: 0, dead_lettered: 0, drops }
    });
    let hole =
        (0..3u8, span(), 1..4u64, any::<bool>()).prop_map(|(name, span, events, continues)| {
            AddHole {
                bucket: bucket(name),
                hole: Hole { span, events, dead_letters: false },
                continues,
            }
        });
    prop_oneof![
        8 => prop::collection::vec(intent, 1..4).prop_map(LedgerAction::Intend),
        8 => prop::collection::vec(commit, 1..4).prop_map(LedgerAction::Commit),
        4 => floor.prop_map(LedgerAction::RaiseFloor),
        2 => (0..20u64).prop_map(move |token| LedgerAction::Fenced(vec![(token, root(1))])),
        1 => (0..3u8).prop_map(|name| LedgerAction::Quarantine {
            bucket: bucket(name),
            reason: "no".to_owned()
        }),
        1 => (0..3u8).prop_map(|name| LedgerAction::Release(bucket(name))),
        2 => hole.prop_map(LedgerAction::AddHole),
        1 => (0..3u8, span()).prop_map(|(name, span)| {
            LedgerAction::GiveUp(GiveUp { bucket: bucket(name), span })
        }),
    ]
}

/// A step of a story that is steered towards what is acceptable: most random commands are refused.
#[derive(Debug, Clone)]
enum Step {
    Line(String),
    /// On the newest ledger, in its turn, with the floor, ends and spans put right when `fair`.
    Act {
        action: LedgerAction,
        fair: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let line = prop_oneof![
        Just("acquire 3/0/1"),
        Just("acquire 3/0/2"),
        Just("seal 3/0/1@50"),
        Just("seal 3/0/2@9 version=2"),
        Just("lost 3/0/1 5-9 20-22"),
        Just("apply 3 spec=v2 sinks=other groups=out:main:other"),
        Just("report 3 1 failed"),
        Just("report 3 1 worked report=2"),
        Just("clear"),
        Just("adopt /r1:1 before=1"),
        Just("up 1 start=2"),
        Just("abandon 3/0/1 end=3"),
        Just("resolve 3/0/1 a discard"),
        Just("remove-flow 3"),
    ];
    prop_oneof![
        1 => line.prop_map(|line| Step::Line(line.to_owned())),
        6 => (action(), prop::bool::weighted(0.8))
            .prop_map(|(action, fair)| Step::Act { action, fair }),
    ]
}

/// Plays the steps, checks after each, and gives the commands.
fn play(steps: &[Step]) -> (State, Vec<Command>) {
    let mut state = State::new();
    let mut commands = Vec::new();
    for line in ["init", "up 1", "flow web", "root /r1:1", "acquire 3/0/1"] {
        commands.push(parse(line).unwrap());
        state.apply(commands.len() as u64, parse(line).unwrap());
    }
    let mut numbers = std::collections::BTreeMap::<u64, u64>::new();
    for step in steps {
        let command = match step {
            Step::Line(line) => parse(line).unwrap(),
            Step::Act { action, fair } => {
                let epoch = if state.lineage(lineage("3/0/1")).is_some() { 1 } else { 2 };
                let lineage = lineage(&format!("3/0/{epoch}"));
                let Some(ledger) = state.ledger(lineage, 1) else { continue };
                let token = ledger.token;
                let mut action = action.clone();
                if *fair {
                    mend(&mut action, ledger);
                }
                let number = numbers.entry(token).or_default();
                *number += 1;
                let number = *number;
                OnLedger { lineage, group: 1, token, number, action }.into()
            }
        };
        commands.push(command.clone());
        state.apply(commands.len() as u64, command);
        check(&state);
    }
    (state, commands)
}

/// Makes a proposal that the ledger might accept.
fn mend(action: &mut LedgerAction, ledger: &server_cluster::state::Ledger) {
    match action {
        LedgerAction::Fenced(pairs) => *pairs = ledger.earlier.clone(),
        LedgerAction::Intend(intents) => {
            for intent in intents {
                let known = ledger.buckets.get(&intent.bucket);
                let end = known.and_then(|bucket| bucket.end);
                intent.previous_end = end;
                let length = intent.last - intent.first;
                intent.first = end.map_or(ledger.floor, |end| end + 1).max(ledger.floor);
                if let Some(hole) = known.and_then(|bucket| bucket.holes.first()) {
                    intent.first = hole.span.first;
                    intent.dead_letters = false;
                }
                intent.last = intent.first + length;
                intent.events = intent.events.min(length + 1);
                intent.name = format!("{}-{}", intent.first, intent.last);
            }
        }
        LedgerAction::Commit(files) => {
            for file in files {
                let open = ledger.buckets.get(&file.bucket).and_then(|it| it.open.first());
                let Some(open) = open else { continue };
                (file.first, file.last) = (open.span.first, open.span.last);
                file.crc = open.attempts[0].crc;
            }
        }
        LedgerAction::RaiseFloor(raise) => {
            let by = raise.to - raise.from;
            raise.from = ledger.floor;
            raise.to = raise.from + by;
            raise.stored = ledger.book.stored + by.min(3);
        }
        LedgerAction::AddHole(hole) => {
            let length = hole.hole.span.last - hole.hole.span.first;
            let first = ledger.end.max(ledger.floor);
            hole.hole.span = Span { first, last: first + length };
            hole.hole.events = hole.hole.events.min(length + 1);
        }
        _ => (),
    }
}

/// The invariants of a state.
fn check(state: &State) {
    assert_eq!(state.size(), state.reckon(), "the size is kept");
    for (lineage, found) in state.lineages() {
        let newest = state.epoch(lineage) == lineage.epoch;
        assert_eq!(newest, found.sealed.is_none(), "the newest lineage alone is unsealed");
        assert!(!found.drained(), "what is drained leaves");
        for pair in found.lost.windows(2) {
            assert!(pair[0].span.last < pair[1].span.first, "lost ranges never overlap");
        }
        for ledger in found.ledgers.values() {
            if let Some(end) = found.sealed {
                assert!(ledger.end <= end && ledger.floor <= end, "nothing lies beyond the end");
            }
            for (key, bucket) in &ledger.buckets {
                // Open, then holes, ascending; what is recorded stands apart from them.
                let spans: Vec<Span> = (bucket.open.iter().map(|open| open.span))
                    .chain(bucket.holes.iter().map(|hole| hole.span))
                    .collect();
                let ascend = |spans: &[Span]| {
                    for pair in spans.windows(2) {
                        assert!(pair[0].last < pair[1].first, "{key:?} overlaps: {bucket:?}");
                    }
                };
                ascend(&spans);
                ascend(&bucket.committed);
                let mut all = [&spans[..], &bucket.committed].concat();
                all.sort_unstable();
                ascend(&all);
                let open = bucket.open.last().map(|open| open.span.last);
                assert!(bucket.end >= open, "{bucket:?}");
                let hole = bucket.holes.first().map(|hole| hole.span.first);
                assert!(hole.is_none() || bucket.end < hole, "{bucket:?}");
                for open in bucket.open.iter().filter(|open| !open.pinned) {
                    assert!(open.span.first >= ledger.floor, "the floor passed an open file");
                }
                assert!(bucket.committed.iter().all(|span| span.last >= ledger.floor));
            }
            assert!(ledger.first_needed() <= ledger.floor);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn ledgers_keep_their_order(steps in prop::collection::vec(step(), 1..80)) {
        play(&steps);
    }

    #[test]
    fn replicas_agree_to_the_byte(
        steps in prop::collection::vec(step(), 1..60),
        restart in 0..60usize,
    ) {
        let (state, commands) = play(&steps);
        let mut other = State::new();
        for (at, command) in commands.iter().enumerate() {
            if at == restart {
                other = decode_snapshot(&encode_snapshot(&other)).unwrap();
            }
            let command = decode_command(&encode_command(command)).unwrap();
            other.apply(at as u64 + 1, command.clone());
            // A second time it changes nothing.
            other.apply(at as u64 + 1, command);
        }
        prop_assert_eq!(&other, &state);
        prop_assert_eq!(encode_snapshot(&other), encode_snapshot(&state));
        prop_assert_eq!(decode_snapshot(&encode_snapshot(&state)).unwrap(), state);
    }

    /// Every event that a batch of Intents brought in is at any time in one place.
    #[test]
    fn totals_conserve(steps in prop::collection::vec(step(), 1..80)) {
        let (_, commands) = play(&steps);
        let mut state = State::new();
        for (at, command) in commands.into_iter().enumerate() {
            let waiting_before = waiting(&state);
            let ended_before = ended(&state);
            let lost_before = lost(&state);
            let brings = brought(&state, &command);
            let removes = matches!(command, Command::RemoveFlow(_));
            let dropped = raised(&command);
            let floors_before = floors(&state);
            let reply = state.apply(at as u64 + 1, command);
            if removes {
                break;
            }
            let accepted = match &reply {
                server_cluster::Reply::Ledger(Ok(answer)) => {
                    let refused: Vec<u32> = answer.refused.iter().map(|(at, _)| *at).collect();
                    let brings = (0u32..).zip(brings).filter(|(at, _)| !refused.contains(at));
                    brings.map(|(_, events)| events).sum()
                }
                _ => 0,
            };
            // Of what is lost only as much is booked as stands in no other column.
            let lost = lost(&state) - lost_before;
            let passed = if floors(&state) != floors_before { dropped + lost } else { 0 };
            // Repeats and superseding Intents bring nothing new, so this is an upper bound; what
            // ends always came from what waited, or was dropped as the floor passed it.
            let ended_by = ended(&state) - ended_before - passed;
            let came = waiting(&state) + ended_by;
            prop_assert!(came <= waiting_before + accepted);
            prop_assert!(came >= waiting_before, "events vanished");
        }
    }
}

fn waiting(state: &State) -> u64 {
    state.audit().iter().flat_map(|row| &row.living).map(|living| living.waiting).sum()
}

fn lost(state: &State) -> u64 {
    state.audit().iter().map(|row| row.total().lost).sum()
}

fn ended(state: &State) -> u64 {
    state.audit().iter().map(|row| row.total().ended()).sum()
}

fn floors(state: &State) -> u64 {
    let living = state.audit();
    let living = living.iter().flat_map(|row| &row.living).map(|living| living.floor).sum::<u64>();
    // A lineage that leaves takes its floor with it.
    living + 1_000 * state.lineages().filter(|(it, _)| it.epoch == 1).count() as u64
}

/// Events that each item of a command may bring in.
fn brought(state: &State, command: &Command) -> Vec<u64> {
    let Command::OnLedger(OnLedger { action, lineage, group, .. }) = command else { return vec![] };
    let holes = |bucket: &BucketKey| {
        let ledger = state.ledger(*lineage, *group)?;
        Some(!ledger.buckets.get(bucket)?.holes.is_empty())
    };
    match action {
        // What fills a hole has been counted with the hole.
        LedgerAction::Intend(intents) => intents
            .iter()
            .map(|it| if holes(&it.bucket) == Some(true) { 0 } else { it.events })
            .collect(),
        LedgerAction::AddHole(hole) => vec![hole.hole.events],
        _ => vec![],
    }
}

/// Events that a raised floor says no sink gets.
fn raised(command: &Command) -> u64 {
    match command {
        Command::OnLedger(OnLedger { action: LedgerAction::RaiseFloor(raise), .. }) => {
            raise.drops.dropped()
        }
        _ => 0,
    }
}
