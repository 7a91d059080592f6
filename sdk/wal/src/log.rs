//! The handle.
use crate::entry::{Appended, Entry};
use crate::error::{AppendError, OpenError};
use crate::options::LogOptions;
use crate::quarantine::Quarantined;
use crate::reader::LogReader;
use crate::recovery::Recovery;
use crate::usage::{LineageExtent, Listed, Usage};
use prometheus_client::registry::Registry;
use sdk_event::Lineage;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::watch;

/// A log: one directory, one writer. Clones are handles on the same one.
#[derive(Clone)]
pub struct Log {}

#[allow(unused_variables)]
impl Log {
    /// Opens the log of a directory, or makes it, and recovers what is in it.
    ///
    /// When this returns, everything counted is durable, and opening again would count the same.
    pub fn open(options: LogOptions) -> Result<(Self, Recovery), OpenError> {
        unimplemented!()
    }

    /// Hands a record to the writer; the answer comes when it is durable.
    ///
    /// Records of a lineage must be handed over in the order of their offsets.
    pub fn append(&self, entry: Entry) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    /// A reader of a lineage that begins with the record that holds `from`.
    pub fn reader(&self, lineage: Lineage, from: u64) -> LogReader {
        unimplemented!()
    }

    /// The offset after the last durable one of a lineage (its cut, once it is cut); 0 if nothing is there.
    pub fn end(&self, lineage: Lineage) -> u64 {
        unimplemented!()
    }

    /// Follows [`end`](Self::end).
    pub fn watch(&self, lineage: Lineage) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// Becomes the reason once the log has died.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        unimplemented!()
    }

    /// What the log holds of a lineage, if anything.
    pub fn lineage(&self, lineage: Lineage) -> Option<LineageExtent> {
        unimplemented!()
    }

    /// Every lineage that the log holds something of, in order.
    pub fn lineages(&self) -> Vec<LineageExtent> {
        unimplemented!()
    }

    /// Where the records of a listed kind ([`crate::LISTED_KIND_MIN`] and up) of a lineage stand, ascending.
    pub fn listed(&self, lineage: Lineage, kind: u8) -> Vec<Listed> {
        unimplemented!()
    }

    /// Says that nothing below `floor` is needed any more. Floors, cuts, pins and what is forgotten are not in
    /// the log: whoever knows them says them again after each start.
    pub fn raise_floor(&self, lineage: Lineage, floor: u64) {
        unimplemented!()
    }

    /// Makes a lineage end at `end`: what it has from there on is void, never read and never copied.
    pub fn cut(&self, lineage: Lineage, end: u64) {
        unimplemented!()
    }

    /// Says that nothing of a lineage is needed any more.
    pub fn forget(&self, lineage: Lineage) {
        unimplemented!()
    }

    /// Keeps these offsets of a lineage whatever its floor is (its latest checkpoint). Replaces the pin before.
    pub fn pin(&self, lineage: Lineage, offsets: Range<u64>) {
        unimplemented!()
    }

    /// Takes the pin of a lineage away.
    pub fn unpin(&self, lineage: Lineage) {
        unimplemented!()
    }

    /// Offsets known to be unreadable, whether found by recovery, a reader or [`verify`](Self::verify).
    pub fn quarantined(&self) -> Vec<Quarantined> {
        unimplemented!()
    }

    /// Reads everything in the log and checks it; what is bad is quarantined. Returns how many records were read.
    pub fn verify(&self) -> Result<u64, crate::error::LogReadError> {
        unimplemented!()
    }

    /// What the log uses of the disk, and the mark that holds. Cheap.
    pub fn usage(&self) -> Usage {
        unimplemented!()
    }

    /// Bytes of the log from the segment that holds `from` of a lineage to the end: what a cursor there keeps
    /// from being freed at most.
    pub fn span_bytes(&self, lineage: Lineage, from: u64) -> u64 {
        unimplemented!()
    }

    /// Puts the log's metrics into a registry.
    pub fn register(&self, registry: &mut Registry) {
        unimplemented!()
    }

    /// Without threads ([`LogOptions::threads`]): writes and answers everything that waits, frees, recycles and
    /// copies forward as a log with threads would. Returns how many records it wrote.
    pub fn drive(&self) -> usize {
        unimplemented!()
    }

    /// Writes what waits, and a closing flush, then gives up the directory. Later appends are `Stopped`.
    pub fn stop(self) {
        unimplemented!()
    }
}
