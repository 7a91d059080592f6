//! What every ledger must do. Each ledger runs this against itself.

use async_trait::async_trait;
use sdk_config::ledger::{
    BucketKey, BucketState, CommitFile, Drops, Grant, Hole, Intent, Refusal, Root, RootClaim,
    RootId, Span,
};

use super::{FILES_PER_BATCH_MAX, Ledger, LedgerError, Raise};

/// A ledger of a fresh lineage, with what only its surroundings can do.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The ledger.
    fn ledger(&self) -> &dyn Ledger;

    /// Seals the lineage at `end`.
    async fn seal(&self, end: u64);

    /// Lists a range of the lineage as lost.
    async fn lose(&self, span: Span);

    /// A path that no test before has used as a root, absolute, with two components at least.
    fn fresh_root(&self) -> String;
}

/// Runs every check, each on a fresh subject.
pub async fn check<S: Subject>(new: impl AsyncFn() -> S) {
    tokens_grow_and_end_the_ones_before(&new().await).await;
    a_token_never_granted_is_nobodys(&new().await).await;
    roots_are_recorded_once_and_judged(&new().await).await;
    refused_roots_delay_no_other(&new().await).await;
    earlier_tokens_are_fenced_first(&new().await).await;
    intents_follow_each_other(&new().await).await;
    answers_are_per_file(&new().await).await;
    an_intent_is_superseded_by_its_like_alone(&new().await).await;
    commits_are_in_order_and_of_what_was_announced(&new().await).await;
    a_grant_tells_what_was_left(&new().await).await;
    the_floor_moves_from_where_it_is(&new().await).await;
    below_the_floor_nothing_begins(&new().await).await;
    continued_ranges_join(&new().await).await;
    the_end_of_a_sealed_lineage_holds(&new().await).await;
    quarantine_refuses_what_is_new(&new().await).await;
    a_pinned_intent_lets_the_floor_pass(&new().await).await;
    holes_are_filled_from_their_beginning(&new().await).await;
    only_what_is_lost_is_given_up(&new().await).await;
    what_is_given_up_is_recorded(&new().await).await;
    holes_lack_what_is_lost(&new().await).await;
    holes_are_not_joined_over_what_is_given_up(&new().await).await;
    only_listed_losses_are_booked(&new().await).await;
}

/// A holder at work.
struct Holder<'a> {
    ledger: &'a dyn Ledger,
    token: u64,
    root: Root,
}

const ID: RootId = RootId([9; 16]);

impl<'a> Holder<'a> {
    /// Records a fresh root and acquires a token there.
    async fn new(subject: &'a dyn Subject) -> (Holder<'a>, Grant) {
        let ledger = subject.ledger();
        let root = Root { path: subject.fresh_root(), id: ID };
        assert_eq!(ledger.record_root(root.clone()).await.expect("records"), ID);
        let grant = ledger.acquire(&[claim(&root)]).await.expect("granted");
        (Holder { ledger, token: grant.token, root }, grant)
    }

    /// The next holder, which has fenced those before.
    async fn next(&self) -> (Holder<'a>, Grant) {
        let grant = self.ledger.acquire(&[claim(&self.root)]).await.expect("granted");
        let earlier = grant.earlier.clone();
        self.ledger.fenced(grant.token, earlier).await.expect("fenced");
        let root = self.root.clone();
        (Holder { ledger: self.ledger, token: grant.token, root }, grant)
    }

    fn bucket(&self, name: &str) -> BucketKey {
        BucketKey {
            sink: 1,
            directory: format!("{}/{name}", self.root.path),
            prefix: "events".to_owned(),
            suffix: ".log".to_owned(),
        }
    }

    fn intent(&self, bucket: &str, first: u64, last: u64, previous_end: Option<u64>) -> Intent {
        Intent {
            bucket: self.bucket(bucket),
            name: format!("events.{first:020}-{last:020}.log"),
            length: 100 + first,
            crc: 7,
            first,
            last,
            events: last - first + 1,
            previous_end,
            continues: true,
            dead_letters: false,
        }
    }

    async fn intend(&self, intent: Intent) -> Result<(), Refusal> {
        let mut answers = self.ledger.intend(self.token, vec![intent]).await.expect("answered");
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    async fn commit(&self, intent: &Intent) -> Result<(), Refusal> {
        let file = commit_of(intent);
        let mut answers = self.ledger.commit(self.token, vec![file]).await.expect("answered");
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    async fn done(&self, intent: Intent) {
        assert_eq!(self.intend(intent.clone()).await, Ok(()));
        assert_eq!(self.commit(&intent).await, Ok(()));
    }

    async fn raise(&self, from: u64, to: u64) -> Result<(), Refusal> {
        let raise = Raise { from, to, events: to - from, drops: Drops::default() };
        refusal(self.ledger.raise_floor(self.token, raise).await)
    }

    async fn hole(&self, bucket: &str, first: u64, last: u64, events: u64) -> Result<(), Refusal> {
        let hole = Hole { span: Span { first, last }, events, dead_letters: false };
        refusal(self.ledger.add_hole(self.token, self.bucket(bucket), hole, false).await)
    }

    async fn state(&self, bucket: &str) -> Option<BucketState> {
        let grant = self.ledger.acquire(&[claim(&self.root)]).await.expect("granted");
        let key = self.bucket(bucket);
        grant.buckets.into_iter().find(|state| state.bucket == key)
    }
}

fn claim(root: &Root) -> RootClaim {
    RootClaim { path: root.path.clone(), id: Some(root.id) }
}

fn commit_of(intent: &Intent) -> CommitFile {
    CommitFile {
        bucket: intent.bucket.clone(),
        first: intent.first,
        last: intent.last,
        length: intent.length,
        crc: intent.crc,
    }
}

fn refusal<T>(answer: Result<T, LedgerError>) -> Result<T, Refusal> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(LedgerError::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("the ledger must answer here: {error}"),
    }
}

fn span(first: u64, last: u64) -> Span {
    Span { first, last }
}

async fn tokens_grow_and_end_the_ones_before(subject: &dyn Subject) {
    let (old, first) = Holder::new(subject).await;
    let (new, second) = old.next().await;
    assert!(second.token > first.token);
    assert_eq!((first.floor, first.sealed_end), (0, None));
    let stale = Err(Refusal::StaleToken { current: second.token });
    let ledger = subject.ledger();
    let intent = old.intent("a", 0, 4, None);
    assert_eq!(refusal(ledger.intend(old.token, vec![intent.clone()]).await), stale);
    assert_eq!(refusal(ledger.commit(old.token, vec![commit_of(&intent)]).await), stale);
    let stale = Err(Refusal::StaleToken { current: second.token });
    assert_eq!(old.raise(0, 1).await, stale);
    assert_eq!(old.hole("a", 0, 1, 1).await, stale);
    assert_eq!(refusal(ledger.fenced(old.token, Vec::new()).await), stale);
    let quarantined = ledger.quarantine(old.token, old.bucket("a"), "no".to_owned()).await;
    assert_eq!(refusal(quarantined), stale);
    assert_eq!(refusal(ledger.release(old.token, old.bucket("a")).await), stale);
    assert_eq!(refusal(ledger.give_up(old.token, old.bucket("a"), span(0, 1)).await), stale);
    let stale = Err(Refusal::StaleToken { current: second.token });
    assert_eq!(refusal(ledger.show_roots(old.token, Vec::new()).await), stale);
    // Nothing of it was done.
    assert_eq!(new.intend(intent).await, Ok(()));
}

async fn a_token_never_granted_is_nobodys(subject: &dyn Subject) {
    let ledger = subject.ledger();
    let raise = Raise { from: 0, to: 0, events: 0, drops: Drops::default() };
    for token in [0, 1_000_000] {
        let answer = refusal(ledger.raise_floor(token, raise.clone()).await);
        assert!(matches!(answer, Err(Refusal::StaleToken { .. })), "{answer:?}");
    }
}

async fn roots_are_recorded_once_and_judged(subject: &dyn Subject) {
    let ledger = subject.ledger();
    let path = subject.fresh_root();
    let acquire = |id| {
        let claims = vec![RootClaim { path: path.clone(), id }];
        async move { refusal(ledger.acquire(&claims).await).map(|grant| grant.roots.len()) }
    };
    assert_eq!(ledger.recorded_root(&path).await.expect("answered"), None);
    assert_eq!(acquire(None).await, Err(Refusal::NoMarker { recorded: None }));
    assert_eq!(acquire(Some(ID)).await, Err(Refusal::UnrecordedRoot));
    let root = Root { path: path.clone(), id: ID };
    assert_eq!(ledger.record_root(root).await.expect("recorded"), ID);
    assert_eq!(ledger.recorded_root(&path).await.expect("answered"), Some(ID));
    let other = RootId([8; 16]);
    let second = Root { path: path.clone(), id: other };
    assert_eq!(ledger.record_root(second).await.expect("answered"), ID, "the first one stays");
    assert_eq!(acquire(None).await, Err(Refusal::NoMarker { recorded: Some(ID) }));
    assert_eq!(acquire(Some(other)).await, Err(Refusal::OtherRoot { recorded: ID }));
    assert_eq!(acquire(Some(ID)).await, Ok(1));
}

async fn refused_roots_delay_no_other(subject: &dyn Subject) {
    let ledger = subject.ledger();
    let good = Root { path: subject.fresh_root(), id: ID };
    let late = Root { path: subject.fresh_root(), id: RootId([7; 16]) };
    ledger.record_root(good.clone()).await.expect("recorded");
    let unseen = RootClaim { path: late.path.clone(), id: None };
    let grant = ledger.acquire(&[claim(&good), unseen]).await.expect("granted");
    assert_eq!(grant.roots, [good]);
    assert_eq!(grant.refused_roots, [(late.path.clone(), Refusal::NoMarker { recorded: None })]);
    let show = || ledger.show_roots(grant.token, vec![claim(&late)]);
    assert_eq!(show().await.expect("answered"), [Err(Refusal::UnrecordedRoot)]);
    ledger.record_root(late.clone()).await.expect("recorded");
    assert_eq!(show().await.expect("answered"), [Ok(())]);
    assert_eq!(show().await.expect("answered"), [Ok(())], "twice is once");
    let holder = Holder { ledger, token: grant.token, root: late };
    assert_eq!(holder.intend(holder.intent("a", 0, 4, None)).await, Ok(()));
}

async fn earlier_tokens_are_fenced_first(subject: &dyn Subject) {
    let (first, _) = Holder::new(subject).await;
    let ledger = subject.ledger();
    let grant = ledger.acquire(&[claim(&first.root)]).await.expect("granted");
    assert_eq!(grant.earlier, [(first.token, first.root.clone())]);
    let second = Holder { ledger, token: grant.token, root: first.root.clone() };
    let intent = second.intent("a", 0, 4, None);
    let refused = Refusal::NotFenced { token: first.token, root: first.root.path.clone() };
    assert_eq!(second.intend(intent.clone()).await, Err(refused));
    // Nobody has fenced, so the third holder has both to fence.
    let grant = ledger.acquire(&[claim(&first.root)]).await.expect("granted");
    let mut earlier = grant.earlier.clone();
    earlier.sort();
    let root = first.root.clone();
    assert_eq!(earlier, [(first.token, root.clone()), (second.token, root)]);
    let third = Holder { ledger, token: grant.token, root: first.root.clone() };
    ledger.fenced(third.token, vec![earlier[0].clone()]).await.expect("fenced");
    assert!(matches!(third.intend(intent.clone()).await, Err(Refusal::NotFenced { .. })));
    ledger.fenced(third.token, vec![earlier[1].clone()]).await.expect("fenced");
    assert_eq!(third.intend(intent).await, Ok(()));
}

async fn intents_follow_each_other(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let with_end = |end: Option<u64>| holder.intent("a", 10, 14, end);
    assert_eq!(holder.intend(with_end(Some(3))).await, Err(Refusal::Gap { end: None }));
    assert_eq!(holder.intend(with_end(None)).await, Ok(()));
    let next = |first, end| holder.intent("a", first, 20, end);
    assert_eq!(holder.intend(next(15, None)).await, Err(Refusal::Gap { end: Some(14) }));
    assert_eq!(holder.intend(next(15, Some(13))).await, Err(Refusal::Gap { end: Some(14) }));
    assert_eq!(holder.intend(next(14, Some(14))).await, Err(Refusal::Overlap { end: 14 }));
    assert_eq!(holder.intend(next(15, Some(14))).await, Ok(()));
    assert_eq!(holder.intend(holder.intent("b", 0, 4, None)).await, Ok(()), "another bucket");
    let empty = Intent { events: 0, ..holder.intent("c", 0, 4, None) };
    assert!(matches!(holder.intend(empty).await, Err(Refusal::Invalid(_))));
    let crowded = Intent { events: 6, ..holder.intent("c", 0, 4, None) };
    assert!(matches!(holder.intend(crowded).await, Err(Refusal::Invalid(_))));
    let mut elsewhere = holder.intent("d", 0, 4, None);
    elsewhere.bucket.directory = format!("{}x/d", holder.root.path);
    assert!(matches!(holder.intend(elsewhere).await, Err(Refusal::Invalid(_))));
}

async fn answers_are_per_file(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let good = holder.intent("a", 0, 4, None);
    let bad = holder.intent("a", 3, 8, Some(4));
    let other = holder.intent("b", 0, 4, None);
    let batch = vec![good.clone(), bad, other.clone()];
    let answers = holder.ledger.intend(holder.token, batch).await.expect("answered");
    assert_eq!(answers, [Ok(()), Err(Refusal::Overlap { end: 4 }), Ok(())]);
    let unknown = CommitFile { first: 90, last: 91, ..commit_of(&good) };
    let batch = vec![unknown, commit_of(&good), commit_of(&other)];
    let answers = holder.ledger.commit(holder.token, batch).await.expect("answered");
    assert_eq!(answers, [Err(Refusal::Unknown), Ok(()), Ok(())]);
    let many = (0..=FILES_PER_BATCH_MAX as u64).map(|n| holder.intent("c", n, n, None));
    let answer = refusal(holder.ledger.intend(holder.token, many.collect()).await);
    assert!(matches!(answer, Err(Refusal::Invalid(_))), "{answer:?}");
}

async fn an_intent_is_superseded_by_its_like_alone(subject: &dyn Subject) {
    let (first, _) = Holder::new(subject).await;
    let intent = first.intent("a", 0, 4, None);
    assert_eq!(first.intend(intent.clone()).await, Ok(()));
    assert_eq!(first.intend(intent.clone()).await, Ok(()), "the same again");
    let rebuilt = Intent { length: 55, crc: 66, ..intent.clone() };
    assert_eq!(first.intend(rebuilt.clone()).await, Err(Refusal::Changed), "under one token");
    let (second, _) = first.next().await;
    let fewer = Intent { events: 4, ..rebuilt.clone() };
    assert_eq!(second.intend(fewer).await, Err(Refusal::Changed));
    let renamed = Intent { name: "other".to_owned(), ..rebuilt.clone() };
    assert_eq!(second.intend(renamed).await, Err(Refusal::Changed));
    assert_eq!(second.intend(rebuilt.clone()).await, Ok(()));
    let (third, grant) = second.next().await;
    let [open] = &grant.intents[..] else { panic!("{:?}", grant.intents) };
    let attempts: Vec<_> = open.attempts.iter().map(|it| (it.token, it.length)).collect();
    assert_eq!(attempts, [(first.token, 100), (second.token, 55)]);
    assert_eq!(open.intent.events, 5);
    // What the first holder has built is ours too.
    assert_eq!(third.commit(&intent).await, Ok(()));
}

async fn commits_are_in_order_and_of_what_was_announced(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let first = holder.intent("a", 0, 4, None);
    let second = holder.intent("a", 5, 9, Some(4));
    assert_eq!(holder.commit(&first).await, Err(Refusal::Unknown));
    assert_eq!(holder.intend(first.clone()).await, Ok(()));
    assert_eq!(holder.intend(second.clone()).await, Ok(()));
    assert_eq!(holder.commit(&second).await, Err(Refusal::NotOldest { first: 0 }));
    let other = Intent { crc: 1, ..first.clone() };
    assert_eq!(holder.commit(&other).await, Err(Refusal::Mismatch));
    assert_eq!(holder.commit(&first).await, Ok(()));
    assert_eq!(holder.commit(&first).await, Err(Refusal::Unknown));
    assert_eq!(holder.commit(&second).await, Ok(()));
}

async fn a_grant_tells_what_was_left(subject: &dyn Subject) {
    let (first, _) = Holder::new(subject).await;
    first.done(first.intent("a", 0, 4, None)).await;
    let open = first.intent("a", 5, 9, Some(4));
    assert_eq!(first.intend(open.clone()).await, Ok(()));
    let (_, grant) = first.next().await;
    assert_eq!(grant.floor, 0);
    let [left] = &grant.intents[..] else { panic!("{:?}", grant.intents) };
    assert_eq!((&left.intent, left.token), (&open, first.token));
    let state = grant.buckets.iter().find(|it| it.bucket == open.bucket).expect("it is known");
    assert_eq!((state.end, &state.committed[..]), (Some(9), &[span(0, 4)][..]));
    assert_eq!((&state.holes[..], &state.quarantine), (&[][..], &None));
}

async fn the_floor_moves_from_where_it_is(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let intent = holder.intent("a", 3, 9, None);
    assert_eq!(holder.intend(intent.clone()).await, Ok(()));
    assert_eq!(holder.raise(0, 10).await, Err(Refusal::OpenBelow { first: 3 }));
    assert_eq!(holder.raise(0, 3).await, Ok(()));
    assert_eq!(holder.raise(0, 3).await, Err(Refusal::Floor { floor: 3 }));
    assert!(matches!(holder.raise(3, 2).await, Err(Refusal::Invalid(_))));
    assert_eq!(holder.commit(&intent).await, Ok(()));
    assert_eq!(holder.raise(3, 12).await, Ok(()));
    let (_, grant) = holder.next().await;
    assert_eq!((grant.floor, &grant.buckets[..]), (12, &[][..]), "what lies below is forgotten");
}

async fn below_the_floor_nothing_begins(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    holder.done(holder.intent("a", 0, 9, None)).await;
    assert_eq!(holder.raise(0, 10).await, Ok(()));
    let late = holder.intent("b", 9, 12, None);
    assert_eq!(holder.intend(late).await, Err(Refusal::BelowFloor { floor: 10 }));
    // The bucket is forgotten: no end and any end below the floor are as good.
    assert_eq!(
        holder.intend(holder.intent("a", 10, 11, Some(10))).await,
        Err(Refusal::Gap { end: None })
    );
    assert_eq!(holder.intend(holder.intent("a", 10, 11, Some(9))).await, Ok(()));
    assert_eq!(holder.intend(holder.intent("b", 10, 11, None)).await, Ok(()));
}

async fn continued_ranges_join(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    holder.done(holder.intent("a", 0, 4, None)).await;
    holder.done(holder.intent("a", 10, 14, Some(4))).await;
    let apart = Intent { continues: false, ..holder.intent("a", 20, 24, Some(14)) };
    holder.done(apart).await;
    let state = holder.state("a").await.expect("it is known");
    assert_eq!(state.committed, [span(0, 14), span(20, 24)]);
}

async fn the_end_of_a_sealed_lineage_holds(subject: &dyn Subject) {
    let (first, _) = Holder::new(subject).await;
    subject.seal(10).await;
    let (holder, grant) = first.next().await;
    assert_eq!(grant.sealed_end, Some(10));
    let beyond = holder.intent("a", 6, 10, None);
    assert_eq!(holder.intend(beyond).await, Err(Refusal::BeyondEnd { end: 10 }));
    assert_eq!(holder.raise(0, 11).await, Err(Refusal::BeyondEnd { end: 10 }));
    assert_eq!(holder.hole("a", 6, 10, 1).await, Err(Refusal::BeyondEnd { end: 10 }));
    holder.done(holder.intent("a", 6, 9, None)).await;
}

async fn quarantine_refuses_what_is_new(subject: &dyn Subject) {
    let (first, _) = Holder::new(subject).await;
    let open = first.intent("a", 0, 4, None);
    assert_eq!(first.intend(open.clone()).await, Ok(()));
    let bucket = first.bucket("a");
    let ledger = subject.ledger();
    ledger.quarantine(first.token, bucket.clone(), "why".to_owned()).await.expect("done");
    let next = first.intent("a", 5, 9, Some(4));
    assert_eq!(first.intend(next.clone()).await, Err(Refusal::Quarantined));
    assert_eq!(first.intend(first.intent("b", 5, 9, None)).await, Ok(()));
    let (second, grant) = first.next().await;
    let state = grant.buckets.iter().find(|it| it.bucket == bucket).expect("it is known");
    assert_eq!(state.quarantine.as_deref(), Some("why"));
    let rebuilt = Intent { length: 5, ..open };
    assert_eq!(second.intend(rebuilt.clone()).await, Ok(()), "superseding is nothing new");
    assert_eq!(second.commit(&rebuilt).await, Ok(()));
    assert_eq!(second.intend(next.clone()).await, Err(Refusal::Quarantined));
    ledger.release(second.token, bucket.clone()).await.expect("done");
    ledger.release(second.token, bucket).await.expect("twice is once");
    assert_eq!(second.intend(next).await, Ok(()));
}

async fn a_pinned_intent_lets_the_floor_pass(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let intent = holder.intent("a", 3, 9, None);
    assert_eq!(holder.intend(intent.clone()).await, Ok(()));
    assert_eq!(holder.hole("a", 3, 9, 7).await, Ok(()));
    assert_eq!(holder.raise(0, 20).await, Ok(()));
    let (next, grant) = holder.next().await;
    assert_eq!((grant.floor, grant.intents.len()), (20, 1));
    assert_eq!(next.commit(&intent).await, Ok(()));
    assert_eq!(next.state("a").await, None);
}

async fn holes_are_filled_from_their_beginning(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    holder.done(holder.intent("a", 0, 4, None)).await;
    assert_eq!(holder.hole("a", 3, 9, 5).await, Err(Refusal::Overlap { end: 4 }));
    assert_eq!(holder.hole("a", 5, 9, 5).await, Ok(()));
    assert_eq!(holder.hole("a", 9, 12, 3).await, Err(Refusal::Overlap { end: 9 }));
    let hole = Hole { span: span(12, 14), events: 3, dead_letters: false };
    let joined = holder.ledger.add_hole(holder.token, holder.bucket("a"), hole, true).await;
    joined.expect("it continues the hole before");
    assert_eq!(holder.raise(0, 20).await, Ok(()));
    assert_eq!(holder.hole("b", 15, 16, 2).await, Err(Refusal::BelowFloor { floor: 20 }));
    let state = holder.state("a").await.expect("it is known");
    let holes: Vec<_> = state.holes.iter().map(|hole| (hole.span, hole.events)).collect();
    assert_eq!(holes, [(span(5, 14), 8)]);
    let (holder, _) = holder.next().await;
    let above = holder.intent("a", 20, 24, Some(4));
    assert_eq!(holder.intend(above).await, Err(Refusal::NotOldest { first: 5 }));
    let dead = Intent { dead_letters: true, ..holder.intent("a", 5, 7, Some(4)) };
    assert_eq!(holder.intend(dead).await, Err(Refusal::Changed));
    let part = holder.intent("a", 5, 7, Some(4));
    assert_eq!(holder.intend(part.clone()).await, Ok(()));
    let rest = Intent { events: 4, ..holder.intent("a", 8, 14, Some(7)) };
    assert_eq!(holder.intend(rest).await, Err(Refusal::NotLost), "one event is missing");
    let rest = Intent { events: 5, ..holder.intent("a", 8, 14, Some(7)) };
    assert_eq!(holder.intend(rest.clone()).await, Ok(()));
    assert_eq!(holder.commit(&part).await, Ok(()));
    assert_eq!(holder.commit(&rest).await, Ok(()));
    assert_eq!(holder.state("a").await, None);
}

async fn only_what_is_lost_is_given_up(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    assert_eq!(holder.intend(holder.intent("a", 0, 4, None)).await, Ok(()));
    assert_eq!(holder.hole("b", 5, 9, 5).await, Ok(()));
    let give_up = |bucket: &'static str, span| {
        let (ledger, token, key) = (holder.ledger, holder.token, holder.bucket(bucket));
        async move { refusal(ledger.give_up(token, key, span).await) }
    };
    assert_eq!(give_up("a", span(0, 4)).await, Err(Refusal::NotLost));
    subject.lose(span(3, 5)).await;
    assert_eq!(give_up("a", span(0, 3)).await, Err(Refusal::Unknown));
    assert_eq!(give_up("a", span(0, 4)).await, Ok(()));
    assert_eq!(give_up("b", span(5, 9)).await, Ok(()));
    assert_eq!(give_up("b", span(5, 9)).await, Err(Refusal::Unknown));
    assert_eq!(holder.raise(0, 10).await, Ok(()));
}

/// Whoever reads again from the floor is told of what is given up, and goes on behind it.
async fn what_is_given_up_is_recorded(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let first = holder.intent("a", 0, 4, None);
    assert_eq!(holder.intend(first.clone()).await, Ok(()));
    assert_eq!(holder.intend(holder.intent("a", 5, 9, Some(4))).await, Ok(()));
    for (first, last) in [(10, 14), (20, 24), (30, 34)] {
        assert_eq!(holder.hole("a", first, last, 5).await, Ok(()));
    }
    subject.lose(span(6, 6)).await;
    subject.lose(span(21, 30)).await;
    let key = holder.bucket("a");
    for given_up in [span(5, 9), span(20, 24)] {
        let answer = holder.ledger.give_up(holder.token, key.clone(), given_up).await;
        assert_eq!(refusal(answer), Ok(()));
    }
    let (holder, grant) = holder.next().await;
    let state = grant.buckets.iter().find(|state| state.bucket == key).expect("it is known");
    assert_eq!((state.end, &state.committed[..]), (Some(9), &[span(5, 9), span(20, 24)][..]));
    // What is older than a range that was given up is finished as ever.
    holder.done(first).await;
    holder.done(holder.intent("a", 10, 14, Some(9))).await;
    assert_eq!(refusal(holder.ledger.give_up(holder.token, key, span(30, 34)).await), Ok(()));
    holder.done(holder.intent("a", 40, 44, Some(34))).await;
    assert_eq!(holder.raise(0, 45).await, Ok(()));
    assert_eq!(holder.state("a").await, None);
}

/// What a hole lacks may lie in front of the file that fills its end.
async fn holes_lack_what_is_lost(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    assert_eq!(holder.hole("a", 10, 30, 21).await, Ok(()));
    assert_eq!(holder.hole("b", 10, 30, 21).await, Ok(()));
    let short = Intent { events: 18, ..holder.intent("a", 13, 30, None) };
    subject.lose(span(0, 9)).await;
    assert_eq!(holder.intend(short.clone()).await, Err(Refusal::NotLost));
    subject.lose(span(10, 12)).await;
    let shorter = Intent { events: 17, ..short.clone() };
    assert_eq!(holder.intend(shorter).await, Err(Refusal::NotLost), "four are missing");
    holder.done(short).await;
    holder.done(Intent { events: 8, ..holder.intent("b", 13, 20, None) }).await;
    holder.done(Intent { events: 10, ..holder.intent("b", 21, 30, Some(20)) }).await;
    assert_eq!(holder.raise(0, 31).await, Ok(()));
    assert_eq!(holder.state("a").await, None);
    assert_eq!(holder.state("b").await, None);
}

/// A hole is not joined to one before what was given up: that would be read again with it.
async fn holes_are_not_joined_over_what_is_given_up(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    assert_eq!(holder.hole("a", 10, 14, 5).await, Ok(()));
    assert_eq!(holder.hole("a", 20, 24, 5).await, Ok(()));
    subject.lose(span(21, 21)).await;
    let key = holder.bucket("a");
    let answer = holder.ledger.give_up(holder.token, key.clone(), span(20, 24)).await;
    assert_eq!(refusal(answer), Ok(()));
    let add = async |first, last| {
        let hole = Hole { span: span(first, last), events: 1, dead_letters: false };
        refusal(holder.ledger.add_hole(holder.token, key.clone(), hole, true).await)
    };
    assert_eq!(add(22, 34).await, Err(Refusal::Overlap { end: 24 }));
    assert_eq!(add(30, 34).await, Ok(()));
    let (_, grant) = holder.next().await;
    let state = grant.buckets.iter().find(|state| state.bucket == key).expect("it is known");
    let holes: Vec<_> = state.holes.iter().map(|hole| hole.span).collect();
    assert_eq!(holes, [span(10, 14), span(30, 34)]);
}

async fn only_listed_losses_are_booked(subject: &dyn Subject) {
    let (holder, _) = Holder::new(subject).await;
    let raise = |lost| {
        let drops = Drops { lost, ..Drops::default() };
        let raise = Raise { from: 0, to: 10, events: 10, drops };
        async { refusal(holder.ledger.raise_floor(holder.token, raise).await) }
    };
    assert_eq!(raise(2).await, Err(Refusal::NotLost));
    subject.lose(span(4, 5)).await;
    assert_eq!(raise(3).await, Err(Refusal::NotLost));
    assert_eq!(raise(2).await, Ok(()));
}
