//! The sinks of a group: claiming their roots, fencing what earlier tokens left, finding out whether
//! they work.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sdk_config::ledger::{Grant, Refusal, Root, RootClaim, RootId};
use sdk_flow::Admission;
use tracing::warn;

use super::failure::{Failure, is_fenced};
use super::shared::{DrainOptions, Shared};
use crate::fs::{FileSystem, FsError, FsErrorKind};
use crate::ledger::LedgerError;
use crate::marker;
use crate::name::Names;
use crate::staged::{Deadlines, within};

/// A root is asked for its marker no longer than this before a token is acquired: one that hangs
/// must not delay the others. It can be shown later.
const CLAIM_DEADLINE: Duration = Duration::from_secs(5);

/// How long a file system that asks for a pause is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// The trial files that probes leave for a moment in a root begin with this.
const TRIAL: &str = ".trial";

/// Reads the markers of all members' roots, makes those that were never recorded, and says what was
/// seen, and of what could not be seen why.
pub(crate) async fn claims(options: &DrainOptions) -> Vec<(RootClaim, Option<String>)> {
    let mut roots: Vec<(usize, &str)> = Vec::new();
    for (member, sink) in options.members.iter().enumerate() {
        let root = sink.layout().root();
        if !roots.iter().any(|(_, known)| *known == root) {
            roots.push((member, root));
        }
    }
    let claims = roots.into_iter().map(async |(member, root)| {
        let claim = tokio::time::timeout(CLAIM_DEADLINE, claim(options, member)).await;
        let (id, trouble) = match claim {
            Ok(Ok(id)) => (id, None),
            Ok(Err(error)) => {
                if options.members[member].begins_trouble(options.clock.monotonic()) {
                    warn!(root, error = &error as &dyn std::error::Error, "cannot show a root");
                }
                (None, Some(describe(&error)))
            }
            Err(_) => {
                let error = FsError::new(FsErrorKind::Timeout, "look at", root);
                (None, Some(describe(&error)))
            }
        };
        (RootClaim { path: root.to_owned(), id }, trouble)
    });
    join_all(claims).await
}

/// Why a root cannot be shown.
#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error(transparent)]
    File(#[from] FsError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The id in the marker of a member's root; made and recorded if no id is recorded.
async fn claim(options: &DrainOptions, member: usize) -> Result<Option<RootId>, ClaimError> {
    let sink = &options.members[member];
    let root = sink.layout().root();
    let deadlines = options.limits.deadlines;
    let recorded = options.ledger.recorded_root(root).await?;
    let found = marker::read(&**sink.fs(), root, deadlines).await?;
    match (found, recorded) {
        (found, Some(_)) => Ok(found),
        (Some(id), None) => {
            // Somebody else's, or ours from before a crash: adopted once it is durable.
            marker::make_durable(&**sink.fs(), root, deadlines).await?;
            record(options, root, id).await
        }
        (None, None) => {
            // One lineage makes it, and the others find it.
            let turn = sink.claiming().lock().await;
            let id = match marker::read(&**sink.fs(), root, deadlines).await? {
                Some(id) => {
                    marker::make_durable(&**sink.fs(), root, deadlines).await?;
                    id
                }
                None => marker::create(&**sink.fs(), root, &*options.entropy, deadlines).await?,
            };
            drop(turn);
            record(options, root, id).await
        }
    }
}

async fn record(
    options: &DrainOptions,
    root: &str,
    id: RootId,
) -> Result<Option<RootId>, ClaimError> {
    options.ledger.record_root(Root { path: root.to_owned(), id }).await?;
    Ok(Some(id))
}

/// Whether a member may be used, after a try to get it to work.
#[derive(Debug)]
pub(crate) enum Raised {
    /// It works.
    Up,
    /// Not before so long.
    Out(Duration, String),
    /// It failed.
    Down(String),
    /// Its file system asks for a pause.
    Paused(Duration, String),
    /// This token is at its end.
    Fenced,
    /// The ledger does not answer.
    Ledger(LedgerError),
}

/// What a member has been through under this token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// The root it was granted.
    pub(crate) granted: Option<Root>,
    /// Staging directories of earlier tokens at its root.
    pub(crate) earlier: Vec<(u64, Root)>,
    /// Its own staging directory was made.
    pub(crate) opened: bool,
}

impl Progress {
    pub(crate) fn new(grant: &Grant, root: &str) -> Progress {
        Progress {
            granted: grant.roots.iter().find(|granted| granted.path == root).cloned(),
            earlier: grant.earlier.iter().filter(|(_, it)| it.path == root).cloned().collect(),
            opened: false,
        }
    }
}

/// Gets a member to work: whatever of claiming, fencing and opening is left to do, and a trial.
pub(crate) async fn raise(
    shared: Arc<Shared>,
    member: usize,
    mut progress: Progress,
) -> (Raised, Progress) {
    let name = Arc::clone(shared.sink(member).name());
    let penalties = &shared.options.penalties;
    if let Admission::Out { retry_in } = penalties.admit(&name).await {
        return (Raised::Out(retry_in, "it is penalised after a failure".to_owned()), progress);
    }
    let raised = match try_raise(&shared, member, &mut progress).await {
        Ok(()) => {
            penalties.succeeded(&name).await;
            Raised::Up
        }
        Err(Trouble::Ledger(error)) => Raised::Ledger(error),
        Err(Trouble::Refused(reason)) => {
            penalties.failed(&name, &reason).await;
            Raised::Down(reason)
        }
        Err(Trouble::Failed(Failure::Fenced)) => Raised::Fenced,
        Err(Trouble::Failed(
            Failure::Sink(error) | Failure::Path(error) | Failure::File(error),
        )) => {
            let reason = describe(&error);
            if error.kind() == FsErrorKind::Paused {
                Raised::Paused(PAUSE, reason)
            } else {
                penalties.failed(&name, &reason).await;
                Raised::Down(reason)
            }
        }
    };
    (raised, progress)
}

/// An error with what caused it, in one sentence.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}

enum Trouble {
    Failed(Failure),
    Refused(String),
    Ledger(LedgerError),
}

impl From<FsError> for Trouble {
    fn from(error: FsError) -> Trouble {
        Trouble::Failed(Failure::Sink(error))
    }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Trouble {
        Trouble::Ledger(error)
    }
}

impl From<ClaimError> for Trouble {
    fn from(error: ClaimError) -> Trouble {
        match error {
            ClaimError::File(error) => error.into(),
            ClaimError::Ledger(error) => error.into(),
        }
    }
}

async fn try_raise(
    shared: &Arc<Shared>,
    member: usize,
    progress: &mut Progress,
) -> Result<(), Trouble> {
    let sink = shared.sink(member);
    let root = sink.layout().root();
    let fs = &**sink.fs();
    let deadlines = shared.deadlines();
    let options = &shared.options;
    if progress.granted.is_none() {
        let id = claim(options, member).await?;
        let claims = vec![RootClaim { path: root.to_owned(), id }];
        let answers = options.ledger.show_roots(shared.token, claims).await?;
        match (answers.into_iter().next(), id) {
            (Some(Ok(())), Some(id)) => {
                progress.granted = Some(Root { path: root.to_owned(), id });
            }
            (Some(Err(refusal)), _) => return Err(Trouble::Refused(refused(root, &refusal))),
            _ => return Err(Trouble::Refused(format!("the root {root} was not accepted"))),
        }
    }
    if !progress.earlier.is_empty() {
        for (token, root) in &progress.earlier {
            sweep(fs, &options.names, *token, &root.path, deadlines).await?;
        }
        options.ledger.fenced(shared.token, std::mem::take(&mut progress.earlier)).await?;
    }
    if !progress.opened {
        let staging = shared.staging(member);
        sdk_failpoints::before!(Mkdir);
        within(deadlines.call, "make directory", &staging, fs.mkdirs(&staging)).await?;
        sdk_failpoints::after!(Mkdir);
        progress.opened = true;
        clear_litter(shared, member).await;
    }
    let seen = marker::read(fs, root, deadlines).await?;
    let granted = progress.granted.as_ref().map(|root| root.id);
    if seen != granted {
        return Err(Trouble::Refused(match seen {
            None => format!(
                "the marker of the root {root} has vanished: if nothing else is missing there, \
                 `collector-cli sinks adopt-root` records a new one"
            ),
            Some(seen) => format!("the root {root} has another marker now ({seen})"),
        }));
    }
    probe(shared, member).await.map_err(Trouble::Failed)
}

fn refused(root: &str, refusal: &Refusal) -> String {
    format!("the root {root} cannot be used: {refusal}")
}

/// Deletes what an earlier token has at a root, of all sinks of the flow: with success, nothing of it
/// can become final.
async fn sweep(
    fs: &dyn FileSystem,
    names: &Names,
    token: u64,
    root: &str,
    deadlines: Deadlines,
) -> Result<(), FsError> {
    let flow = names.flow_staging(root);
    let sinks = match within(deadlines.call, "list", &flow, fs.list(&flow)).await {
        Ok(sinks) => sinks,
        Err(error) if error.kind() == FsErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for sink in sinks {
        let Ok(number) = sink.name.parse() else { continue };
        let staging = names.token_staging(root, number, token);
        sdk_failpoints::before!(Fence);
        if !sdk_failpoints::mutant!(SkipFence) {
            within(deadlines.close, "fence", &staging, fs.fence(&staging)).await?;
        }
        sdk_failpoints::after!(Fence);
    }
    let trials = format!("{TRIAL}-{token}-");
    let entries = within(deadlines.call, "list", root, fs.list(root)).await?;
    for entry in entries.into_iter().filter(|entry| entry.name.starts_with(&trials)) {
        let path = format!("{root}/{}", entry.name);
        within(deadlines.call, "delete", &path, fs.delete(&path)).await?;
    }
    Ok(())
}

/// Deletes what drained lineages of the shard have left in staging: whoever drained one may have
/// died before it got to that. Nothing depends on it, so what fails is left to the next token.
async fn clear_litter(shared: &Shared, member: usize) {
    let Some(living) = shared.options.ledger.epochs().await else { return };
    let (sink, names) = (shared.sink(member), &shared.options.names);
    let (fs, deadlines) = (sink.fs(), shared.deadlines());
    let staging = names.sink_staging(sink.layout().root(), sink.number());
    let listed = within(deadlines.call, "list", &staging, fs.list(&staging)).await;
    for entry in listed.unwrap_or_default() {
        let epoch = names.earlier_epoch(&entry.name);
        if epoch.is_none_or(|epoch| living.contains(&epoch)) {
            continue;
        }
        let litter = format!("{staging}/{}", entry.name);
        if within(deadlines.close, "delete", &litter, fs.delete(&litter)).await.is_err() {
            break;
        }
    }
}

/// Fences the staging directories of earlier tokens at a root that no member has any more.
pub(crate) async fn sweep_foreign(
    shared: Arc<Shared>,
    pairs: Vec<(u64, Root)>,
) -> Result<(), Vec<(u64, Root)>> {
    let options = &shared.options;
    let mut cleaned = Vec::new();
    let mut left = Vec::new();
    for (token, root) in pairs {
        let swept = match options.file_systems.of(&root.path) {
            Ok(fs) => sweep(&*fs, &options.names, token, &root.path, shared.deadlines()).await,
            Err(error) => Err(error),
        };
        match swept {
            Ok(()) => cleaned.push((token, root)),
            Err(error) => {
                warn!(
                    root = root.path,
                    error = &error as &dyn std::error::Error,
                    "cannot clean a former root, will retry"
                );
                left.push((token, root));
            }
        }
    }
    if !cleaned.is_empty() && options.ledger.fenced(shared.token, cleaned.clone()).await.is_err() {
        left.extend(cleaned);
    }
    if left.is_empty() { Ok(()) } else { Err(left) }
}

/// Finds out whether a root works: a file made in our staging gets a name in the root and is taken
/// away again. That shows as well that both are on one volume.
pub(crate) async fn probe(shared: &Arc<Shared>, member: usize) -> Result<(), Failure> {
    match try_probe(shared, member).await {
        Ok(()) => Ok(()),
        Err(error) => match is_fenced(shared, member).await {
            Ok(true) => Err(Failure::Fenced),
            Ok(false) | Err(_) => Err(Failure::Sink(error)),
        },
    }
}

async fn try_probe(shared: &Arc<Shared>, member: usize) -> Result<(), FsError> {
    let sink = shared.sink(member);
    let fs = sink.fs();
    let limit = shared.deadlines().call;
    let number = shared.options.entropy.next_u64();
    let source = format!("{}/trial-{number:016x}", shared.staging(member));
    let target = format!("{}/{TRIAL}-{}-{number:016x}", sink.layout().root(), shared.token);
    let mut writer = within(limit, "create", &source, fs.create(&source)).await?;
    within(limit, "write", &source, writer.write("trial\n".into())).await?;
    within(shared.deadlines().close, "close", &source, writer.close()).await?;
    let renamed = within(limit, "rename a file to", &target, fs.rename(&source, &target)).await;
    let deleted = within(limit, "delete", &target, fs.delete(&target)).await;
    if renamed.is_err() {
        let _ = within(limit, "delete", &source, fs.delete(&source)).await;
    }
    renamed?;
    deleted.map(|_| ())
}
