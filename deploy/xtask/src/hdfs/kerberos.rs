//! A KDC of our own, for a cluster with Kerberos: Debian's krb5-kdc, its files in the cluster's folder.

use super::daemon::Daemon;
use crate::command::exists;
use crate::loopback::listens;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const REALM: &str = "COLLECTOR.TEST";

/// The user that tests and first tries run as.
pub(super) const USER: &str = "collector";

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Kdc {
    folder: PathBuf,
    port: u16,
    daemon: Daemon,
}

impl Kdc {
    pub(super) fn new(dir: &Path, port: u16) -> Kdc {
        let folder = dir.join("krb");
        let mark = folder.join("kdc.pid").display().to_string();
        let daemon = Daemon::marked(dir, "kdc", mark);
        Kdc { folder, port, daemon }
    }

    /// Its process.
    pub(super) fn into_daemon(self) -> Daemon {
        self.daemon
    }

    pub(super) fn krb5_conf(&self) -> PathBuf {
        self.folder.join("krb5.conf")
    }

    /// The cache that `kinit` fills for the user.
    pub(super) fn cache(&self) -> PathBuf {
        self.folder.join("ccache")
    }

    pub(super) fn keytab(&self) -> PathBuf {
        self.folder.join(format!("{USER}.keytab"))
    }

    /// The servers' own keys, which make the shells a superuser.
    fn superuser_cache(&self) -> PathBuf {
        self.folder.join("superuser.ccache")
    }

    /// What every process of the cluster has to know.
    pub(super) fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [("KRB5_CONFIG", self.krb5_conf()), ("KRB5_KDC_PROFILE", self.folder.join("kdc.conf"))]
    }

    pub(super) fn start(&self) -> Result<()> {
        if self.daemon.pid().is_some() {
            return Ok(());
        }
        for program in ["krb5kdc", "kadmin.local", "kdb5_util", "kinit"] {
            if !exists(program) {
                bail!(
                    "{program} is not installed: apt-get install krb5-kdc krb5-admin-server krb5-user"
                );
            }
        }
        std::fs::create_dir_all(&self.folder).context("make the KDC's folder")?;
        self.write()?;
        if !self.folder.join("db").exists() {
            self.tool("kdb5_util", &["-r", REALM, "-P", "test", "create", "-s"])?;
            for (principal, keytab) in [
                ("hdfs/localhost", "hdfs.keytab"),
                ("HTTP/localhost", "hdfs.keytab"),
                (USER, "collector.keytab"),
            ] {
                let keytab = self.folder.join(keytab).display().to_string();
                let add = format!("addprinc -randkey {principal}");
                self.tool("kadmin.local", &["-r", REALM, "-q", &add])?;
                let export = format!("ktadd -k {keytab} {principal}");
                self.tool("kadmin.local", &["-r", REALM, "-q", &export])?;
            }
        }
        let mut command = self.command("krb5kdc");
        command.args(["-n", "-r", REALM, "-P"]).arg(self.folder.join("kdc.pid"));
        self.daemon.start(&mut command, &[])?;
        let begun = Instant::now();
        while !listens(self.port) {
            if self.daemon.pid().is_none() || begun.elapsed() > ANSWERS_WITHIN {
                bail!("the KDC does not answer:\n{}", self.daemon.complaint());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// A ticket for the user, in the cache that `env` names.
    pub(super) fn kinit(&self, lifetime: &str) -> Result<()> {
        let (cache, keytab) = (self.cache(), self.keytab());
        self.ticket(&cache, &keytab, USER, lifetime)
    }

    /// A ticket for the shells; the cache they use.
    pub(super) fn superuser(&self) -> Result<PathBuf> {
        let cache = self.superuser_cache();
        self.ticket(&cache, &self.folder.join("hdfs.keytab"), "hdfs/localhost", "1h")?;
        Ok(cache)
    }

    fn ticket(&self, cache: &Path, keytab: &Path, principal: &str, lifetime: &str) -> Result<()> {
        let (cache, keytab) = (format!("FILE:{}", cache.display()), keytab.display().to_string());
        self.tool("kinit", &["-l", lifetime, "-c", &cache, "-k", "-t", &keytab, principal])
    }

    fn write(&self) -> Result<()> {
        let (folder, port) = (self.folder.display(), self.port);
        let client = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n \
             default_ccache_name = FILE:{folder}/ccache\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
             [domain_realm]\n localhost = {REALM}\n"
        );
        let server = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n \
             {REALM} = {{\n  database_name = {folder}/db\n  key_stash_file = {folder}/stash\n  \
             max_life = 24h\n  supported_enctypes = aes256-cts:normal aes128-cts:normal\n }}\n[logging]\n \
             kdc = FILE:{folder}/kdc.log\n"
        );
        std::fs::write(self.krb5_conf(), client).context("write krb5.conf")?;
        std::fs::write(self.folder.join("kdc.conf"), server).context("write kdc.conf")
    }

    fn command(&self, program: &str) -> Command {
        let sbin = Path::new("/usr/sbin").join(program);
        let mut command = if sbin.is_file() { Command::new(sbin) } else { Command::new(program) };
        command.envs(self.environment());
        command
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {program}"))?;
        if !output.status.success() {
            bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
