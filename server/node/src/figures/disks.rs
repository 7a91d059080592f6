//! The disks of a node, and what is wrong with them.

use super::Figures;
use proto::v1;
use sdk_wal::Mark;

impl Figures {
    pub(crate) fn disks(&self) -> Vec<v1::Disk> {
        let usage = self.log.usage();
        let log = v1::Disk {
            path: self.data_dir.log().display().to_string(),
            purpose: "log".to_owned(),
            used_bytes: usage.used_bytes,
            quota_bytes: usage.quota_bytes,
            free_bytes: usage.free_bytes.unwrap_or(0),
            mark: match usage.mark {
                Mark::Fine => "ok",
                Mark::Warn => "warn",
                Mark::StopIngest => "ingest stopped",
                Mark::SinksOnly => "sinks only",
            }
            .to_owned(),
        };
        let full = self.cluster.raft().status().borrow().disk_full;
        let usage = self.cluster.raft().usage();
        let raft = v1::Disk {
            path: self.data_dir.raft().display().to_string(),
            purpose: "raft".to_owned(),
            used_bytes: usage.used_bytes,
            quota_bytes: usage.quota_bytes,
            free_bytes: log.free_bytes,
            mark: if full { "ingest stopped" } else { "ok" }.to_owned(),
        };
        vec![log, raft]
    }
}

/// What a disk that is not well is to be told about.
pub(super) fn sentence(disk: &v1::Disk) -> String {
    let share = (disk.used_bytes * 100).checked_div(disk.quota_bytes).unwrap_or(100);
    match disk.mark.as_str() {
        "warn" => format!(
            "the {} at {} has used {share} % of its quota: sinks do not keep up",
            disk.purpose, disk.path
        ),
        mark => format!(
            "the {} at {} is above its mark ({share} % of its quota used, {} MiB free on the disk): {mark}",
            disk.purpose,
            disk.path,
            disk.free_bytes >> 20
        ),
    }
}
