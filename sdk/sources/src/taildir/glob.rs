//! Which files a group means.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::disk;

/// A path or a glob over paths, and the way to walk only where it can lead.
pub(super) struct FileGlob {
    /// Decides in the end; the steps only prune.
    whole: GlobMatcher,
    /// The longest prefix without wildcards.
    base: PathBuf,
    steps: Vec<Step>,
}

enum Step {
    /// One name.
    Name(String),
    /// Names that match.
    Matching(GlobMatcher),
    /// Any number of directories.
    Deep,
}

/// Where a walk puts what it meets.
pub(super) struct Walk<'a> {
    /// Paths that match. What is there is yet to be looked at.
    pub(super) found: &'a mut dyn FnMut(PathBuf),
    /// Directories that were listed: those whose changes matter.
    pub(super) directories: &'a mut BTreeSet<PathBuf>,
    /// Directories that could not be listed, other than for not being there.
    pub(super) unreadable: &'a mut dyn FnMut(&Path, io::Error),
}

/// Directories below `**` are walked so deep and no deeper.
const DEPTH_MAX: usize = 32;

impl FileGlob {
    pub(super) fn new(pattern: &str) -> Result<FileGlob, globset::Error> {
        let whole = glob(pattern)?;
        let mut names = split(pattern);
        let literal = names.iter().take_while(|name| !has_wildcards(name)).count();
        // The last name is looked for in its directory even if it is literal,
        // so that the directory is watched.
        let rest = names.split_off(literal.min(names.len().saturating_sub(1)));
        let mut base = PathBuf::from("/");
        base.extend(&names);
        let mut steps = Vec::new();
        for name in rest {
            let step = match name {
                "**" => Step::Deep,
                name if !has_wildcards(name) => Step::Name(name.to_owned()),
                name => Step::Matching(glob(name)?),
            };
            steps.push(step);
        }
        Ok(FileGlob { whole, base, steps })
    }

    /// Meets every path that matches, and maybe one twice.
    pub(super) fn walk(&self, walk: &mut Walk<'_>) {
        self.descend(&self.base, &self.steps, 0, walk);
    }

    fn descend(&self, directory: &Path, steps: &[Step], depth: usize, walk: &mut Walk<'_>) {
        let Some((step, rest)) = steps.split_first() else { return };
        if let (Step::Name(name), false) = (step, rest.is_empty()) {
            return self.descend(&directory.join(name), rest, depth, walk);
        }
        if matches!(step, Step::Deep) && !rest.is_empty() {
            self.descend(directory, rest, depth, walk);
        }
        let entries = match disk::list(directory) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return,
            Err(error) => return (walk.unreadable)(directory, error),
        };
        walk.directories.insert(directory.to_owned());
        for entry in entries {
            let path = directory.join(&entry.name);
            match step {
                Step::Deep if entry.is_directory && depth < DEPTH_MAX => {
                    self.descend(&path, steps, depth + 1, walk);
                }
                Step::Deep if rest.is_empty() => self.meet(path, walk),
                Step::Deep => (),
                step if !step.matches(&entry.name) => (),
                _ if rest.is_empty() => self.meet(path, walk),
                _ if entry.is_directory || entry.is_link => {
                    self.descend(&path, rest, depth, walk);
                }
                _ => (),
            }
        }
    }

    fn meet(&self, path: PathBuf, walk: &mut Walk<'_>) {
        if self.whole.is_match(&path) {
            (walk.found)(path);
        }
    }
}

impl Step {
    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Step::Name(known) => name == OsStr::new(known),
            Step::Matching(glob) => glob.is_match(name),
            Step::Deep => true,
        }
    }
}

/// Files to leave alone.
pub(super) struct Excludes {
    /// Matched against a file's name.
    names: Vec<GlobMatcher>,
    /// Matched against its whole path.
    paths: Vec<GlobMatcher>,
}

impl Excludes {
    pub(super) fn new(patterns: &[String]) -> Result<Excludes, globset::Error> {
        let (paths, names): (Vec<&String>, Vec<&String>) =
            patterns.iter().partition(|pattern| pattern.contains('/'));
        let globs = |patterns: Vec<&String>| {
            patterns.into_iter().map(|text| glob(text)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Excludes { names: globs(names)?, paths: globs(paths)? })
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.names.iter().any(|glob| glob.is_match(name))
            || self.paths.iter().any(|glob| glob.is_match(path))
    }
}

/// Whether nothing is there: what comes and goes is no fault.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn glob(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let glob: Glob = GlobBuilder::new(pattern).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
}

fn has_wildcards(name: &str) -> bool {
    name.contains(['*', '?', '[', '{', '\\'])
}

/// The names of a pattern. One that spans directories (`{a/b,c}`) cannot be
/// walked name by name: from there on everything is walked.
fn split(pattern: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in pattern.split('/').filter(|name| !name.is_empty()) {
        let balanced = |open, close| name.matches(open).count() == name.matches(close).count();
        if !balanced('{', '}') || !balanced('[', ']') {
            names.push("**");
            break;
        }
        names.push(name);
    }
    names
}
