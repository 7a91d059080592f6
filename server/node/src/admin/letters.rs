//! Dead letters: events that could not be placed.

use super::AdminService;
use crate::letters::LetterFile;
use proto::v1;
use sdk_files::archive::ArchivedFile;
use sdk_files::fs::FileSystems;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

const LINES_WAITING_MAX: usize = 8;
const READ_BYTES: usize = 256 << 10;
/// A line has one event, with its headers and some JSON around.
const LINE_BYTES_MAX: usize = 8 << 20;

impl AdminService {
    pub(super) async fn letters(&self, flow: &str) -> Result<v1::ListDeadLettersReply, Status> {
        let archived = self.archived_letters().await?.into_iter();
        let archived = archived.map(|file| v1::DeadLetterFile {
            flow: file.flow,
            path: file.path,
            events: file.events,
            bytes: file.length,
        });
        let kept = self.kept_letters().await?.into_iter();
        let kept = kept.map(|LetterFile { flow, path, events, bytes }| v1::DeadLetterFile {
            flow,
            path,
            events,
            bytes,
        });
        let files = archived.chain(kept).filter(|file| flow.is_empty() || file.flow == flow);
        Ok(v1::ListDeadLettersReply { files: files.collect() })
    }

    /// The lines of one file; only of one that is listed.
    pub(super) async fn letter_file(
        &self,
        path: &str,
    ) -> Result<ReceiverStream<Result<v1::DeadLetter, Status>>, Status> {
        let archived = self.archived_letters().await?.into_iter().map(|file| file.path);
        let kept = self.kept_letters().await?.into_iter().map(|file| file.path);
        let Some(path) = archived.chain(kept).find(|known| known == path) else {
            return Err(Status::not_found(format!(
                "{path} is not in this node's list of dead letters: it is no file of them, or was \
                 written so long ago that the list has forgotten it ([node.archive])"
            )));
        };
        let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
        let systems = self.file_systems.clone();
        self.tasks.start("dead letters", |stop| async move {
            let read = stop.run_until_cancelled(send_lines(&systems, &path, &sender)).await;
            if let Some(Err(error)) = read {
                // The caller may have gone.
                drop(sender.send(Err(Status::data_loss(error))).await);
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn kept_letters(&self) -> Result<Vec<LetterFile>, Status> {
        let letters = Arc::clone(&self.letters);
        let read = tokio::task::spawn_blocking(move || letters.files()).await;
        let read = read.map_err(|error| Status::internal(error.to_string()))?;
        read.map_err(|error| Status::internal(format!("dead letters cannot be read: {error}")))
    }

    async fn archived_letters(&self) -> Result<Vec<ArchivedFile>, Status> {
        let archive = Arc::clone(&self.archive);
        let read = tokio::task::spawn_blocking(move || {
            // A file that became final twice, before and after a crash, is listed twice.
            let mut files = BTreeMap::new();
            archive.read(0, |file| {
                if file.dead_letters {
                    files.insert(file.path.clone(), file);
                }
            })?;
            std::io::Result::Ok(files.into_values().collect())
        });
        let read = read.await.map_err(|error| Status::internal(error.to_string()))?;
        read.map_err(|error| Status::internal(format!("the archive cannot be read: {error}")))
    }
}

async fn send_lines(
    systems: &dyn FileSystems,
    path: &str,
    sender: &mpsc::Sender<Result<v1::DeadLetter, Status>>,
) -> Result<(), String> {
    let fs = systems.of(path).map_err(|error| error.to_string())?;
    let mut reader = fs.open(path).await.map_err(|error| error.to_string())?;
    let mut line = Vec::new();
    loop {
        let bytes = reader.read(READ_BYTES).await.map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Ok(());
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.len() > LINE_BYTES_MAX {
                return Err(format!("{path} has a line of more than {LINE_BYTES_MAX} bytes"));
            }
            if piece.ends_with(b"\n") {
                line.pop();
                let json = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if sender.send(Ok(v1::DeadLetter { json })).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::figures::rig::{config, started};
    use proto::v1::ShowDeadLettersRequest;
    use proto::v1::admin_client::AdminClient;

    /// What the list has forgotten may have been written here all the same.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_listed_is_said_to_be_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let node = started(config(folder.path())).await;
        let client = AdminClient::connect(format!("http://{}", node.addresses().admin)).await;
        let path = "/data/web/_dead/web/2012-06-23/events".to_owned();
        let request = ShowDeadLettersRequest { path, flow: String::new() };
        let refused = client.expect("connect").show_dead_letters(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        assert!(refused.message().contains("is not in this node's list"), "{refused}");
        assert!(refused.message().contains("has forgotten it"), "{refused}");
        node.stop().await;
    }
}
