//! What is shown of a drain.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Slot, Stage};
use super::session::{MemberState, Session};
use crate::status::{DownSink, DrainStatus, QuarantinedBucket, WarnedSink};

/// How often the status is renewed at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// Quarantined buckets shown by name.
const SHOWN_MAX: usize = 100;

impl Session {
    /// Renews the status, if it is time or `now`.
    pub(super) fn publish(&mut self, now: bool) {
        let at = self.now();
        if !now && self.published_at.is_some_and(|last| at < last + INTERVAL) {
            return;
        }
        self.published_at = Some(at);
        self.peek();
        let status = self.report(at);
        for (index, member) in self.members.iter().enumerate() {
            let metrics = member.sink.metrics();
            metrics.open_files.set(i64::try_from(member.sink.open_files()).unwrap_or(i64::MAX));
            let quarantined = self
                .table
                .iter()
                .filter(|(_, bucket)| bucket.member == index && bucket.quarantine.is_some());
            metrics.quarantined.set(i64::try_from(quarantined.count()).unwrap_or(i64::MAX));
        }
        self.publisher.send_replace(status);
    }

    fn report(&self, now: Duration) -> DrainStatus {
        let options = &self.shared.options;
        let until =
            |at: Duration| u64::try_from(at.saturating_sub(now).as_millis()).unwrap_or(u64::MAX);
        let mut status = DrainStatus::new(Arc::clone(&options.group), options.names.lineage);
        status.token = self.shared.token;
        status.floor = self.floor;
        status.cursor = self.cursor;
        status.caught_up = self.caught_up;
        status.ended = self.ended;
        status.active = self
            .active
            .filter(|member| self.is_up(*member))
            .map(|member| Arc::clone(self.members[member].sink.name()));
        status.buckets = self.table.len();
        status.buffer_bytes = self.held;
        status.newest_read_put_ms = self.newest_put_ms;
        status.totals = self.totals;
        for member in &self.members {
            let (MemberState::Out(_) | MemberState::Raising, Some(reason)) =
                (member.state, &member.reason)
            else {
                continue;
            };
            let retry_in_ms = if let MemberState::Out(at) = member.state { until(at) } else { 0 };
            let (sink, reason) = (Arc::clone(member.sink.name()), reason.clone());
            status.down.push(DownSink { sink, reason, retry_in_ms });
        }
        let unread = self.unread_put_ms();
        status.put_times_known = unread.is_some();
        let mut oldest = unread.unwrap_or(i64::MAX);
        for (_, bucket) in self.table.iter() {
            for segment in bucket.segments() {
                oldest = oldest.min(segment.first_put_ms);
                match &segment.stage {
                    Stage::Cold => status.cold_files += 1,
                    Stage::Streaming(stream) if !matches!(stream.file, Slot::None) => {
                        status.open_files += 1;
                    }
                    Stage::Closing | Stage::Building => status.open_files += 1,
                    _ => (),
                }
            }
            if let Some(quarantine) = &bucket.quarantine
                && status.quarantined.len() < SHOWN_MAX
            {
                status.quarantined.push(QuarantinedBucket {
                    bucket: bucket.key.clone(),
                    reason: quarantine.reason.clone(),
                    retry_in_ms: until(quarantine.retry_at),
                    events: bucket.segments().map(|segment| segment.events).sum(),
                });
            }
        }
        if oldest < i64::MAX {
            status.oldest_pending_put_ms = Some(oldest);
        }
        let warned = self.members.iter().filter_map(|member| {
            let warning = member.sink.warning()?;
            let sink = Arc::clone(member.sink.name());
            let reason = format!("sink {sink} can make nothing new in its root: {warning}");
            Some(WarnedSink { sink, reason })
        });
        status.warned = warned.collect();
        let warned = || status.warned.first().map(|warned| warned.reason.clone());
        status.degraded = degraded(&status).or_else(warned);
        status
    }
}

/// Why nothing gets on, in a sentence.
fn degraded(status: &DrainStatus) -> Option<String> {
    if let Some(down) = status.down.first() {
        let DownSink { sink, reason, retry_in_ms } = down;
        let instead = match &status.active {
            Some(active) => format!("events go to sink {active} instead"),
            None => format!("next try in {:.1} s", *retry_in_ms as f64 / 1000.0),
        };
        return Some(format!("sink {sink} does not work: {reason}; {instead}"));
    }
    let first = status.quarantined.first()?;
    let directory = &first.bucket.directory;
    let others = match status.quarantined.len() - 1 {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    };
    Some(format!("directory {directory} is left alone{others}: {}", first.reason))
}
