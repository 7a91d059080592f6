//! The list of final files, and what reading them back finds.

use std::sync::Arc;

use sdk_config::{FilesSink, GzipCodec, JsonSerializer, OutputCodec, Serializer};
use sdk_event::Event;
use sdk_files::archive::{Archive, ArchiveLimits, ArchivedFile};
use sdk_files::audit::{DeepAudit, Problem, Wrong};
use sdk_files::fs::{FileSystems, MemoryDisk};
use sdk_files::{Deadlines, Drain};
use sdk_flow::Ended;
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, SAMPLE_MS, finals, run, spec};

async fn drained(spec: &FilesSink, archive: &Arc<Archive>) -> MemoryDisk {
    let rig = Rig::new();
    let disk = MemoryDisk::new();
    for n in 0..6 {
        rig.log.put(SAMPLE_MS + n, &[Event::new(format!("body {n}")), Event::new("x")]);
    }
    rig.ledger.seal(rig.log.seal());
    let systems: Arc<dyn FileSystems> = Arc::new(Arc::new(disk.clone()));
    let sink = rig.sink(1, spec, &*systems);
    let mut options = rig.options(vec![sink], systems);
    options.archive = Some(Arc::clone(archive));
    let (drain, _) = Drain::new(options);
    assert_eq!(drain.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
    disk
}

fn listed(archive: &Archive) -> Vec<ArchivedFile> {
    let mut files = Vec::new();
    archive.read(0, |file| files.push(file)).unwrap();
    files
}

async fn audit(files: &[ArchivedFile], disk: &MemoryDisk) -> DeepAudit {
    let mut audit = DeepAudit::new();
    for file in files {
        audit.check(file, &Arc::new(disk.clone()), Deadlines::default()).await;
    }
    audit
}

#[test]
fn every_final_is_listed_and_reads_back() {
    let codecs = [OutputCodec::None, OutputCodec::Gzip(GzipCodec::default())];
    for codec in codecs {
        run(async move {
            let directory = tempfile::tempdir().unwrap();
            let archive = Archive::open(directory.path(), ArchiveLimits::default()).unwrap();
            let archive = Arc::new(archive);
            let serializer = Serializer::Json(JsonSerializer { ids: true });
            let spec = FilesSink { roll_count: 4, serializer, codec, ..spec("/data/web") };
            let disk = drained(&spec, &archive).await;
            let files = listed(&archive);
            let paths: Vec<&String> = files.iter().map(|file| &file.path).collect();
            assert_eq!(paths, finals(&disk).keys().collect::<Vec<_>>());
            let audit = audit(&files, &disk).await;
            assert!(audit.is_good(), "{:?}", audit.problems);
            assert_eq!((audit.files, audit.events, audit.counted), (3, 12, 12));
            assert_eq!(audit.duplicated(), Some(0));
        });
    }
}

#[test]
fn what_is_missing_cut_altered_or_twice_is_named() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path(), ArchiveLimits::default()).unwrap();
        let archive = Arc::new(archive);
        let serializer = Serializer::Json(JsonSerializer { ids: true });
        let spec = FilesSink { roll_count: 3, serializer, ..spec("/data/web") };
        let disk = drained(&spec, &archive).await;
        let files = listed(&archive);
        assert_eq!(files.len(), 4);
        disk.uproot(&files[0].path);
        let mut bytes = finals(&disk)[&files[1].path].clone();
        disk.uproot(&files[1].path);
        disk.plant(&files[1].path, &bytes[..5]);
        bytes = finals(&disk)[&files[2].path].clone();
        bytes[9] ^= 1;
        disk.uproot(&files[2].path);
        disk.plant(&files[2].path, &bytes);
        let twice = vec![files[3].clone(), files[3].clone()];
        let found = audit(&files, &disk).await;
        let problem = |at: usize, what| Problem { path: files[at].path.clone(), what };
        assert_eq!(found.problems[0], problem(0, Wrong::Missing));
        let cut = Wrong::Length { found: 5, wanted: files[1].length };
        assert_eq!(found.problems[1], problem(1, cut));
        assert!(matches!(found.problems[2].what, Wrong::Altered { .. }));
        assert_eq!((found.wrong, found.is_good()), (3, false));
        assert_eq!(audit(&twice, &disk).await.duplicated(), Some(3));
        // Another group of the flow has got the same events: that is no duplicate.
        let copy = ArchivedFile { group: "copy".to_owned(), ..files[3].clone() };
        let both = audit(&[files[3].clone(), copy], &disk).await;
        assert_eq!((both.duplicated(), both.is_good()), (Some(0), true));
    });
}
