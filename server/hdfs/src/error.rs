//! Which class of failure an error of HDFS is.

use hdfs_native::HdfsError;
use sdk_files::fs::{FsError, FsErrorKind};
use std::fmt;
use std::io::ErrorKind;

/// Texts of Java are cut at this many characters.
const TEXT_MAX: usize = 300;

/// What helps when HDFS does not know who we are.
const REMEDY: &str =
    "; get a ticket with kinit, or check kerberos_principal and kerberos_keytab under [node.hdfs]";

/// The class, by the variant and by the name of the Java exception; never by a text.
pub(crate) fn kind_of(error: &HdfsError) -> FsErrorKind {
    match error {
        HdfsError::FileNotFound(_) => FsErrorKind::NotFound,
        HdfsError::AlreadyExists(_) => FsErrorKind::AlreadyExists,
        HdfsError::IsADirectoryError(_) => FsErrorKind::NotADirectory,
        HdfsError::InvalidPath(_) | HdfsError::UrlParseError(_) => FsErrorKind::InvalidPath,
        HdfsError::RPCError(class, _) | HdfsError::FatalRPCError(class, _) => kind_of_class(class),
        HdfsError::IOError(error) if error.kind() == ErrorKind::TimedOut => FsErrorKind::Timeout,
        HdfsError::IOError(_)
        | HdfsError::DataTransferError(_)
        | HdfsError::ChecksumError
        | HdfsError::BlocksNotFound(_)
        // The DataNodes have not reported the last block in time.
        | HdfsError::OperationFailed(_) => FsErrorKind::Unavailable,
        HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism => {
            FsErrorKind::Authentication
        }
        HdfsError::UnsupportedErasureCodingPolicy(_)
        | HdfsError::ErasureCodingError(_)
        | HdfsError::UnsupportedFeature(_)
        | HdfsError::TrashNotEnabled => FsErrorKind::Unsupported,
        HdfsError::InvalidArgument(_)
        | HdfsError::InternalError(_)
        | HdfsError::InvalidRPCResponse(_)
        | HdfsError::XmlParseError(_) => FsErrorKind::Other,
    }
}

/// The class of a Java exception, by its full name.
fn kind_of_class(class: &str) -> FsErrorKind {
    let name = class.rsplit(['.', '$']).next().unwrap_or(class);
    match name {
        // The latter: the file of a writer is not its own any more.
        "FileNotFoundException" | "LeaseExpiredException" => FsErrorKind::NotFound,
        "FileAlreadyExistsException"
        | "AlreadyBeingCreatedException"
        | "PathIsNotEmptyDirectoryException" => FsErrorKind::AlreadyExists,
        "ParentNotDirectoryException" | "PathIsNotDirectoryException" => FsErrorKind::NotADirectory,
        "AccessControlException" | "SnapshotAccessControlException" => FsErrorKind::Permission,
        "NSQuotaExceededException"
        | "DSQuotaExceededException"
        | "QuotaByStorageTypeExceededException"
        | "QuotaExceededException"
        | "MaxDirectoryItemsExceededException" => FsErrorKind::Quota,
        "InvalidPathException"
        | "PathComponentTooLongException"
        | "IllegalNameException"
        | "HadoopIllegalArgumentException" => FsErrorKind::InvalidPath,
        // A NameNode that starts wraps its safe mode into the former.
        "RetriableException" | "SafeModeException" => FsErrorKind::Paused,
        "StandbyException" | "ObserverRetryOnActiveException" | "ServerTooBusyException" => {
            FsErrorKind::Unavailable
        }
        "SaslException"
        | "GSSException"
        | "InvalidToken"
        | "AuthorizationException"
        | "AuthenticationException" => FsErrorKind::Authentication,
        "UnsupportedOperationException"
        | "RpcNoSuchMethodException"
        | "RpcNoSuchProtocolException" => FsErrorKind::Unsupported,
        // Mostly "could only be written to 0 of the 1 minReplication nodes".
        "IOException" | "NotReplicatedYetException" | "RemoteException" => FsErrorKind::Unavailable,
        _ => FsErrorKind::Other,
    }
}

/// An error of ours with what HDFS said, without the stack that Java sends along.
pub(crate) fn failed(operation: &'static str, path: &str, error: &HdfsError) -> FsError {
    let kind = kind_of(error);
    let mut said = text_of(error);
    if kind == FsErrorKind::Authentication {
        said.push_str(REMEDY);
    }
    FsError::new(kind, operation, path).caused_by(Said(said))
}

/// Whether an error is the plain `IOException` that may mean anything.
pub(crate) fn is_plain_io(error: &HdfsError) -> bool {
    matches!(error, HdfsError::RPCError(class, _) if class == "java.io.IOException")
}

fn text_of(error: &HdfsError) -> String {
    let text = match error {
        HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => {
            let name = class.rsplit(['.', '$']).next().unwrap_or(class);
            let line = text.lines().next().unwrap_or_default();
            // Hadoop repeats the class in front of the text.
            let line = line
                .strip_prefix(class.as_str())
                .map_or(line, |rest| rest.trim_start_matches(':').trim_start());
            if line.is_empty() { name.to_owned() } else { format!("{name}: {line}") }
        }
        error => error.to_string(),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// What HDFS said.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rpc(class: &str, text: &str) -> HdfsError {
        HdfsError::RPCError(class.to_owned(), text.to_owned())
    }

    #[test]
    fn java_exceptions_are_told_apart_by_class() {
        let protocol = "org.apache.hadoop.hdfs.protocol";
        let namenode = "org.apache.hadoop.hdfs.server.namenode";
        for (class, kind) in [
            ("java.io.FileNotFoundException".to_owned(), FsErrorKind::NotFound),
            (format!("{namenode}.LeaseExpiredException"), FsErrorKind::NotFound),
            (format!("{namenode}.SafeModeException"), FsErrorKind::Paused),
            ("org.apache.hadoop.ipc.RetriableException".to_owned(), FsErrorKind::Paused),
            ("org.apache.hadoop.ipc.StandbyException".to_owned(), FsErrorKind::Unavailable),
            (format!("{protocol}.DSQuotaExceededException"), FsErrorKind::Quota),
            (format!("{protocol}.NSQuotaExceededException"), FsErrorKind::Quota),
            (
                format!("{protocol}.FSLimitException$MaxDirectoryItemsExceededException"),
                FsErrorKind::Quota,
            ),
            (
                format!("{protocol}.FSLimitException$PathComponentTooLongException"),
                FsErrorKind::InvalidPath,
            ),
            (
                "org.apache.hadoop.security.AccessControlException".to_owned(),
                FsErrorKind::Permission,
            ),
            (
                "org.apache.hadoop.fs.ParentNotDirectoryException".to_owned(),
                FsErrorKind::NotADirectory,
            ),
            (
                "org.apache.hadoop.security.token.SecretManager$InvalidToken".to_owned(),
                FsErrorKind::Authentication,
            ),
            ("java.io.IOException".to_owned(), FsErrorKind::Unavailable),
            ("java.lang.NullPointerException".to_owned(), FsErrorKind::Other),
        ] {
            assert_eq!(kind_of(&rpc(&class, "")), kind, "{class}");
        }
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        assert_eq!(kind_of(&HdfsError::IOError(refused)), FsErrorKind::Unavailable);
        assert_eq!(kind_of(&HdfsError::NoSASLMechanism), FsErrorKind::Authentication);
    }

    #[test]
    fn the_text_is_one_line_without_the_stack() {
        let class = "org.apache.hadoop.hdfs.server.namenode.SafeModeException";
        let error = rpc(class, &format!("{class}: Name node is in safe mode.\n\tat org.apache"));
        assert_eq!(text_of(&error), "SafeModeException: Name node is in safe mode.");
        let long = text_of(&rpc("java.io.IOException", &"x".repeat(5000)));
        assert!(long.len() < 400, "{}", long.len());
    }
}
