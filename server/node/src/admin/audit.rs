//! The books.

use super::AdminService;
use crate::figures::BookRow;
use proto::v1;
use sdk_files::Deadlines;
use sdk_files::audit::{DeepAudit, GroupAudit, GroupKey, Problem};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Status;

/// Books are read again while something moves between two columns.
const READS_MAX: u32 = 40;
const READ_AGAIN: Duration = Duration::from_millis(25);
/// Files listed ahead of the one that is read back.
const LISTED_WAITING_MAX: usize = 64;

impl AdminService {
    /// A row per (flow, channel, sink group), read when nothing was on its way from one column to
    /// another.
    pub(super) async fn audit_books(&self) -> v1::AuditReply {
        self.audited_books().await.0
    }

    async fn audited_books(&self) -> (v1::AuditReply, Vec<BookRow>) {
        let mut audit = self.read_books().await;
        for _ in 1..READS_MAX {
            if audit.0.balanced {
                break;
            }
            tokio::time::sleep(READ_AGAIN).await;
            audit = self.read_books().await;
        }
        audit
    }

    async fn read_books(&self) -> (v1::AuditReply, Vec<BookRow>) {
        let mut findings = Vec::new();
        let books = self.figures.counted_books().await;
        let flows = books.iter().map(|book| row(book, &mut findings)).collect();
        let balanced = findings.is_empty();
        let audit = v1::AuditReply { balanced, flows, findings, ..v1::AuditReply::default() };
        (audit, books)
    }

    /// The books, and every file that the archive lists read back. The books are read first: a file is
    /// listed before they have it.
    pub(super) async fn deep_audit(&self, since_ms: i64) -> Result<v1::AuditReply, Status> {
        // It reads whatever was written: two at once would only be slower.
        let Ok(_one) = self.auditing.try_lock() else {
            return Err(Status::resource_exhausted(
                "a deep audit is under way: ask again when it has ended",
            ));
        };
        let (mut audit, books) = self.audited_books().await;
        let mut deep = DeepAudit::new();
        let trimmed = self.check_archived(since_ms, &mut deep).await?;
        audit.deep = true;
        audit.files_read = deep.files;
        audit.ids = deep.duplicated().is_some();
        for Problem { path, what } in &deep.problems {
            audit.findings.push(format!("{path}: {what}"));
        }
        if deep.wrong > deep.problems.len() as u64 {
            audit.findings.push(format!("{} files are wrong in all", deep.wrong));
        }
        let nothing = GroupAudit::default();
        for (row, book) in audit.flows.iter_mut().zip(&books) {
            let group = deep.groups.get(&key(book)).unwrap_or(&nothing);
            row.duplicated = group.duplicated;
            if let Some(again @ 1..) = group.duplicated {
                let what = format!("{again} event ids are in its files twice");
                audit.findings.push(format!("{}: {what}", name(book)));
            }
            if since_ms > 0 {
                continue;
            }
            match listed(book, group, trimmed) {
                Listed::Well => (),
                Listed::Note(note) => audit.notes.push(format!("{}: {note}", name(book))),
                Listed::Wrong(what) => audit.findings.push(format!("{}: {what}", name(book))),
            }
        }
        audit.balanced = audit.findings.is_empty();
        Ok(audit)
    }

    /// Checks the files that the archive lists, as it gives them. Says whether it has forgotten some.
    async fn check_archived(&self, since_ms: i64, deep: &mut DeepAudit) -> Result<bool, Status> {
        let archive = Arc::clone(&self.archive);
        let (sender, mut files) = mpsc::channel(LISTED_WAITING_MAX);
        let read = tokio::task::spawn_blocking(move || {
            // Nobody may be there any more to take them.
            archive.read(since_ms, |file| drop(sender.blocking_send(file)))?;
            archive.is_trimmed()
        });
        while let Some(file) = files.recv().await {
            deep.check(&file, &self.file_systems, Deadlines::default()).await;
        }
        let read = read.await.map_err(|error| Status::internal(error.to_string()))?;
        read.map_err(|error| Status::internal(format!("the archive cannot be read: {error}")))
    }
}

/// Whether the files that were read back are those that the books count.
enum Listed {
    Well,
    Note(String),
    Wrong(String),
}

/// More may be listed: what has become final since the books were read.
fn listed(book: &BookRow, group: &GroupAudit, trimmed: bool) -> Listed {
    let (total, files) = (book.row.total(), group.files);
    let missing = total.files.saturating_sub(files);
    match (missing, trimmed) {
        (1.., true) => Listed::Note(format!(
            "{missing} of {} files are no longer listed, since the list forgets the oldest: they were not read back",
            total.files
        )),
        (1.., false) => Listed::Wrong(format!(
            "{missing} of {} files are not in this node's list of final files: nobody can say whether they are there",
            total.files
        )),
        (0, _) if files == total.files && group.crc_sum != total.crc_sum => Listed::Wrong(format!(
            "its {files} listed files are not those in the books: their checksums add up to {:x}, not to {:x}",
            group.crc_sum, total.crc_sum
        )),
        (0, _) => Listed::Well,
    }
}

/// Where the files of a row are.
fn key(book: &BookRow) -> GroupKey {
    let (channel, group) = (book.row.key.channel.clone(), book.row.key.group.clone());
    GroupKey { flow: book.row.flow, channel, group }
}

/// What a row is called in a finding.
fn name(book: &BookRow) -> String {
    let (flow, key) = (&book.row.name, &book.row.key);
    format!("flow {flow}, channel {}, group {}", key.channel, key.group)
}

fn row(book: &BookRow, findings: &mut Vec<String>) -> v1::AuditRow {
    let (row, total) = (&book.row, book.row.total());
    let (dropped, lost) = (total.dropped_events(), total.lost);
    let sum = total.in_files + total.dead_lettered + dropped + book.pending + lost;
    if !book.agree || sum != book.stored {
        findings.push(format!(
            "{}: stored {}, but {} in files + {} dead-lettered + {dropped} dropped + {} pending + {lost} lost = {sum}",
            name(book), book.stored, total.in_files, total.dead_lettered, book.pending
        ));
    }
    v1::AuditRow {
        flow: row.name.clone(),
        channel: row.key.channel.clone(),
        group: row.key.group.clone(),
        stored: book.stored,
        acknowledged: book.stored,
        in_files: total.in_files,
        dead_lettered: total.dead_lettered,
        dropped,
        pending: book.pending,
        lost,
        duplicated: None,
    }
}

#[cfg(test)]
mod tests;
