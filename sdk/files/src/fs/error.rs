//! Why a file system said no, told apart by what the caller does next.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A failed call on a file system.
#[derive(Debug, Clone)]
pub struct FsError {
    kind: FsErrorKind,
    operation: &'static str,
    path: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FsErrorKind {
    /// Nothing stands at the path, or a directory above it is missing.
    NotFound,
    /// Something stands at the path already.
    AlreadyExists,
    /// Something above the path is no directory, or a directory stands where a file should.
    NotADirectory,
    /// This process may not.
    Permission,
    /// The volume or the directory cannot be written to at all.
    ReadOnly,
    /// It does not know who this process is: no ticket, or one that has expired.
    Authentication,
    /// A quota of this directory or user is used up.
    Quota,
    /// The volume is full.
    NoSpace,
    /// The two paths are on different volumes or in different encryption zones.
    OtherVolume,
    /// The path, or one component of it, is one this file system cannot have.
    InvalidPath,
    /// The file system asks everybody to wait (HDFS safe mode): a pause, not a failure.
    Paused,
    /// It cannot be reached, or broke off in the middle.
    Unavailable,
    /// No answer in time. The call may take effect later.
    Timeout,
    /// It cannot do what was asked of it, whatever the path.
    Unsupported,
    /// The device answered with an error.
    Device,
    /// None of the above.
    Other,
}

impl FsErrorKind {
    /// Whether this class can belong to one path while the rest of the root works. It takes a look
    /// at the root to know.
    pub fn may_belong_to_path(self) -> bool {
        matches!(
            self,
            FsErrorKind::NotADirectory
                | FsErrorKind::AlreadyExists
                | FsErrorKind::Permission
                | FsErrorKind::ReadOnly
                | FsErrorKind::Quota
                | FsErrorKind::OtherVolume
                | FsErrorKind::InvalidPath
        )
    }

    /// A stable word for metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            FsErrorKind::NotFound => "not_found",
            FsErrorKind::AlreadyExists => "already_exists",
            FsErrorKind::NotADirectory => "not_a_directory",
            FsErrorKind::Permission => "permission",
            FsErrorKind::ReadOnly => "read_only",
            FsErrorKind::Authentication => "authentication",
            FsErrorKind::Quota => "quota",
            FsErrorKind::NoSpace => "no_space",
            FsErrorKind::OtherVolume => "other_volume",
            FsErrorKind::InvalidPath => "invalid_path",
            FsErrorKind::Paused => "paused",
            FsErrorKind::Unavailable => "unavailable",
            FsErrorKind::Timeout => "timeout",
            FsErrorKind::Unsupported => "unsupported",
            FsErrorKind::Device => "device",
            FsErrorKind::Other => "other",
        }
    }

    /// The class in words, for people.
    fn words(self) -> &'static str {
        match self {
            FsErrorKind::NotFound => "no such file or directory",
            FsErrorKind::AlreadyExists => "something stands there already",
            FsErrorKind::NotADirectory => "a component of the path is not a directory",
            FsErrorKind::Permission => "permission denied",
            FsErrorKind::ReadOnly => "it is read-only",
            FsErrorKind::Authentication => "the file system does not accept our credentials",
            FsErrorKind::Quota => "a quota is used up",
            FsErrorKind::NoSpace => "the volume is full",
            FsErrorKind::OtherVolume => "it is on another volume",
            FsErrorKind::InvalidPath => "the file system cannot have that path",
            FsErrorKind::Paused => "the file system asks to wait",
            FsErrorKind::Unavailable => "the file system cannot be reached",
            FsErrorKind::Timeout => "no answer in time",
            FsErrorKind::Unsupported => "the file system cannot do that",
            FsErrorKind::Device => "the device answered with an error",
            FsErrorKind::Other => "it failed",
        }
    }
}

impl FsError {
    /// A failure of `operation` (a verb) on `path`.
    pub fn new(kind: FsErrorKind, operation: &'static str, path: impl Into<String>) -> FsError {
        FsError { kind, operation, path: path.into(), source: None }
    }

    /// With what caused it.
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> FsError {
        FsError { source: Some(Arc::from(source.into())), ..self }
    }

    /// From an error of the operating system.
    pub fn from_io(operation: &'static str, path: &str, error: std::io::Error) -> FsError {
        let kind = match error.raw_os_error() {
            Some(code) => kind_of(rustix::io::Errno::from_raw_os_error(code)),
            None => FsErrorKind::Other,
        };
        FsError::new(kind, operation, path).caused_by(error)
    }

    /// Its class.
    pub fn kind(&self) -> FsErrorKind {
        self.kind
    }

    /// The path it is about.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path, self.kind.words())
    }
}

impl Error for FsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

fn kind_of(errno: rustix::io::Errno) -> FsErrorKind {
    use rustix::io::Errno;
    match errno {
        Errno::NOENT => FsErrorKind::NotFound,
        Errno::EXIST | Errno::NOTEMPTY => FsErrorKind::AlreadyExists,
        Errno::NOTDIR | Errno::ISDIR => FsErrorKind::NotADirectory,
        Errno::ACCESS | Errno::PERM => FsErrorKind::Permission,
        Errno::ROFS => FsErrorKind::ReadOnly,
        Errno::DQUOT => FsErrorKind::Quota,
        Errno::NOSPC => FsErrorKind::NoSpace,
        Errno::XDEV => FsErrorKind::OtherVolume,
        Errno::NAMETOOLONG | Errno::ILSEQ | Errno::LOOP => FsErrorKind::InvalidPath,
        Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL => FsErrorKind::Unsupported,
        Errno::IO | Errno::NXIO | Errno::NODEV | Errno::NOTCONN => FsErrorKind::Device,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::STALE => FsErrorKind::Unavailable,
        Errno::TIMEDOUT => FsErrorKind::Timeout,
        _ => FsErrorKind::Other,
    }
}
