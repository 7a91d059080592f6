//! A shard that keeps everything in memory and does what the test says.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use sdk_event::{Block, Level, Lineage, ProducerId};
use sdk_flow::{Exhaustion, PutError, Receipt, Rejection};
use server_ingest::{CommitError, Gap, OpenSession, RouteError, Router, Session, ShardHandle};
use tokio::sync::watch;

/// The flow that there is.
pub const FLOW: &str = "web";

pub struct Twin {
    state: Mutex<State>,
    /// Which puts may return: those with these first sequences, or all.
    stored: watch::Sender<Stored>,
    /// Offsets below this are in final files; `Err` once they are given up.
    committed: watch::Sender<Result<u64, CommitError>>,
}

#[derive(Default)]
struct Stored {
    all: bool,
    firsts: BTreeSet<u64>,
}

struct State {
    lineage: Lineage,
    level: Level,
    producers: HashMap<ProducerId, Producer>,
    end: u64,
    /// Every block that got an offset, in that order.
    blocks: Vec<Block>,
    /// What the next puts are answered before admission looks at them.
    refusals: Vec<PutError>,
    routes: Vec<RouteError>,
    closed: Vec<ProducerId>,
    panics: bool,
    keeps: bool,
}

#[derive(Debug, Clone, Copy)]
struct Producer {
    generation: u64,
    next: u64,
}

impl Twin {
    /// A shard that gives `level` and stores at once.
    pub fn new(level: Level) -> Arc<Twin> {
        Arc::new(Twin {
            state: Mutex::new(State {
                lineage: Lineage { flow: 7, shard: 3, epoch: 2 },
                level,
                producers: HashMap::new(),
                end: 0,
                blocks: Vec::new(),
                refusals: Vec::new(),
                routes: Vec::new(),
                closed: Vec::new(),
                panics: false,
                keeps: true,
            }),
            stored: watch::Sender::new(Stored { all: true, firsts: BTreeSet::new() }),
            committed: watch::Sender::new(Ok(0)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }

    /// From now on puts are admitted and do not return.
    pub fn hold(&self) {
        self.stored.send_modify(|stored| *stored = Stored::default());
    }

    /// Lets the put return whose first sequence is this.
    pub fn release(&self, first: u64) {
        self.stored.send_modify(|stored| {
            stored.firsts.insert(first);
        });
    }

    pub fn release_all(&self) {
        self.stored.send_modify(|stored| stored.all = true);
    }

    pub fn commit(&self, end: u64) {
        let _ = self.committed.send_replace(Ok(end));
    }

    pub fn lose(&self) {
        let _ = self.committed.send_replace(Err(CommitError::Lost));
    }

    /// The next put is answered so.
    pub fn refuse(&self, error: PutError) {
        self.lock().refusals.push(error);
    }

    pub fn misroute(&self, error: RouteError) {
        self.lock().routes.push(error);
    }

    pub fn set_level(&self, level: Level) {
        self.lock().level = level;
    }

    pub fn forget(&self) {
        self.lock().producers.clear();
    }

    /// Counts blocks without keeping them.
    pub fn forget_blocks(&self) {
        self.lock().keeps = false;
    }

    pub fn panic_from_now_on(&self) {
        self.lock().panics = true;
    }

    /// How many blocks got an offset.
    pub fn blocks(&self) -> usize {
        self.lock().blocks.len()
    }

    pub fn block_bytes(&self) -> usize {
        self.lock().blocks.iter().map(|block| block.bytes().len()).sum()
    }

    /// The body of every event that got an offset, in order.
    pub fn bodies(&self) -> Vec<String> {
        let state = self.lock();
        let events = state.blocks.iter().flat_map(Block::events);
        events.map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }

    /// The events that got an offset, as `producer-generation-sequence`; none may be there twice.
    pub fn ids(&self) -> Vec<String> {
        let state = self.lock();
        let ids = state.blocks.iter().flat_map(|block| {
            let header = *block.header();
            block.events().map(move |event| {
                format!("{}-{}-{}", header.producer, header.generation, event.sequence())
            })
        });
        ids.collect()
    }

    pub fn closed(&self) -> Vec<ProducerId> {
        self.lock().closed.clone()
    }

    fn admit(&self, block: &Block) -> Result<Receipt, PutError> {
        let mut state = self.lock();
        if !state.refusals.is_empty() {
            return Err(state.refusals.remove(0));
        }
        let header = *block.header();
        let (lineage, level) = (state.lineage, state.level);
        let rejected = |reason| Err(PutError::Rejected { reason });
        let Some(producer) = state.producers.get_mut(&header.producer) else {
            return rejected(Rejection::Expired);
        };
        if header.generation != producer.generation {
            return rejected(Rejection::Generation(producer.generation));
        }
        if header.end_sequence() <= producer.next {
            let receipt =
                Receipt { lineage, first_offset: 0, count: header.count, level, duplicate: true };
            return Ok(receipt);
        }
        if header.first_sequence != producer.next {
            return rejected(Rejection::Expected(producer.next));
        }
        producer.next = header.end_sequence();
        let first_offset = state.end;
        state.end += u64::from(header.count);
        if state.keeps {
            state.blocks.push(block.clone());
        }
        Ok(Receipt { lineage, first_offset, count: header.count, level, duplicate: false })
    }
}

#[async_trait]
impl ShardHandle for Twin {
    fn lineage(&self) -> Lineage {
        self.lock().lineage
    }

    fn level(&self) -> Level {
        self.lock().level
    }

    async fn open_session(&self, session: OpenSession) -> Result<Session, PutError> {
        let mut state = self.lock();
        let OpenSession { producer, generation, lowest_sequence, sent } = session;
        let fresh = Producer { generation, next: lowest_sequence };
        let known = match state.producers.get(&producer).copied() {
            None if sent => return Err(PutError::Rejected { reason: Rejection::Expired }),
            Some(known) if known.generation > generation => {
                return Err(PutError::Rejected { reason: Rejection::Generation(known.generation) });
            }
            Some(known) if known.generation == generation => known,
            _ => fresh,
        };
        state.producers.insert(producer, known);
        Ok(Session { expected_sequence: known.next })
    }

    async fn close_session(&self, producer: ProducerId, _: u64) -> Result<(), PutError> {
        self.lock().closed.push(producer);
        Ok(())
    }

    async fn put(&self, block: Block) -> Result<Receipt, PutError> {
        let receipt = self.admit(&block)?;
        let first = block.header().first_sequence;
        let mut stored = self.stored.subscribe();
        let may = |stored: &Stored| stored.all || stored.firsts.contains(&first);
        stored.wait_for(may).await.map_err(|_| PutError::Stopped)?;
        Ok(receipt)
    }

    async fn gap(&self, gap: Gap) -> Result<(), PutError> {
        let mut state = self.lock();
        match state.producers.get_mut(&gap.producer) {
            Some(producer) if producer.next == gap.first_sequence => {
                producer.next = gap.next_sequence;
                Ok(())
            }
            Some(producer) => {
                Err(PutError::Rejected { reason: Rejection::Expected(producer.next) })
            }
            None => Err(PutError::Rejected { reason: Rejection::Expired }),
        }
    }

    async fn committed(&self, _: Lineage, _: u64, end: u64) -> Result<(), CommitError> {
        let mut committed = self.committed.subscribe();
        let known = committed.wait_for(|known| known.as_ref().map_or(true, |floor| *floor >= end));
        known.await.map_err(|_| CommitError::Stopped)?.clone().map(|_| ())
    }
}

/// Routes everything to one twin.
pub struct TwinRouter(pub Arc<Twin>);

impl Router for TwinRouter {
    fn route(&self, flow: &str, _: ProducerId) -> Result<Arc<dyn ShardHandle>, RouteError> {
        let mut state = self.0.lock();
        if state.panics {
            drop(state);
            panic!("told to");
        }
        if !state.routes.is_empty() {
            return Err(state.routes.remove(0));
        }
        if !flow.is_empty() && flow != FLOW {
            return Err(RouteError::Flow(format!(
                "there is no flow `{flow}`, did you mean `{FLOW}`?"
            )));
        }
        Ok(Arc::clone(&self.0) as Arc<dyn ShardHandle>)
    }
}

/// What a full disk is answered with.
pub fn disk_full() -> PutError {
    PutError::Exhausted { reason: Exhaustion::Disk, retry_after: Duration::from_millis(70) }
}
