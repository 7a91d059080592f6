//! The view on sled: right whatever its directory holds, since it is never believed.

#![allow(
    clippy::disallowed_methods,
    reason = "plays what may happen to a directory while the node is down"
)]

use std::path::Path;
use std::sync::Arc;

use sdk_channel::conformance::TestProducer;
use sdk_channel::{Remembered, Shard, SledView, rebuild};
use sdk_wal::{FaultyStorage, MemoryView, View};

use crate::harness::{
    LINEAGE, durable, lineage, open_log_at, open_log_with, options, producer, sealed,
};

fn same_answers(view: &dyn View) {
    let model = MemoryView::new();
    for number in 0..500u32 {
        let key = (number * 7919 % 500).to_be_bytes();
        for view in [view, &model as &dyn View] {
            view.put("one", &key, &number.to_le_bytes()).expect("put");
            if number % 3 == 0 {
                view.remove("one", &(number / 2).to_be_bytes()).expect("remove");
            }
        }
    }
    view.put("two", b"key", b"value").expect("put");
    for at in [0u32, 1, 17, 250, 499, 700] {
        let (key, end) = (at.to_be_bytes(), (at + 40).to_be_bytes());
        assert_eq!(view.get("one", &key).expect("get"), model.get("one", &key).expect("get"));
        let below = view.last_at_or_below("one", &key).expect("last");
        assert_eq!(below, model.last_at_or_below("one", &key).expect("last"));
        for max in [0, 1, 7, 100] {
            let range = view.range("one", &key, &end, max).expect("range");
            assert_eq!(range, model.range("one", &key, &end, max).expect("range"));
        }
        assert!(view.range("one", &end, &key, 5).expect("the wrong way round").is_empty());
    }
    view.clear("one").expect("clear");
    assert!(view.range("one", b"", &[0xFF; 9], 9).expect("range").is_empty());
    assert_eq!(view.get("two", b"key").expect("get").as_deref(), Some(b"value".as_slice()));
}

#[test]
fn sled_answers_as_memory_does() {
    let dir = tempfile::tempdir().expect("directory");
    same_answers(&SledView::open(dir.path()).expect("view"));
}

#[test]
fn a_view_is_empty_whatever_was_there() {
    let dir = tempfile::tempdir().expect("directory");
    let open = || SledView::open(dir.path().join("view")).expect("view");
    let is_empty = |view: &SledView| {
        assert_eq!(view.get("tree", b"key").expect("get"), None);
        view.put("tree", b"key", b"value").expect("put");
    };
    is_empty(&open());
    // An earlier one, an own one of another node, noise in each file, nothing.
    is_empty(&open());
    spoil(&dir.path().join("view"), &|bytes| bytes.reverse());
    is_empty(&open());
    spoil(&dir.path().join("view"), &|bytes| bytes.truncate(bytes.len() / 2));
    is_empty(&open());
    std::fs::remove_dir_all(dir.path().join("view")).expect("remove");
    is_empty(&open());
    std::fs::remove_dir_all(dir.path().join("view")).expect("remove");
    std::fs::write(dir.path().join("view"), b"a file where a directory should be").expect("write");
    is_empty(&open());
}

#[test]
fn a_view_refuses_what_sled_would_never_give_back() {
    let dir = tempfile::tempdir().expect("directory");
    let view = SledView::open(dir.path()).expect("view");
    assert!(view.put("tree", b"key", &[0; 5000]).is_err());
    view.put("tree", b"key", &[0; 4096]).expect("put");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_the_same_whatever_the_view_holds() {
    let other = tempfile::tempdir().expect("directory");
    SledView::open(other.path()).expect("view").put("producers", b"x", b"y").expect("put");
    type Spoil<'a> = &'a dyn Fn(&Path);
    let spoils: [Spoil<'_>; 5] = [
        &|_| (),
        &|view| std::fs::remove_dir_all(view).expect("remove"),
        &|view| spoil(view, &|bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0x5A)),
        &|view| spoil(view, &|bytes| bytes.clear()),
        &|view| {
            std::fs::remove_dir_all(view.join("sled")).expect("remove");
            std::fs::rename(other.path().join("sled"), view.join("sled")).expect("rename");
        },
    ];
    for spoil in spoils {
        let dir = tempfile::tempdir().expect("directory");
        let (log_dir, view_dir) = (dir.path().join("log"), dir.path().join("view"));
        let before = {
            let view: Arc<dyn View> = Arc::new(SledView::open(&view_dir).expect("view"));
            let log = open_log_at(&log_dir, Arc::clone(&view));
            let mut remembered = Remembered::nothing(LINEAGE, Some(view));
            remembered.table.set_limits(1000, 4);
            let options = options(&log, vec![durable(0, "main", 1 << 20)]);
            let shard = Arc::new(Shard::open(options, remembered).await.expect("shard"));
            for number in 1..=40 {
                let mut producer = producer(&shard, number).await;
                shard.put(producer.block("a b c")).await.expect("put");
            }
            let before = shard.inspect(|remembered| remembered.table.entries());
            drop(shard);
            log.stop();
            before
        };
        spoil(&view_dir);
        let view: Arc<dyn View> = Arc::new(SledView::open(&view_dir).expect("view"));
        let log = open_log_at(&log_dir, Arc::clone(&view));
        let rebuilt = rebuild(&log, &sealed(&log), lineage(2), Some(view)).expect("rebuild");
        assert!(rebuilt.exact);
        assert_eq!(rebuilt.remembered.table.entries(), before);
    }
}

/// A view that loses what it is given, while the process runs.
struct Forgetful(MemoryView);

impl View for Forgetful {
    fn put(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<(), sdk_wal::ViewError> {
        // Half of the producers, and another value for the others.
        match key.last() {
            Some(last) if tree == "producers" && last % 2 == 0 => Ok(()),
            Some(_) if tree == "producers" => self.0.put(tree, key, b"noise"),
            _ => self.0.put(tree, key, value),
        }
    }
    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>, sdk_wal::ViewError> {
        self.0.get(tree, key)
    }
    fn remove(&self, tree: &str, key: &[u8]) -> Result<(), sdk_wal::ViewError> {
        self.0.remove(tree, key)
    }
    fn range(
        &self,
        tree: &str,
        from: &[u8],
        to: &[u8],
        max: usize,
    ) -> Result<Vec<sdk_wal::KeyValue>, sdk_wal::ViewError> {
        self.0.range(tree, from, to, max)
    }
    fn last_at_or_below(
        &self,
        tree: &str,
        key: &[u8],
    ) -> Result<Option<sdk_wal::KeyValue>, sdk_wal::ViewError> {
        self.0.last_at_or_below(tree, key)
    }
    fn clear(&self, tree: &str) -> Result<(), sdk_wal::ViewError> {
        self.0.clear(tree)
    }
}

#[tokio::test]
async fn a_view_that_forgets_is_noticed_and_nothing_is_taken_for_new() {
    let view: Arc<dyn View> = Arc::new(Forgetful(MemoryView::new()));
    let log = open_log_with(&FaultyStorage::new(1), Arc::clone(&view));
    let mut remembered = Remembered::nothing(LINEAGE, Some(view));
    remembered.table.set_limits(1000, 2);
    let options = options(&log, vec![durable(0, "main", 1 << 20)]);
    let shard = Arc::new(Shard::open(options, remembered).await.expect("shard"));
    let mut first = None;
    for number in 1..=6 {
        let mut producer = producer(&shard, number).await;
        let put = producer.block("a");
        shard.put(put.clone()).await.expect("put");
        first.get_or_insert(put);
    }
    // A retry of a producer that the view has lost: neither stored again nor expired.
    let error = shard.put(first.expect("one")).await.expect_err("the view lost it");
    assert!(matches!(error, sdk_flow::PutError::Exhausted { .. }), "{error:?}");
    assert!(shard.damage().is_some());
    let stranger = TestProducer::continued(99, 0);
    assert!(shard.open_session(stranger.session()).await.is_err(), "nothing more is taken");
    // The log knows: the next lineage has it all.
    let end = shard.seal();
    shard.end_at(end);
    assert!(shard.take_remembered(end).is_none(), "a damaged table is not handed on");
    let rebuilt = rebuild(&log, &[(LINEAGE, end)], lineage(2), None).expect("rebuild");
    assert_eq!(rebuilt.remembered.table.len(), 6);
}

/// Spoils every file below a directory.
fn spoil(dir: &Path, change: &dyn Fn(&mut Vec<u8>)) {
    for entry in std::fs::read_dir(dir).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            spoil(&path, change);
        } else {
            let mut bytes = std::fs::read(&path).expect("read");
            change(&mut bytes);
            std::fs::write(&path, bytes).expect("write");
        }
    }
}
