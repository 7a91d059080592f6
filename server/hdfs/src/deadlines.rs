//! How long calls may take.

use std::time::Duration;

/// How long a call may take before its file is given up.
///
/// Shorter than those of the sink, so that a call without an answer ends here, where the connection
/// can be given up with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Of a call to a NameNode. The client itself tries again for most of it.
    pub call: Duration,
    /// Of one write: a healthy cluster that loses a DataNode takes a second.
    pub write: Duration,
    /// Of the end of a file, which may wait 15 s for the DataNodes' reports, and of a fence.
    pub close: Duration,
    /// Of one read. The client goes on to another replica within it.
    pub read: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            call: Duration::from_secs(20),
            write: Duration::from_secs(25),
            close: Duration::from_secs(55),
            read: Duration::from_secs(25),
        }
    }
}
