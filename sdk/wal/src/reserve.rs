//! A file that does nothing but take room, so that there is some when the disk is full.

use crate::core::Core;
use crate::options::LogOptions;
use std::io;
use tracing::warn;

const NAME: &str = "reserve";

/// Gives the reserve up if the disk is so full that recovery may not have what it needs.
pub(crate) fn release(options: &LogOptions) -> io::Result<bool> {
    if options.storage.free_bytes(&options.dir)? >= options.reserve_bytes {
        return Ok(false);
    }
    match options.storage.remove(&options.dir.join(NAME)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets the reserve aside, once the disk has room to spare.
pub(crate) fn restore(core: &Core) {
    let (options, bytes) = (&core.options, core.options.reserve_bytes);
    if bytes == 0 || !core.quota.has_spare_room(bytes) {
        return;
    }
    let path = options.dir.join(NAME);
    let made = match options.storage.create(&path) {
        Ok(file) => file.allocate(bytes).and_then(|()| file.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return,
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        warn!(%error, "cannot set the reserve aside, will try again");
        let _ = options.storage.remove(&path);
    }
}
