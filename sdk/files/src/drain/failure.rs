//! What a failed call on a file says about more than the file.

use std::time::Duration;

use super::shared::Shared;
use crate::fs::{FsError, FsErrorKind};
use crate::staged::within;

/// A failure, by what it concerns.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Our staging directory is gone: somebody holds a newer token, or somebody has meddled. Either
    /// way this token is at its end.
    Fenced,
    /// The sink as a whole.
    Sink(FsError),
    /// One path, while the rest of the sink works.
    Path(FsError),
    /// Perhaps nothing but this file: try again, soon.
    File(FsError),
}

/// A file that could not be written in staging.
pub(crate) async fn of_staging(shared: &Shared, member: usize, error: FsError) -> Failure {
    shared.sink(member).metrics().failures.inc();
    match error.kind() {
        FsErrorKind::NotFound => match is_fenced(shared, member).await {
            Ok(true) => Failure::Fenced,
            Ok(false) => Failure::File(error),
            Err(error) => Failure::File(error),
        },
        FsErrorKind::NotADirectory
        | FsErrorKind::Permission
        | FsErrorKind::ReadOnly
        | FsErrorKind::Authentication
        | FsErrorKind::Quota
        | FsErrorKind::NoSpace
        | FsErrorKind::OtherVolume
        | FsErrorKind::InvalidPath
        | FsErrorKind::Paused
        | FsErrorKind::Unsupported => Failure::Sink(error),
        FsErrorKind::AlreadyExists
        | FsErrorKind::Unavailable
        | FsErrorKind::Timeout
        | FsErrorKind::Device
        | FsErrorKind::Other => Failure::File(error),
    }
}

/// Whether our staging directory is gone.
pub(crate) async fn is_fenced(shared: &Shared, member: usize) -> Result<bool, FsError> {
    let staging = shared.staging(member);
    let fs = shared.sink(member).fs();
    let status = within(shared.deadlines().call, "look at", &staging, fs.status(&staging)).await?;
    Ok(status.is_none())
}

/// The pause before try number `tries + 1`: quick at first, since many failures of a file system in
/// trouble are over with the next file.
pub(crate) fn pause(tries: u32, most: Duration) -> Duration {
    let millis = 20u64.checked_shl(tries).unwrap_or(u64::MAX);
    Duration::from_millis(millis).min(most)
}

/// So many failures of one file in a row make it a failure of the sink.
pub(crate) const QUICK_TRIES: u32 = 10;

/// The longest pause between those.
pub(crate) const QUICK_PAUSE_MAX: Duration = Duration::from_millis(500);

/// For how many failures one counts: a call without an answer has cost its whole deadline.
pub(crate) fn weight(error: &FsError) -> u32 {
    if error.kind() == FsErrorKind::Timeout { 4 } else { 1 }
}
