//! The real local disk.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sdk_config::{DurationText, FilesSink};
use sdk_event::Event;
use sdk_files::fs::{
    EntryKind, FileSystem, FileSystems, FsErrorKind, LocalDisk, LocalFileSystems, MemoryDisk,
    conformance,
};
use sdk_files::{Drain, DrainHandle};
use sdk_flow::{Clock, Ended, Tasks};
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, spec};

async fn write(disk: &LocalDisk, path: &str, bytes: &[u8]) {
    let mut writer = disk.create(path).await.unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    writer.sync_progress().await.unwrap();
    writer.write(bytes.to_vec().into()).await.unwrap();
    writer.close().await.unwrap();
}

fn path(directory: &tempfile::TempDir, name: &str) -> String {
    format!("{}/{name}", directory.path().to_str().unwrap())
}

#[tokio::test]
async fn files_are_written_read_renamed_and_listed() {
    let root = tempfile::tempdir().unwrap();
    let disk = LocalDisk::new();
    let (a, b) = (path(&root, "x/y/a"), path(&root, "x/b"));
    assert_eq!(disk.status(&a).await.unwrap(), None);
    assert_eq!(disk.create(&a).await.err().unwrap().kind(), FsErrorKind::NotFound);
    disk.mkdirs(&path(&root, "x/y")).await.unwrap();
    disk.mkdirs(&path(&root, "x/y")).await.unwrap();
    write(&disk, &a, b"abc").await;
    assert_eq!(disk.create(&a).await.err().unwrap().kind(), FsErrorKind::AlreadyExists);
    let mode = std::fs::metadata(&a).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let status = disk.status(&a).await.unwrap().unwrap();
    assert_eq!((status.kind, status.length), (EntryKind::File, 6));
    disk.rename(&a, &b).await.unwrap();
    assert_eq!(disk.rename(&a, &b).await.unwrap_err().kind(), FsErrorKind::NotFound);
    write(&disk, &a, b"d").await;
    assert_eq!(disk.rename(&a, &b).await.unwrap_err().kind(), FsErrorKind::AlreadyExists);
    disk.make_durable(&[a.clone(), b.clone()], root.path().to_str().unwrap()).await.unwrap();
    let mut names: Vec<_> =
        disk.list(&path(&root, "x")).await.unwrap().into_iter().map(|it| it.name).collect();
    names.sort();
    assert_eq!(names, ["b", "y"]);
    let mut reader = disk.open(&b).await.unwrap();
    assert_eq!(reader.read(4).await.unwrap(), &b"abca"[..]);
    assert_eq!(reader.read(4).await.unwrap(), &b"bc"[..]);
    assert_eq!(reader.read(4).await.unwrap(), &b""[..]);
    let below_file = path(&root, "x/b/c");
    assert_eq!(disk.mkdirs(&below_file).await.unwrap_err().kind(), FsErrorKind::NotADirectory);
    let error = disk.rename(&a, &below_file).await.unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::NotADirectory);
    let long = path(&root, &"x".repeat(256));
    assert_eq!(disk.create(&long).await.err().unwrap().kind(), FsErrorKind::InvalidPath);
    assert!(disk.delete(&path(&root, "x")).await.unwrap());
    assert!(!disk.delete(&path(&root, "x")).await.unwrap());
}

#[tokio::test]
async fn it_is_a_file_system_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    conformance::check(Arc::new(LocalDisk::new()), &path(&folder, "root")).await;
    conformance::check(Arc::new(MemoryDisk::new()), "/data/root").await;
}

#[tokio::test]
async fn another_volume_is_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: /dev/shm is not there");
        return;
    };
    let disk = LocalDisk::new();
    let (a, b) = (path(&root, "a"), path(&memory, "b"));
    write(&disk, &a, b"abc").await;
    assert_eq!(disk.rename(&a, &b).await.unwrap_err().kind(), FsErrorKind::OtherVolume);
}

/// A writer that was never told races the fence: once that has returned, nothing more gets out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_fence_nothing_leaves_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let disk = LocalDisk::new();
    let tasks = Tasks::new();
    for round in 0..60 {
        let staging = path(&root, &format!("staging/{round}"));
        let finals = path(&root, &format!("finals/{round}"));
        disk.mkdirs(&staging).await.unwrap();
        disk.mkdirs(&finals).await.unwrap();
        let fenced = Arc::new(AtomicBool::new(false));
        let began = Arc::new(AtomicU64::new(0));
        let zombies: Vec<_> = (0..3)
            .map(|zombie| {
                let (disk, staging, finals) = (disk.clone(), staging.clone(), finals.clone());
                let (fenced, began) = (Arc::clone(&fenced), Arc::clone(&began));
                let (sender, done) = tokio::sync::oneshot::channel();
                tasks.start("zombie", move |_| async move {
                    let mut late = Vec::new();
                    let mut failures = 0;
                    for number in 0.. {
                        let source = format!("{staging}/{zombie}-{number}");
                        let target = format!("{finals}/{zombie}-{number}");
                        began.fetch_add(1, Ordering::SeqCst);
                        let before = fenced.load(Ordering::SeqCst);
                        let renamed = async {
                            let writer = disk.create(&source).await?;
                            writer.close().await?;
                            disk.rename(&source, &target).await
                        };
                        match renamed.await {
                            Ok(()) if before => late.push(target),
                            Ok(()) => (),
                            Err(_) => failures += 1,
                        }
                        if failures > 3 {
                            break;
                        }
                    }
                    let _ = sender.send(late);
                });
                done
            })
            .collect();
        while began.load(Ordering::SeqCst) < 5 + round % 7 {
            tokio::task::yield_now().await;
        }
        disk.fence(&staging).await.unwrap();
        fenced.store(true, Ordering::SeqCst);
        let count = || std::fs::read_dir(&finals).unwrap().count();
        let at_fence = count();
        for zombie in zombies {
            assert_eq!(zombie.await.unwrap(), [""; 0]);
        }
        assert_eq!(count(), at_fence, "round {round}");
        assert_eq!(std::fs::read_dir(path(&root, "staging")).unwrap().count(), 0);
        disk.fence(&staging).await.unwrap();
    }
}

fn drain(rig: &Rig, spec: &FilesSink) -> (Drain, DrainHandle) {
    let systems: Arc<dyn FileSystems> = Arc::new(LocalFileSystems::default());
    let sink = rig.sink(1, spec, &*systems);
    Drain::new(rig.options(vec![sink], systems))
}

/// Lines of all finals below a directory, by file in the order of names.
fn lines(root: &Path) -> Vec<String> {
    let mut files = BTreeSet::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            match () {
                () if hidden => (),
                () if path.is_dir() => left.push(path),
                () => {
                    files.insert(path);
                }
            }
        }
    }
    let text = files.into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    text.collect::<String>().lines().map(str::to_owned).collect()
}

/// The drain's future is dropped at any moment, its calls go on in their threads; the next begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_on_a_real_disk_lose_nothing_and_repeat_nothing() {
    let root = tempfile::tempdir().unwrap();
    let web = root.path().join("web");
    let rig = Rig::new();
    let spec = FilesSink {
        roll_interval: DurationText::from_millis(20),
        ..spec(&format!("{}/%{{app}}", web.to_str().unwrap()))
    };
    let mut next = 0;
    for life in 0..40u64 {
        let (drain, _) = drain(&rig, &spec);
        let script = async {
            for _ in 0..10 {
                let now = rig.clock.wall_ms();
                let event = |n: u64| {
                    let app = format!("a{}", n % 3);
                    let body = format!("{n:08} {}", "x".repeat(100));
                    Event::new(body).with_timestamp_ms(now).with_header("app", app)
                };
                rig.log.put(now, &(next..next + 20).map(event).collect::<Vec<_>>());
                next += 20;
                tokio::time::sleep(Duration::from_micros(life * 150)).await;
            }
        };
        tokio::select! {
            ended = drain.run(CancellationToken::new()) => panic!("{ended:?}"),
            () = script => (),
        }
    }
    rig.ledger.seal(rig.log.seal());
    let (drain, _) = drain(&rig, &spec);
    assert_eq!(drain.run(CancellationToken::new()).await.unwrap(), Ended::Drained);
    let mut found: Vec<u64> = lines(&web).iter().map(|line| line[..8].parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (0..next).collect::<Vec<_>>());
    assert_eq!(rig.ledger.book().in_files, next);
}

/// `chattr`, where we may: root writes through permissions.
fn immutable(path: &Path, on: bool) -> bool {
    let flag = if on { "+i" } else { "-i" };
    let status = Command::new("chattr").arg(flag).arg(path).output();
    status.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn an_immutable_root_is_named_and_drains_when_it_is_not() {
    let root = tempfile::tempdir().unwrap();
    let web = root.path().join("web");
    let rig = Rig::new();
    let spec = FilesSink {
        roll_interval: DurationText::from_millis(50),
        ..spec(&format!("{}/%{{app}}", web.to_str().unwrap()))
    };
    let (drain, handle) = drain(&rig, &spec);
    let put = |app: &str| {
        let now = rig.clock.wall_ms();
        let event = Event::new(app.to_owned()).with_timestamp_ms(now).with_header("app", app);
        rig.log.put(now, &[event]);
    };
    let test = async {
        let mut watch = handle.watch();
        put("one");
        watch.wait_for(|status| status.floor == 1).await.unwrap();
        if !immutable(&web, true) {
            eprintln!("skipped: no right to chattr +i");
            return;
        }
        put("two");
        let seen = watch.wait_for(|status| status.degraded.is_some()).await;
        let reason = seen.map(|status| status.degraded.clone().unwrap());
        assert!(immutable(&web, false));
        let reason = reason.unwrap();
        assert!(reason.contains("permission denied"), "{reason}");
        watch.wait_for(|status| status.floor == 2).await.unwrap();
        assert_eq!(lines(&web), ["one", "two"]);
    };
    tokio::select! {
        ended = drain.run(CancellationToken::new()) => panic!("{ended:?}"),
        () = test => (),
    }
}
