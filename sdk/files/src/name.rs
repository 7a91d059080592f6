//! The names of final files and of what lies in staging.

use sdk_config::ledger::BucketKey;
use sdk_event::Lineage;

use crate::format::SyncMarker;

/// The most bytes that everything between prefix and suffix of a final name takes: dots, dashes,
/// eight digits of the cluster, and numbers of full width.
pub const FIXED_BYTES_MAX: usize = 1 + 8 + 1 + 20 + 1 + 10 + 1 + 10 + 1 + 20 + 1 + 20 + 1 + 20;

/// Where everything that is not final lives, below a root.
pub const STAGING: &str = ".staging";

/// The file that says which root this is.
pub const MARKER: &str = ".collector-root";

/// The names that one (cluster, flow, lineage) gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The cluster's uuid.
    pub cluster: [u8; 16],
    /// The lineage; its `flow` is the flow id.
    pub lineage: Lineage,
}

impl Names {
    /// The final name of the file of a bucket's events from `first` to `last`. The same range has
    /// the same name whoever builds it; names sort as offsets do.
    pub fn file(&self, bucket: &BucketKey, first: u64, last: u64) -> String {
        let BucketKey { prefix, suffix, sink, .. } = bucket;
        let Lineage { flow, shard, epoch } = self.lineage;
        let cluster = u128::from_be_bytes(self.cluster) >> 96;
        format!(
            "{prefix}.{cluster:08x}-{flow:020}-{sink:05}-{shard:05}-{epoch:020}.{first:020}-{last:020}{suffix}"
        )
    }

    /// What stands between the parts of the file that begins with `first`, if it is a container:
    /// whoever builds it, the same, and nothing that an event could have by chance.
    pub fn marker(&self, sink: u32, first: u64) -> SyncMarker {
        let Lineage { flow, shard, epoch } = self.lineage;
        let cluster = u128::from_be_bytes(self.cluster);
        let mut halves = [cluster >> 64, cluster & u128::from(u64::MAX)]
            .map(|half| u64::try_from(half).expect("a half fits"));
        for field in [flow, shard.into(), epoch, sink.into(), first] {
            let [one, other] = halves;
            halves = [mix(one ^ field, other), mix(other ^ field.rotate_left(32), one)];
        }
        let [one, other] = halves;
        (u128::from(one) << 64 | u128::from(other)).to_be_bytes()
    }

    /// The staging directory of all sinks of the flow below `root`.
    pub fn flow_staging(&self, root: &str) -> String {
        let id = u128::from_be_bytes(self.cluster);
        let uuid = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            (id >> 80) & 0xffff,
            (id >> 64) & 0xffff,
            (id >> 48) & 0xffff,
            id & 0xffff_ffff_ffff
        );
        format!("{root}/{STAGING}/{uuid}/{}", self.lineage.flow)
    }

    /// The staging directory of all the flow's lineages of one sink below `root`.
    pub fn sink_staging(&self, root: &str, sink: u32) -> String {
        format!("{}/{sink}", self.flow_staging(root))
    }

    /// The staging directory of the lineage's files of one sink below `root`.
    pub fn lineage_staging(&self, root: &str, sink: u32) -> String {
        let Lineage { shard, epoch, .. } = self.lineage;
        format!("{}/{shard}-{epoch}", self.sink_staging(root, sink))
    }

    /// The epoch of an earlier lineage of the same shard, by the name of its directory in
    /// [`Names::sink_staging`].
    pub fn earlier_epoch(&self, directory: &str) -> Option<u64> {
        let (shard, epoch) = directory.split_once('-')?;
        let (shard, epoch): (u32, u64) = (shard.parse().ok()?, epoch.parse().ok()?);
        (shard == self.lineage.shard && epoch < self.lineage.epoch).then_some(epoch)
    }

    /// The staging directory of one token.
    pub fn token_staging(&self, root: &str, sink: u32, token: u64) -> String {
        let token = if sdk_failpoints::mutant!(ReuseToken) { 1 } else { token };
        format!("{}/{token}", self.lineage_staging(root, sink))
    }
}

/// What a final name says, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalName {
    /// What it begins with.
    pub prefix: String,
    /// The first eight digits of the cluster's uuid.
    pub cluster: u32,
    /// Whose offsets these are.
    pub lineage: Lineage,
    /// The sink's number.
    pub sink: u32,
    /// The first offset in the file.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// What it ends with.
    pub suffix: String,
}

impl FinalName {
    /// Reads a name; `None` if it is not one of ours.
    pub fn parse(name: &str) -> Option<FinalName> {
        // The prefix may have dots and dashes, so the search is for the fixed part itself.
        name.match_indices('.').find_map(|(dot, _)| {
            let (prefix, rest) = (&name[..dot], &name[dot + 1..]);
            let (ids, rest) = rest.split_once('.')?;
            let mut ids = ids.split('-');
            let cluster = ids.next().filter(|hex| hex.len() == 8)?;
            let (flow, sink) = (digits(ids.next()?, 20)?, digits(ids.next()?, 5)?);
            let (shard, epoch) = (digits(ids.next()?, 5)?, digits(ids.next()?, 20)?);
            if ids.next().is_some() {
                return None;
            }
            let (first, rest) = rest.split_once('-')?;
            let last = rest.get(..20)?;
            Some(FinalName {
                prefix: prefix.to_owned(),
                cluster: u32::from_str_radix(cluster, 16).ok()?,
                lineage: Lineage { flow, shard: u32::try_from(shard).ok()?, epoch },
                sink: u32::try_from(sink).ok()?,
                first: digits(first, 20)?,
                last: digits(last, 20)?,
                suffix: rest[20..].to_owned(),
            })
        })
    }
}

/// SplitMix64's finish, so that each bit of the result depends on each bit of both.
fn mix(value: u64, salt: u64) -> u64 {
    let mut mixed = value.wrapping_add(salt).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn digits(text: &str, width: usize) -> Option<u64> {
    let ok = text.len() >= width && text.bytes().all(|byte| byte.is_ascii_digit());
    if ok { text.parse().ok() } else { None }
}
