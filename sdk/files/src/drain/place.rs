//! Giving files their final names.
//!
//! Under one token, after an Intent, only the same rename is repeated. What an error means is found
//! by asking for the target, the source and the token's directory, in this order.

use std::sync::Arc;
use std::time::Duration;

use sdk_config::ledger::Attempt;

use super::failure::{Failure, is_fenced};
use super::member::probe;
use super::shared::Shared;
use crate::fs::{EntryKind, FileSystem, FsError, FsErrorKind};
use crate::staged::{Closed, Deadlines, within};

/// Files of one directory.
pub(crate) struct Place {
    pub(crate) member: usize,
    pub(crate) directory: String,
    pub(crate) files: Vec<PlaceFile>,
}

pub(crate) struct PlaceFile {
    pub(crate) bucket: u32,
    pub(crate) segment: u64,
    pub(crate) name: String,
    /// What to rename; `None` if the final is only to be looked for.
    pub(crate) source: Option<Closed>,
    /// The builds that are ours.
    pub(crate) attempts: Vec<Attempt>,
}

/// What became of one file.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It has its final name and is durable under it.
    Final { length: u64, crc: u32 },
    /// There is no final, and nothing that could be renamed: it has to be built again.
    Absent,
    /// The file is lost though its directory is there: only a fresh token may build it again.
    SourceLost,
    /// Another file has the name.
    Conflict(String),
    /// The directory may not be made yet.
    Wait(Duration),
    /// It failed.
    Failed(Failure),
}

/// Places the files, those of one directory being made durable together.
pub(crate) async fn place(shared: &Arc<Shared>, work: &Place) -> Vec<Placed> {
    let mut results = Vec::with_capacity(work.files.len());
    let mut directory = Directory::Unknown;
    for file in &work.files {
        let result = match one(shared, work, file, &mut directory).await {
            Ok(result) => result,
            Err(error) => failed(shared, work.member, error).await,
        };
        results.push(result);
    }
    let sink = shared.sink(work.member);
    let renamed = work.files.iter().zip(&results);
    let renamed = renamed.filter(|(_, result)| matches!(result, Placed::Final { .. }));
    let paths: Vec<String> = renamed.map(|(file, _)| path(work, file)).collect();
    if paths.is_empty() || sdk_failpoints::mutant!(CommitBeforeDurable) {
        return results;
    }
    let durable = sink.fs().make_durable(&paths, sink.layout().root());
    let limit = shared.deadlines().close;
    if let Err(error) = within(limit, "make durable", &work.directory, durable).await {
        sink.metrics().failures.inc();
        let failed = Failure::File(error);
        for result in &mut results {
            if matches!(result, Placed::Final { .. }) {
                *result = Placed::Failed(failed.clone());
            }
        }
    }
    results
}

/// What is known of the directory the files go to.
enum Directory {
    Unknown,
    There,
    /// It may not be made for so long.
    Wait(Duration),
}

fn path(work: &Place, file: &PlaceFile) -> String {
    format!("{}/{}", work.directory, file.name)
}

async fn one(
    shared: &Arc<Shared>,
    work: &Place,
    file: &PlaceFile,
    directory: &mut Directory,
) -> Result<Placed, FsError> {
    let target = path(work, file);
    let sink = shared.sink(work.member);
    let deadlines = shared.deadlines();
    let Some(source) = &file.source else {
        let there = find(&**sink.fs(), &target, &file.attempts, deadlines).await?;
        return Ok(there.unwrap_or(Placed::Absent));
    };
    if matches!(directory, Directory::Unknown) {
        *directory = make_directory(shared, work).await?;
    }
    if let Directory::Wait(wait) = directory {
        return Ok(Placed::Wait(*wait));
    }
    sdk_failpoints::before!(Rename);
    let rename = sink.fs().rename(&source.path, &target);
    let renamed = within(deadlines.call, "rename a file to", &target, rename).await;
    sdk_failpoints::after!(Rename);
    let Err(error) = renamed else {
        return Ok(Placed::Final { length: source.length, crc: source.crc });
    };
    sink.metrics().failures.inc();
    // The error proves nothing: the rename may have been done, now or by an earlier try.
    if let Some(there) = find(&**sink.fs(), &target, &file.attempts, deadlines).await? {
        return Ok(there);
    }
    let status = sink.fs().status(&source.path);
    if within(deadlines.call, "look at", &source.path, status).await?.is_some() {
        if error.kind() == FsErrorKind::NotFound {
            // The directory has gone since we knew it.
            sink.forget_directory(&work.directory);
        }
        return Err(error);
    }
    if is_fenced(shared, work.member).await? {
        return Ok(Placed::Failed(Failure::Fenced));
    }
    // Between our two looks a delayed rename of ours may have been done.
    let there = find(&**sink.fs(), &target, &file.attempts, deadlines).await?;
    Ok(there.unwrap_or(Placed::SourceLost))
}

/// What stands under the final name: `None` if nothing does.
async fn find(
    fs: &dyn FileSystem,
    target: &str,
    attempts: &[Attempt],
    deadlines: Deadlines,
) -> Result<Option<Placed>, FsError> {
    let status = within(deadlines.call, "look at", target, fs.status(target)).await?;
    let Some(status) = status else { return Ok(None) };
    if status.kind != EntryKind::File {
        return Ok(Some(Placed::Conflict("something that is no file has the name".to_owned())));
    }
    let length = status.length;
    if !attempts.iter().any(|attempt| attempt.length == length) {
        let reason = format!("a file of {length} bytes, not ours, has the name");
        return Ok(Some(Placed::Conflict(reason)));
    }
    let crc = checksum(fs, target, deadlines).await?;
    if !attempts.iter().any(|attempt| attempt.length == length && attempt.crc == crc) {
        let reason = format!("a file with checksum {crc:08x}, not ours, has the name");
        return Ok(Some(Placed::Conflict(reason)));
    }
    Ok(Some(Placed::Final { length, crc }))
}

/// How much of a file is read at once.
const READ_BYTES: usize = 1 << 20;

/// The CRC32C of a file's bytes.
async fn checksum(fs: &dyn FileSystem, path: &str, deadlines: Deadlines) -> Result<u32, FsError> {
    let mut reader = within(deadlines.call, "open", path, fs.open(path)).await?;
    let mut crc = 0;
    loop {
        let bytes = within(deadlines.call, "read", path, reader.read(READ_BYTES)).await?;
        if bytes.is_empty() {
            return Ok(crc);
        }
        crc = crc32c::crc32c_append(crc, &bytes);
    }
}

async fn make_directory(shared: &Arc<Shared>, work: &Place) -> Result<Directory, FsError> {
    let sink = shared.sink(work.member);
    let path = work.directory.as_str();
    if sink.knows_directory(path) {
        return Ok(Directory::There);
    }
    let limit = shared.deadlines().call;
    match within(limit, "look at", path, sink.fs().status(path)).await? {
        Some(status) if status.kind == EntryKind::Directory => (),
        Some(_) => return Err(FsError::new(FsErrorKind::NotADirectory, "use", path)),
        None => {
            if let Err(wait) = sink.take_new_directory(shared.now()) {
                return Ok(Directory::Wait(wait));
            }
            sdk_failpoints::before!(Mkdir);
            within(limit, "make directory", path, sink.fs().mkdirs(path)).await?;
            sdk_failpoints::after!(Mkdir);
        }
    }
    sink.learn_directory(path);
    Ok(Directory::There)
}

/// Tells an error of one path from one of the whole root by a look at the root.
async fn failed(shared: &Arc<Shared>, member: usize, error: FsError) -> Placed {
    shared.sink(member).metrics().failures.inc();
    let failure = match error.kind() {
        kind if kind.may_belong_to_path() => match probe(shared, member).await {
            Ok(()) => Failure::Path(error),
            // The error of the path says more to people than that of the probe, which is the same
            // trouble in another place.
            Err(Failure::Fenced) => Failure::Fenced,
            Err(_) => Failure::Sink(error),
        },
        FsErrorKind::NoSpace
        | FsErrorKind::Authentication
        | FsErrorKind::Paused
        | FsErrorKind::Unsupported => Failure::Sink(error),
        _ => Failure::File(error),
    };
    Placed::Failed(failure)
}
