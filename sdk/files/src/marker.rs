//! The file that says which root a directory is.
//!
//! Without it a volume that is not mounted looks like an empty root, and its files, found absent,
//! would be written a second time.

use sdk_config::ledger::RootId;
use sdk_flow::Entropy;

use crate::fs::{FileSystem, FsError, FsErrorKind};
use crate::name::MARKER;
use crate::staged::{Deadlines, within};

const MAGIC: &str = "collector-root";
const VERSION: &str = "1";

/// Longer than any marker.
const BYTES_MAX: usize = 256;

/// Reads the marker of `root`; `None` if there is none, which a missing root has not either.
pub async fn read(
    fs: &dyn FileSystem,
    root: &str,
    deadlines: Deadlines,
) -> Result<Option<RootId>, FsError> {
    let path = format!("{root}/{MARKER}");
    let limit = deadlines.call;
    let mut reader = match within(limit, "open", &path, fs.open(&path)).await {
        Ok(reader) => reader,
        Err(error) if error.kind() == FsErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = within(limit, "read", &path, reader.read(BYTES_MAX)).await?;
    parse(&bytes).map(Some).map_err(|reason| {
        FsError::new(FsErrorKind::Other, "understand the root's marker", path.as_str())
            .caused_by(reason)
    })
}

fn parse(bytes: &[u8]) -> Result<RootId, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some(MAGIC) {
        return Err("it does not begin as one");
    }
    if words.next() != Some(VERSION) {
        return Err("it was written by a newer version");
    }
    let id = words.next().and_then(|word| word.parse().ok());
    id.filter(|_| words.next().is_none()).ok_or("it has no id")
}

/// Makes a marker, unless another process is faster; gives the id of the one that is there,
/// durably.
pub async fn create(
    fs: &dyn FileSystem,
    root: &str,
    entropy: &dyn Entropy,
    deadlines: Deadlines,
) -> Result<RootId, FsError> {
    let limit = deadlines.call;
    within(limit, "make directory", root, fs.mkdirs(root)).await?;
    let mut id = RootId([0; 16]);
    entropy.fill(&mut id.0);
    let path = format!("{root}/{MARKER}");
    let aside = format!("{path}.{id}");
    let mut writer = within(limit, "create", &aside, fs.create(&aside)).await?;
    let text = format!("{MAGIC} {VERSION} {id}\n");
    within(limit, "write", &aside, writer.write(text.into())).await?;
    within(deadlines.close, "close", &aside, writer.close()).await?;
    let renamed = within(limit, "rename a file to", &path, fs.rename(&aside, &path)).await;
    let there = read(fs, root, deadlines).await?;
    let Some(there) = there else {
        return Err(renamed
            .err()
            .unwrap_or_else(|| FsError::new(FsErrorKind::NotFound, "read back", path.as_str())));
    };
    if there != id {
        // Somebody else's stands there; ours is nothing but litter.
        let _ = within(limit, "delete", &aside, fs.delete(&aside)).await;
    }
    make_durable(fs, root, deadlines).await?;
    Ok(there)
}

/// Makes the marker survive a power cut, with every directory above it: some of those may be as new
/// as itself.
pub(crate) async fn make_durable(
    fs: &dyn FileSystem,
    root: &str,
    deadlines: Deadlines,
) -> Result<(), FsError> {
    let path = format!("{root}/{MARKER}");
    let files = [path.clone()];
    let durable = fs.make_durable(&files, top(root));
    within(deadlines.close, "make durable", &path, durable).await
}

/// The first directory of an absolute path.
fn top(root: &str) -> &str {
    let from = root.find("://").map_or(0, |scheme| scheme + 3);
    let first = root[from..].find('/').map_or(root.len(), |slash| from + slash);
    let second = root.get(first + 1..).and_then(|rest| rest.find('/'));
    second.map_or(root, |slash| &root[..first + 1 + slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_path_is_its_first_directory() {
        assert_eq!(top("/data/logs/web"), "/data");
        assert_eq!(top("/data"), "/data");
        assert_eq!(top("hdfs://nn/logs/web"), "hdfs://nn/logs");
    }
}
