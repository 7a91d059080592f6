//! What is to be done next: looks at what has changed and starts the jobs for it.

use std::collections::HashMap;
use std::sync::Arc;

use super::bucket::{Slot, Stage};
use super::build::{BUILD_BYTES_MAX, Build, build};
use super::outcome::Done;
use super::place::{Place, PlaceFile, place};
use super::session::{MemberState, Session};

/// Build jobs at once.
const BUILDS_MAX: usize = 2;

/// Files in one build job.
const FILES_PER_BUILD_MAX: usize = 1024;

/// Rename jobs at once.
const PLACES_MAX: usize = 8;

/// Files in one rename job.
const FILES_PER_PLACE_MAX: usize = 64;

/// How much an unknown build is reckoned to hold.
const UNKNOWN_BYTES: u64 = BUILD_BYTES_MAX;

impl Session {
    /// Starts everything that can be started.
    pub(super) fn schedule(&mut self) {
        let now = self.now();
        while let Some((at, number)) = self.later.first().copied() {
            if at > now {
                break;
            }
            self.later.pop_first();
            self.dirty.insert(number);
        }
        self.raise_members();
        self.look_at_roots();
        self.choose();
        if self.caught_up && self.stop_by.is_none() {
            let wall_ms = self.shared.options.clock.wall_ms();
            self.roll_due(wall_ms);
        }
        while let Some(number) = self.dirty.pop_first() {
            if self.table.get(number).is_some() {
                self.advance(number);
            }
        }
        self.start_builds();
        self.start_places();
        self.call_ledger();
    }

    /// Finds out what a bucket's files need next.
    fn advance(&mut self, number: u32) {
        let now = self.now();
        self.retry_quarantine(number);
        self.write(number);
        let group_of_one = self.group_of_one();
        let bucket = self.table.at(number);
        let member = bucket.member;
        let state = self.members[member].state;
        let up = state == MemberState::Up;
        let quarantined = bucket.quarantine.is_some();
        // What a sink that is out has announced stays pinned to it, and the rest moves on.
        let stuck = quarantined || (!group_of_one && !up);
        let mut to_close = Vec::new();
        let mut accepted = true;
        let mut oldest_announced = true;
        for (index, segment) in bucket.rolled.iter().enumerate() {
            let ready = segment.retry_at <= now;
            if !ready && segment.is_at_rest() {
                self.later.insert((segment.retry_at, number));
            }
            if stuck && !segment.pinned && !segment.pinning {
                self.to_pin.insert(number);
            }
            let may_go_on = up && ready && (!quarantined || segment.announced());
            match &segment.stage {
                Stage::Streaming(stream)
                    if up && !quarantined && !matches!(stream.file, Slot::Busy) =>
                {
                    to_close.push(segment.id);
                }
                Stage::Cold if may_go_on => {
                    self.to_build.insert(number);
                }
                Stage::Staged(_) if may_go_on && (accepted || segment.announced()) => {
                    self.to_announce.insert(number);
                }
                Stage::Announced(_) if may_go_on && (!quarantined || oldest_announced) => {
                    self.to_place.insert(number);
                }
                Stage::Placed { .. } if index == 0 => {
                    self.to_commit.insert(number);
                }
                _ => (),
            }
            accepted &= segment.announced();
            oldest_announced &= !matches!(segment.stage, Stage::Announced(_));
        }
        for id in to_close {
            self.close(number, id);
        }
    }

    fn start_builds(&mut self) {
        while self.builds_running < BUILDS_MAX && !self.to_build.is_empty() {
            let mut work: Vec<Build> = Vec::new();
            let mut bytes = 0;
            while let Some(number) = self.to_build.pop_first() {
                let full = self.collect_builds(number, &mut work, &mut bytes);
                if full {
                    self.to_build.insert(number);
                    break;
                }
            }
            if work.is_empty() {
                return;
            }
            self.builds_running += 1;
            let shared = Arc::clone(&self.shared);
            self.jobs.push(Box::pin(async move { Done::Built(build(shared, work).await) }));
        }
    }

    /// Adds a bucket's cold files to `work`. True if there was no room for all.
    fn collect_builds(&mut self, number: u32, work: &mut Vec<Build>, bytes: &mut u64) -> bool {
        let now = self.now();
        let Some(bucket) = self.table.get(number) else { return false };
        let member = bucket.member;
        if self.members[member].state != MemberState::Up {
            return false;
        }
        let quarantined = bucket.quarantine.is_some();
        let policy = *self.members[member].sink.roll();
        let staging = self.shared.staging(member);
        for segment in &mut bucket.rolled {
            let wanted = matches!(segment.stage, Stage::Cold)
                && segment.retry_at <= now
                && (!quarantined || segment.announced());
            if !wanted {
                continue;
            }
            let size = if segment.body_bytes > 0 { segment.body_bytes } else { UNKNOWN_BYTES };
            let room = *bytes + size <= BUILD_BYTES_MAX && work.len() < FILES_PER_BUILD_MAX;
            if !work.is_empty() && !room {
                return true;
            }
            *bytes += size;
            segment.stage = Stage::Building;
            self.next_id += 1;
            work.push(Build {
                bucket: number,
                segment: segment.id,
                member,
                directory: bucket.key.directory.clone(),
                prefix: bucket.key.prefix.clone(),
                serializer: bucket.serializer,
                format: bucket.format,
                span: segment.span(),
                spans: segment.spans.clone(),
                limit: (segment.hole && !segment.announced()).then_some(policy),
                path: format!("{staging}/{:010}", self.next_id),
            });
        }
        false
    }

    fn start_places(&mut self) {
        if self.to_place.is_empty() || self.places_running >= PLACES_MAX {
            return;
        }
        let mut by_directory: HashMap<(usize, String), usize> = HashMap::new();
        let mut work: Vec<Place> = Vec::new();
        let mut left = std::collections::BTreeSet::new();
        while let Some(number) = self.to_place.pop_first() {
            let Some(bucket) = self.table.get(number) else { continue };
            let key = (bucket.member, bucket.key.directory.clone());
            let at = match by_directory.get(&key) {
                Some(at) => *at,
                None if self.places_running + work.len() >= PLACES_MAX => {
                    left.insert(number);
                    continue;
                }
                None => {
                    let (member, directory) = key.clone();
                    work.push(Place { member, directory, files: Vec::new() });
                    by_directory.insert(key, work.len() - 1);
                    work.len() - 1
                }
            };
            if self.collect_places(number, &mut work[at].files) {
                left.insert(number);
            }
        }
        self.to_place = left;
        for work in work.into_iter().filter(|work| !work.files.is_empty()) {
            self.places_running += 1;
            let shared = Arc::clone(&self.shared);
            self.jobs.push(Box::pin(async move {
                let results = place(&shared, &work).await;
                let files = work.files.into_iter().map(|file| (file.bucket, file.segment));
                Done::Placed(files.zip(results).collect())
            }));
        }
    }

    /// Adds a bucket's announced files to `files`. True if there was no room for all.
    fn collect_places(&mut self, number: u32, files: &mut Vec<PlaceFile>) -> bool {
        let now = self.now();
        let names = self.shared.options.names;
        let Some(bucket) = self.table.get(number) else { return false };
        if self.members[bucket.member].state != MemberState::Up {
            return false;
        }
        let quarantined = bucket.quarantine.is_some();
        for segment in &mut bucket.rolled {
            if !matches!(segment.stage, Stage::Announced(_)) || segment.retry_at > now {
                continue;
            }
            if files.len() >= FILES_PER_PLACE_MAX {
                return true;
            }
            let stage = std::mem::replace(&mut segment.stage, Stage::Cold);
            let Stage::Announced(source) = stage else { unreachable!("it was just looked at") };
            segment.stage = Stage::Placing(source.clone());
            files.push(PlaceFile {
                bucket: number,
                segment: segment.id,
                name: names.file(&bucket.key, segment.first, segment.last),
                source,
                attempts: segment.attempts.clone(),
            });
            if quarantined {
                break;
            }
        }
        false
    }
}
