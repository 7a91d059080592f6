//! What is in the files, held against the ledger by `collector-loadtest verify`.

use super::system::System;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What became of the acknowledged events.
pub(super) struct Counted {
    /// In no file at all.
    pub(super) lost: u64,
    /// Only in files that were never finished: no job reads them.
    pub(super) only_unfinished: u64,
    pub(super) unfinished_files: u64,
    /// In finished files more than once.
    pub(super) duplicated: u64,
    /// The same, were the unfinished files read too.
    pub(super) duplicated_in_all: u64,
    /// Lines of which a part is missing or changed, in finished and in unfinished files.
    pub(super) damaged: u64,
    pub(super) damaged_in_all: u64,
}

/// What `verify` says.
#[derive(Deserialize)]
struct Verdict {
    lost: u64,
    duplicated: u64,
    corrupt: u64,
}

pub(super) fn count(system: &dyn System, programs: &Path, ledger: &Path) -> Result<Counted> {
    let mut files = Vec::new();
    list(&system.files(), &mut files)?;
    let (unfinished, finished): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| system.is_unfinished(file));
    let unfinished: Vec<PathBuf> = unfinished.into_iter().filter(|file| !is_hidden(file)).collect();
    let finished: Vec<PathBuf> = finished.into_iter().filter(|file| !is_hidden(file)).collect();
    let verdict = |name: &str, files: &[&[PathBuf]]| {
        let view = view(&system.folder().join(name), files)?;
        verify(programs, ledger, &view)
    };
    let good = verdict("finished", &[&finished])?;
    let all = verdict("all", &[&finished, &unfinished])?;
    Ok(Counted {
        lost: all.lost,
        only_unfinished: good.lost - all.lost,
        unfinished_files: unfinished.len() as u64,
        duplicated: good.duplicated,
        duplicated_in_all: all.duplicated,
        damaged: good.corrupt,
        damaged_in_all: all.corrupt,
    })
}

/// Bytes in all files below.
pub(super) fn bytes(folder: &Path) -> Result<u64> {
    let mut files = Vec::new();
    // A server may be at work in it.
    if list(folder, &mut files).is_err() {
        return Ok(0);
    }
    Ok(files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
}

/// Marks and sums beside the files: whoever reads the files passes them over.
fn is_hidden(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// A folder with just these, each under a name that is no longer hidden.
fn view(folder: &Path, files: &[&[PathBuf]]) -> Result<PathBuf> {
    std::fs::create_dir(folder).context("make a folder to count in")?;
    for (number, file) in files.iter().flat_map(|files| files.iter()).enumerate() {
        std::fs::hard_link(file, folder.join(format!("file-{number:06}")))
            .with_context(|| format!("link {}", file.display()))?;
    }
    Ok(folder.to_owned())
}

fn verify(programs: &Path, ledger: &Path, files: &Path) -> Result<Verdict> {
    let output = Command::new(programs.join("collector-loadtest"))
        .args(["--output", "json", "verify", "--ledger"])
        .arg(ledger)
        .arg("--files")
        .arg(files)
        .output()
        .context("run collector-loadtest verify")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| {
        format!("verify said `{line}` and {}", String::from_utf8_lossy(&output.stderr).trim())
    })
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
