//! Hadoop's own configuration: `core-site.xml` and `hdfs-site.xml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the two files of a configuration directory say, with our defaults for what they leave open.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    directory: Option<PathBuf>,
    values: BTreeMap<String, String>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file is there and cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no XML.
    #[error("{path} is not well-formed")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: roxmltree::Error,
    },
}

/// Where `HADOOP_HOME` has them.
const BELOW_HOME: &str = "etc/hadoop";

/// Smaller ones are not worth a block.
const BLOCK_BYTES_DEFAULT: u64 = 128 << 20;

/// What a file may have beyond its roll size: the last block of events and a trailer.
const BLOCK_MARGIN_BYTES: u64 = 8 << 20;

/// A block is not made larger than this only because files are.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// Blocks are a multiple of this; HDFS asks for one of 512.
const BLOCK_UNIT_BYTES: u64 = 1 << 20;

/// Hadoop's default.
const UMASK_DEFAULT: u32 = 0o022;

/// What the client is told where the files say nothing.
const CLIENT_DEFAULTS: [(&str, &str); 5] = [
    // Without it the loss of one of three DataNodes fails every file under way.
    ("dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"),
    // A read goes on to the next replica within its deadline.
    ("dfs.client.socket-timeout", "10000"),
    // The client's own 15 tries take three minutes; these take five seconds, and the sink tries
    // again.
    ("dfs.client.failover.max.attempts", "6"),
    ("dfs.client.failover.sleep.base.millis", "200"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
];

impl Configuration {
    /// That of `directory`, or where Hadoop's programs look: `HADOOP_CONF_DIR`, then
    /// `HADOOP_HOME/etc/hadoop`. Without any, and without the files, there are only defaults.
    pub fn load(directory: Option<&Path>) -> Result<Configuration, ConfigurationError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let directory = directory
            .map(Path::to_owned)
            .or_else(|| variable("HADOOP_CONF_DIR"))
            .or_else(|| variable("HADOOP_HOME").map(|home| home.join(BELOW_HOME)));
        let mut values = BTreeMap::new();
        for file in ["core-site.xml", "hdfs-site.xml"] {
            let Some(path) = directory.as_ref().map(|directory| directory.join(file)) else {
                break;
            };
            match std::fs::read_to_string(&path) {
                Ok(text) => read(&text, &mut values)
                    .map_err(|source| ConfigurationError::Parse { path, source })?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
                Err(source) => return Err(ConfigurationError::Read { path, source }),
            }
        }
        Ok(Configuration { directory, values })
    }

    /// The directory the files were looked for in.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// One value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether clients have to show who they are.
    pub fn is_secure(&self) -> bool {
        self.get("hadoop.security.authentication").is_some_and(|value| value == "kerberos")
    }

    /// Why the encryption between client and DataNodes would take a hundred seconds of CPU for each
    /// gigabyte; `None` if it would not.
    pub fn slow_encryption(&self) -> Option<&'static str> {
        let private = self
            .get("dfs.data.transfer.protection")
            .is_some_and(|value| value.split(',').next().map(str::trim) == Some("privacy"));
        let aes = self.get("dfs.encrypt.data.transfer.cipher.suites").is_some();
        (private && !aes).then_some(
            "dfs.data.transfer.protection = privacy without \
             dfs.encrypt.data.transfer.cipher.suites = AES/CTR/NoPadding, on both sides: \
             about 2 MB/s",
        )
    }

    /// Whether the NameNodes of a nameservice are named.
    pub fn knows_nameservice(&self, name: &str) -> bool {
        self.values.contains_key(&format!("dfs.ha.namenodes.{name}"))
    }

    /// What the client is to be told beside the files.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        CLIENT_DEFAULTS.into_iter().filter(|(name, _)| !self.values.contains_key(*name))
    }

    /// The size of blocks for files that are rolled at `roll_bytes`: one block for each file, if
    /// that is a sensible size, so that no job finds a file with a second block of a few bytes.
    pub(crate) fn block_bytes(&self, roll_bytes: u64) -> u64 {
        let least = self.get("dfs.blocksize").and_then(bytes).unwrap_or(BLOCK_BYTES_DEFAULT);
        let whole = (roll_bytes + BLOCK_MARGIN_BYTES).next_multiple_of(BLOCK_UNIT_BYTES);
        if roll_bytes == 0 || whole > BLOCK_BYTES_MAX { least } else { least.max(whole) }
    }

    /// How many copies of a block; `None` = as the NameNode says.
    pub(crate) fn replication(&self) -> Option<u32> {
        self.get("dfs.replication")?.trim().parse().ok()
    }

    /// The permissions of new files: readable for everybody unless the umask says otherwise.
    pub(crate) fn file_mode(&self) -> u32 {
        0o666 & !self.umask()
    }

    /// Those of new directories.
    pub(crate) fn directory_mode(&self) -> u32 {
        0o777 & !self.umask()
    }

    fn umask(&self) -> u32 {
        self.get("fs.permissions.umask-mode")
            .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
            .map_or(UMASK_DEFAULT, |mask| mask & 0o777)
    }
}

fn read(text: &str, values: &mut BTreeMap<String, String>) -> Result<(), roxmltree::Error> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options)?;
    for property in document.root_element().children().filter(|it| it.has_tag_name("property")) {
        let text = |name| {
            let child = property.children().find(|child| child.has_tag_name(name))?;
            Some(child.text()?.trim().to_owned())
        };
        if let (Some(name), Some(value)) = (text("name"), text("value")) {
            values.insert(name, value);
        }
    }
    Ok(())
}

/// A size as Hadoop writes it: `134217728`, `128m`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, shift) = match text.strip_suffix(['k', 'm', 'g', 't']) {
        Some(digits) => {
            let unit = text.as_bytes().last()?;
            (digits, 10 * (1 + b"kmgt".iter().position(|it| it == unit)?))
        }
        None => (text.as_str(), 0),
    };
    let number: u64 = digits.trim().parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(properties: &[(&str, &str)]) -> Configuration {
        let directory = tempfile::tempdir().unwrap();
        let properties = properties.iter().map(|(name, value)| {
            format!("<property><name>{name}</name>\n<value> {value} </value></property>")
        });
        let properties: String = properties.collect();
        let text = format!("<?xml version=\"1.0\"?><configuration>{properties}</configuration>");
        #[expect(clippy::disallowed_methods, reason = "a file of somebody else's")]
        std::fs::write(directory.path().join("hdfs-site.xml"), text).unwrap();
        Configuration::load(Some(directory.path())).unwrap()
    }

    #[test]
    fn a_file_is_one_block() {
        let plain = configuration(&[]);
        assert_eq!(plain.block_bytes(0), 128 << 20);
        assert_eq!(plain.block_bytes(1000), 128 << 20);
        assert_eq!(plain.block_bytes(128 << 20), 136 << 20);
        assert_eq!(plain.block_bytes(10 << 30), 128 << 20);
        let large = configuration(&[("dfs.blocksize", "256m")]);
        assert_eq!(large.block_bytes(128 << 20), 256 << 20);
        assert_eq!(large.block_bytes(300 << 20), 308 << 20);
    }

    #[test]
    fn what_the_files_say_is_not_overridden() {
        let name = "dfs.client.failover.max.attempts";
        assert!(configuration(&[]).overrides().any(|(it, _)| it == name));
        assert!(!configuration(&[(name, "3")]).overrides().any(|(it, _)| it == name));
    }

    #[test]
    fn permissions_follow_the_umask() {
        let plain = configuration(&[]);
        assert_eq!((plain.file_mode(), plain.directory_mode()), (0o644, 0o755));
        let closed = configuration(&[("fs.permissions.umask-mode", "027")]);
        assert_eq!((closed.file_mode(), closed.directory_mode()), (0o640, 0o750));
    }

    #[test]
    fn a_missing_directory_is_no_error_and_a_broken_file_is() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Configuration::load(Some(&directory.path().join("none"))).unwrap();
        assert_eq!(missing.get("dfs.replication"), None);
        #[expect(clippy::disallowed_methods, reason = "a file of somebody else's")]
        std::fs::write(directory.path().join("core-site.xml"), "<configuration>").unwrap();
        let error = Configuration::load(Some(directory.path())).unwrap_err();
        assert!(matches!(error, ConfigurationError::Parse { .. }), "{error}");
    }

    #[test]
    fn slow_encryption_is_named() {
        let private = ("dfs.data.transfer.protection", "privacy");
        assert!(configuration(&[private]).slow_encryption().is_some());
        let aes = ("dfs.encrypt.data.transfer.cipher.suites", "AES/CTR/NoPadding");
        assert!(configuration(&[private, aes]).slow_encryption().is_none());
        assert!(configuration(&[]).slow_encryption().is_none());
    }

    #[test]
    fn sizes_are_read_as_hadoop_writes_them() {
        assert_eq!(bytes("134217728"), Some(128 << 20));
        assert_eq!(bytes("64k"), Some(64 << 10));
        assert_eq!(bytes(" 1G "), Some(1 << 30));
        assert_eq!(bytes("x"), None);
        assert_eq!(bytes("99999999999999999999"), None);
    }
}
