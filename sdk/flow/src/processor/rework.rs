//! One block through interceptors and selector.

use std::sync::Arc;

use sdk_event::{Block, BlockBuilder, Codec, EventRef, HeaderKey, ProducerId, PushError};
use smallvec::{SmallVec, smallvec};

use super::ChannelProcessor;
use super::router::TARGETS_MAX;
use crate::interceptor::{Draft, Scratch, SharedHeaders, TIMESTAMP};
use crate::{Dropped, Part, Positions, Rejection};

/// What became of an event: below [`TARGETS_MAX`] the target it goes to, from
/// there on the step that dropped it (behind the last step: the selector).
type Fate = u16;
const DROPPED: u16 = TARGETS_MAX as u16;

/// The walk over one block.
///
/// As long as nothing has been changed it only notes each event's fate; if that
/// is the same for all, the block is passed on as it is. From the first change
/// on, events are copied into new blocks, the ones before it included.
pub(super) struct Rework<'a> {
    processor: &'a ChannelProcessor,
    block: &'a Block,
    shared: SharedHeaders<'a>,
    /// The selector's header, looked up in the block.
    header: Option<HeaderKey>,
    fates: Vec<Fate>,
    copies: Option<Copies>,
}

impl<'a> Rework<'a> {
    pub(super) fn new(processor: &'a ChannelProcessor, block: &'a Block) -> Rework<'a> {
        let shared = SharedHeaders::of(block, processor.clock.wall_ms());
        let header = processor.router.header().and_then(|header| block.key(header));
        let fates = Vec::with_capacity(block.header().count as usize);
        Rework { processor, block, shared, header, fates, copies: None }
    }

    pub(super) fn run(mut self) -> Result<(SmallVec<[Part; 1]>, Vec<Dropped>), Rejection> {
        if let Some(fate) = self.common_fate() {
            self.fates = vec![fate; self.block.header().count as usize];
            return self.finish();
        }
        for step in &self.processor.steps {
            step.interceptor.shared(&mut self.shared);
        }
        if self.shared.changed() {
            self.start_copying()?;
        }
        let now_ms = self.shared.now_ms();
        let mut scratches: SmallVec<[Scratch; 4]> = SmallVec::new();
        scratches.resize_with(self.processor.steps.len(), Scratch::default);
        let mut draft: Option<Draft<'a>> = None;
        for event in self.block.events() {
            let draft = match &mut draft {
                Some(draft) => {
                    draft.next(event);
                    draft
                }
                None => draft.insert(Draft::new(event, now_ms)),
            };
            self.pass(draft, &mut scratches)?;
        }
        self.finish()
    }

    /// What becomes of every event, if the headers that they share decide: then
    /// nobody has to look at one.
    fn common_fate(&self) -> Option<Fate> {
        let header = self.processor.router.header()?;
        if !self.processor.steps.is_empty() || self.block.has_own_headers() || header == TIMESTAMP {
            return None;
        }
        let value = self.block.shared_header(header);
        Some(self.processor.router.route(value).unwrap_or(DROPPED))
    }

    fn pass(&mut self, draft: &mut Draft<'a>, scratches: &mut [Scratch]) -> Result<(), Rejection> {
        let mut steps = self.processor.steps.iter().zip(scratches);
        let dropped_by = steps.position(|(step, scratch)| !step.interceptor.event(draft, scratch));
        let fate = match dropped_by {
            Some(step) => DROPPED + step as u16,
            None => self.route(draft).unwrap_or(DROPPED + self.processor.steps.len() as u16),
        };
        if fate < DROPPED && draft.changed() && self.copies.is_none() {
            self.start_copying()?;
        }
        if fate < DROPPED
            && let Some(copies) = &mut self.copies
        {
            copies.push_draft(fate, draft)?;
        }
        self.fates.push(fate);
        Ok(())
    }

    fn route(&self, draft: &mut Draft<'_>) -> Option<u16> {
        let router = &self.processor.router;
        let Some(header) = router.header() else { return router.route(None) };
        if header == TIMESTAMP
            && let Some(timestamp_ms) = draft.timestamp_ms()
        {
            return router.route(Some(&timestamp_ms.to_string()));
        }
        router.route(draft.header(header, self.header, &self.shared))
    }

    /// Copies the events seen so far; those that follow are to be copied too.
    fn start_copying(&mut self) -> Result<(), Rejection> {
        let targets = self.processor.router.targets().len();
        let shared = Template::new(self.block, &self.shared)?;
        let mut copies = Copies { shared, targets: Vec::new(), full: Vec::new() };
        copies.targets.resize_with(targets, || None);
        for (event, fate) in self.block.events().zip(&self.fates) {
            if *fate < DROPPED {
                copies.push_event(*fate, &event)?;
            }
        }
        self.copies = Some(copies);
        Ok(())
    }

    fn finish(mut self) -> Result<(SmallVec<[Part; 1]>, Vec<Dropped>), Rejection> {
        if self.copies.is_none() {
            let first = self.fates[0];
            if self.fates.iter().all(|fate| *fate == first) {
                if first >= DROPPED {
                    return Ok((SmallVec::new(), self.dropped()));
                }
                let part = self.part(first, Positions::All, self.block.clone());
                return Ok((smallvec![part], Vec::new()));
            }
            self.start_copying()?;
        }
        let mut parts = SmallVec::new();
        let copies = self.copies.take().into_iter();
        for (target, positions, block) in copies.flat_map(Copies::finish) {
            let all = positions.len() == self.block.header().count as usize;
            let positions = if all { Positions::All } else { Positions::Some(positions.into()) };
            parts.push(self.part(target, positions, block));
        }
        Ok((parts, self.dropped()))
    }

    fn part(&self, target: u16, positions: Positions, block: Block) -> Part {
        let target = &self.processor.router.targets()[usize::from(target)];
        Part { channels: target.channels, optional: target.optional, positions, block }
    }

    fn dropped(&self) -> Vec<Dropped> {
        let steps = &self.processor.steps;
        let mut counts = vec![0u32; steps.len() + 1];
        for fate in &self.fates {
            if let Some(step) = fate.checked_sub(DROPPED) {
                counts[usize::from(step)] += 1;
            }
        }
        let rules = steps.iter().map(|step| Arc::clone(&step.rule));
        let rules = rules.chain([Arc::from(NO_MAPPING)]);
        rules
            .zip(counts)
            .filter(|(_, events)| *events > 0)
            .map(|(rule, events)| Dropped { rule, channels: self.processor.channels, events })
            .collect()
    }
}

/// What events are booked under that a selector sends nowhere.
const NO_MAPPING: &str = "selector:no mapping";

/// New blocks, one or more for each target.
struct Copies {
    shared: Template,
    targets: Vec<Option<Copy>>,
    full: Vec<(u16, Vec<u32>, Block)>,
}

/// What every new block begins with.
struct Template {
    producer: ProducerId,
    generation: u64,
    first_sequence: u64,
    codec: Codec,
    headers: Vec<(String, String)>,
}

impl Template {
    fn new(block: &Block, shared: &SharedHeaders<'_>) -> Result<Template, Rejection> {
        let header = block.header();
        let headers = shared.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let template = Template {
            producer: header.producer,
            generation: header.generation,
            first_sequence: header.first_sequence,
            codec: header.codec,
            headers: headers.collect(),
        };
        template.fill().map_err(content)?;
        Ok(template)
    }

    fn fill(&self) -> Result<BlockBuilder, PushError> {
        let mut builder = BlockBuilder::new(self.producer, self.generation, self.first_sequence);
        for (key, value) in &self.headers {
            builder.shared_header(key, value)?;
        }
        Ok(builder)
    }

    fn builder(&self) -> BlockBuilder {
        self.fill().expect("the same headers went in before")
    }
}

fn content(error: PushError) -> Rejection {
    Rejection::Content(error.to_string().into())
}

struct Copy {
    builder: BlockBuilder,
    positions: Vec<u32>,
}

impl Copies {
    fn push_draft(&mut self, target: u16, draft: &mut Draft<'_>) -> Result<(), Rejection> {
        if !draft.changed() {
            let event = *draft.event();
            return self.push_event(target, &event);
        }
        let event = *draft.event();
        self.push(target, event.index(), |builder| draft.push_to(builder))
    }

    fn push_event(&mut self, target: u16, event: &EventRef<'_>) -> Result<(), Rejection> {
        self.push(target, event.index(), |builder| builder.push_event(event))
    }

    fn push(
        &mut self,
        target: u16,
        position: u32,
        mut push: impl FnMut(&mut BlockBuilder) -> Result<(), PushError>,
    ) -> Result<(), Rejection> {
        let shared = &self.shared;
        let copy = self.targets[usize::from(target)]
            .get_or_insert_with(|| Copy { builder: shared.builder(), positions: Vec::new() });
        let mut pushed = push(&mut copy.builder);
        if matches!(pushed, Err(PushError::Full { .. })) && !copy.builder.is_empty() {
            // What does not fit in one block any more becomes two.
            let block = copy.builder.finish(shared.codec);
            self.full.push((target, std::mem::take(&mut copy.positions), block));
            pushed = push(&mut copy.builder);
        }
        pushed.map_err(content)?;
        copy.positions.push(position);
        Ok(())
    }

    fn finish(mut self) -> Vec<(u16, Vec<u32>, Block)> {
        let codec = self.shared.codec;
        let mut parts = self.full;
        for (target, copy) in (0u16..).zip(&mut self.targets) {
            if let Some(copy) = copy
                && !copy.builder.is_empty()
            {
                let positions = std::mem::take(&mut copy.positions);
                parts.push((target, positions, copy.builder.finish(codec)));
            }
        }
        parts
    }
}
