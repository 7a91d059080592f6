//! What every file system keeps, as a suite: the disk in memory, the local disk and HDFS alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Entry, EntryKind, FileSystem, FsError, FsErrorKind, Status};

/// Tries everything below `root`, which must not be there yet.
///
/// # Panics
///
/// If something is not as [`FileSystem`] says.
pub async fn check(fs: Arc<dyn FileSystem>, root: &str) {
    let suite = Suite { fs, root: root.to_owned() };
    suite.nothing_is_there_at_first().await;
    suite.files_come_out_as_they_went_in().await;
    suite.nothing_is_replaced().await;
    suite.no_parent_is_made_by_the_way().await;
    suite.directories_list_what_they_have().await;
    suite.a_delete_takes_everything_below().await;
    suite.a_fence_ends_writing_closing_and_renaming().await;
    suite.names_of_every_kind_are_kept().await;
}

struct Suite {
    fs: Arc<dyn FileSystem>,
    root: String,
}

impl Suite {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    async fn mkdirs(&self, name: &str) {
        self.fs.mkdirs(&self.path(name)).await.expect("make a directory");
    }

    async fn write(&self, name: &str, chunks: &[&[u8]]) {
        let mut writer = self.fs.create(&self.path(name)).await.expect("create a file");
        for chunk in chunks {
            writer.write(Bytes::copy_from_slice(chunk)).await.expect("write");
            writer.sync_progress().await.expect("write back");
        }
        writer.close().await.expect("close");
    }

    /// The same, `at_once` in one call and the rest as [`Suite::write`] would.
    async fn write_together(&self, name: &str, at_once: &[&[u8]], rest: &[&[u8]]) {
        let mut writer = self.fs.create(&self.path(name)).await.expect("create a file");
        let copy = |chunk: &&[u8]| Bytes::copy_from_slice(chunk);
        writer.write_all(at_once.iter().map(copy).collect()).await.expect("write all");
        for chunk in rest {
            writer.write(copy(chunk)).await.expect("write");
        }
        writer.close().await.expect("close");
    }

    async fn read(&self, name: &str, at_most: usize) -> Vec<u8> {
        let mut reader = self.fs.open(&self.path(name)).await.expect("open a file");
        let mut content = Vec::new();
        loop {
            let bytes = reader.read(at_most).await.expect("read");
            assert!(bytes.len() <= at_most, "no more than asked for");
            if bytes.is_empty() {
                return content;
            }
            content.extend_from_slice(&bytes);
        }
    }

    async fn status(&self, name: &str) -> Option<Status> {
        self.fs.status(&self.path(name)).await.expect("look at a path")
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsErrorKind> {
        kind(self.fs.rename(&self.path(from), &self.path(to)).await)
    }

    async fn create(&self, name: &str) -> Result<(), FsErrorKind> {
        kind(self.fs.create(&self.path(name)).await.map(drop))
    }

    async fn list(&self, name: &str) -> BTreeMap<String, Status> {
        let entries = self.fs.list(&self.path(name)).await.expect("list a directory");
        entries.into_iter().map(|Entry { name, status }| (name, status)).collect()
    }

    async fn nothing_is_there_at_first(&self) {
        assert_eq!(self.status("none").await, None);
        assert!(!self.fs.delete(&self.path("none")).await.expect("delete nothing"));
        self.fs.fence(&self.path("none/at/all")).await.expect("fence nothing");
        let listed = self.fs.list(&self.path("none")).await.map(drop);
        assert_eq!(kind(listed), Err(FsErrorKind::NotFound));
        let opened = self.fs.open(&self.path("none")).await.map(drop);
        assert_eq!(kind(opened), Err(FsErrorKind::NotFound));
        assert_eq!(self.create("none/file").await, Err(FsErrorKind::NotFound));
    }

    async fn files_come_out_as_they_went_in(&self) {
        self.mkdirs("content").await;
        // Again is as good.
        self.mkdirs("content").await;
        let directory = Status { kind: EntryKind::Directory, length: 0 };
        assert_eq!(self.status("content").await, Some(directory));
        self.write("content/empty", &[]).await;
        assert_eq!(self.status("content/empty").await, Some(file(0)));
        assert_eq!(self.read("content/empty", 10).await, b"");
        self.write("content/small", &[b"abc", b"", b"def"]).await;
        assert_eq!(self.status("content/small").await, Some(file(6)));
        assert_eq!(self.read("content/small", 4).await, b"abcdef");
        // Longer than anything that is sent at once, and no multiple of it.
        let chunk: Vec<u8> =
            (0..700_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        self.write("content/large", &[&chunk, &chunk, &chunk]).await;
        assert_eq!(self.status("content/large").await, Some(file(2_100_003)));
        let read = self.read("content/large", 100_000).await;
        assert!(read == [&chunk[..], &chunk, &chunk].concat(), "the large file has changed");
        let together: [&[u8]; 5] = [b"few", b"", &chunk, &chunk[..5], &chunk];
        self.write_together("content/together", &together, &[b"end"]).await;
        let read = self.read("content/together", 100_000).await;
        assert!(read == [&together.concat()[..], b"end"].concat(), "chunks written together");
        let files = ["content/small", "content/large"].map(|name| self.path(name));
        self.fs.make_durable(&files, &self.root).await.expect("make durable");
    }

    async fn nothing_is_replaced(&self) {
        self.mkdirs("replace/directory").await;
        self.write("replace/a", &[b"a"]).await;
        self.write("replace/b", &[b"bb"]).await;
        assert_eq!(self.create("replace/a").await, Err(FsErrorKind::AlreadyExists));
        let there = Err(FsErrorKind::AlreadyExists);
        assert_eq!(self.rename("replace/a", "replace/b").await, there);
        assert_eq!(self.rename("replace/a", "replace/directory").await, there);
        assert_eq!(self.read("replace/b", 10).await, b"bb");
        assert_eq!(self.list("replace/directory").await.len(), 0);
        assert_eq!(self.rename("replace/a", "replace/c").await, Ok(()));
        assert_eq!(self.read("replace/c", 10).await, b"a");
        assert_eq!(self.status("replace/a").await, None);
        // Asked for a second time: the source is gone, and what was done stays.
        let gone = self.rename("replace/a", "replace/c").await.expect_err("no source");
        assert!([FsErrorKind::NotFound, FsErrorKind::AlreadyExists].contains(&gone), "{gone:?}");
        assert_eq!(self.read("replace/c", 10).await, b"a");
        // One that is open still has its name.
        let open = self.fs.create(&self.path("replace/open")).await.expect("create");
        assert_eq!(self.create("replace/open").await, Err(FsErrorKind::AlreadyExists));
        open.close().await.expect("close what somebody else could not replace");
    }

    async fn no_parent_is_made_by_the_way(&self) {
        self.mkdirs("parents").await;
        self.write("parents/a", &[b"a"]).await;
        assert_eq!(self.create("parents/no/file").await, Err(FsErrorKind::NotFound));
        let moved = self.rename("parents/a", "parents/no/file").await;
        assert_eq!(moved, Err(FsErrorKind::NotFound));
        assert_eq!(self.status("parents/no").await, None);
        let below = self.fs.mkdirs(&self.path("parents/a/below")).await;
        let refused = [FsErrorKind::NotADirectory, FsErrorKind::AlreadyExists];
        assert!(
            kind(below).is_err_and(|kind| refused.contains(&kind)),
            "a file has no directories"
        );
        assert_eq!(self.read("parents/a", 10).await, b"a");
    }

    async fn directories_list_what_they_have(&self) {
        self.mkdirs("list/directory/inner").await;
        self.write("list/file", &[b"12345"]).await;
        let listed = self.list("list").await;
        let names: Vec<&str> = listed.keys().map(String::as_str).collect();
        assert_eq!(names, ["directory", "file"]);
        assert_eq!(listed["file"], file(5));
        assert_eq!(listed["directory"].kind, EntryKind::Directory);
        assert_eq!(self.list("list/directory/inner").await.len(), 0);
        // More than a server gives in one answer.
        self.mkdirs("list/many").await;
        for number in 0..30 {
            self.mkdirs(&format!("list/many/{number:04}")).await;
        }
        assert_eq!(self.list("list/many").await.len(), 30);
    }

    async fn a_delete_takes_everything_below(&self) {
        self.mkdirs("delete/a/b").await;
        self.write("delete/a/b/file", &[b"x"]).await;
        assert!(self.fs.delete(&self.path("delete/a")).await.expect("delete a tree"));
        assert_eq!(self.status("delete/a").await, None);
        assert_eq!(self.status("delete/a/b/file").await, None);
        assert!(!self.fs.delete(&self.path("delete/a")).await.expect("delete it again"));
    }

    async fn a_fence_ends_writing_closing_and_renaming(&self) {
        self.mkdirs("finals").await;
        self.mkdirs("staging/7").await;
        self.write("staging/7/closed", &[b"closed"]).await;
        let mut open = self.fs.create(&self.path("staging/7/open")).await.expect("create");
        open.write(Bytes::from_static(b"before the fence")).await.expect("write");
        self.fs.fence(&self.path("staging/7")).await.expect("fence");
        self.fs.fence(&self.path("staging/7")).await.expect("fence again");
        assert_eq!(self.status("staging/7").await, None);
        // Whatever the writer is told, its file gets no name.
        let _ = open.write(Bytes::from_static(b"after")).await;
        let _ = open.close().await;
        for name in ["staging/7/open", "staging/7/closed"] {
            let late = self.rename(name, "finals/late").await;
            assert_eq!(late, Err(FsErrorKind::NotFound), "{name}");
        }
        assert_eq!(self.create("staging/7/new").await, Err(FsErrorKind::NotFound));
        assert_eq!(self.list("finals").await.len(), 0);
    }

    async fn names_of_every_kind_are_kept(&self) {
        self.mkdirs("names").await;
        let long = "x".repeat(self.fs.capabilities().name_bytes_max);
        let names = ["plain", "%41=+@,.-_", "ümläut", ".hidden", "two words", &long];
        for name in names {
            self.write(&format!("names/{name}"), &[name.as_bytes()]).await;
            assert_eq!(self.read(&format!("names/{name}"), 1000).await, name.as_bytes());
        }
        assert_eq!(self.list("names").await.len(), names.len());
    }
}

fn file(length: u64) -> Status {
    Status { kind: EntryKind::File, length }
}

fn kind(result: Result<(), FsError>) -> Result<(), FsErrorKind> {
    result.map_err(|error| error.kind())
}
