//! What was sent and what was answered: a line for each block.
//!
//! `collector-ledger 1` first, then `<outcome> <producer> <generation> <first sequence> <count>`,
//! where outcome is `acked`, `rejected` or `unknown`.

use anyhow::{Context, Result, bail};
use sdk_event::ProducerId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

const MAGIC: &str = "collector-ledger 1";

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acked,
    Rejected,
    Unknown,
}

/// Writes a ledger.
pub(crate) struct Ledger {
    file: BufWriter<File>,
}

impl Ledger {
    /// A new one. Refuses to write over an old one: it is evidence.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(path)
            .with_context(|| format!("create the ledger {}", path.display()))?;
        let mut file = BufWriter::new(file);
        writeln!(file, "{MAGIC}")?;
        Ok(Self { file })
    }

    pub(crate) fn record(
        &mut self,
        outcome: Outcome,
        producer: ProducerId,
        generation: u64,
        first: u64,
        count: u64,
    ) -> Result<()> {
        let word = match outcome {
            Outcome::Acked => "acked",
            Outcome::Rejected => "rejected",
            Outcome::Unknown => "unknown",
        };
        writeln!(self.file, "{word} {producer} {generation} {first} {count}")
            .context("write the ledger")
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.file.flush().context("write the ledger")
    }
}

/// The acknowledged sequences of each producer of a ledger, by what its bodies call it.
pub(crate) fn acknowledged(path: &Path) -> Result<BTreeMap<u32, Bitmap>> {
    let file = File::open(path).with_context(|| format!("open the ledger {}", path.display()))?;
    let mut lines = BufReader::new(file).lines();
    if lines.next().transpose()?.as_deref() != Some(MAGIC) {
        bail!("{} is no ledger of this release: its first line is not `{MAGIC}`", path.display());
    }
    let mut producers: BTreeMap<u32, Bitmap> = BTreeMap::new();
    for (number, line) in lines.enumerate() {
        let line = line?;
        let (outcome, producer, first, count) = parse(&line)
            .with_context(|| format!("{}:{}: `{line}` is no record", path.display(), number + 2))?;
        let acked = producers.entry(producer).or_default();
        if outcome == "acked" {
            (first..first + count).for_each(|sequence| {
                acked.insert(sequence);
            });
        }
    }
    Ok(producers)
}

fn parse(line: &str) -> Option<(&str, u32, u64, u64)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [outcome, producer, _generation, first, count] = words.as_slice() else { return None };
    let producer: ProducerId = producer.parse().ok()?;
    Some((outcome, crate::payload::short(producer), first.parse().ok()?, count.parse().ok()?))
}

/// Sequences, a bit each: a hundred million take 12 MiB.
#[derive(Debug, Default)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: u64,
}

impl Bitmap {
    /// Adds one; false if it was in already.
    pub(crate) fn insert(&mut self, value: u64) -> bool {
        let (word, bit) = place(value);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u64::from(fresh);
        fresh
    }

    pub(crate) fn contains(&self, value: u64) -> bool {
        let (word, bit) = place(value);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Every value, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u64 * 64 + bit)
        })
    }
}

fn place(value: u64) -> (usize, u64) {
    ((value / 64) as usize, 1 << (value % 64))
}
