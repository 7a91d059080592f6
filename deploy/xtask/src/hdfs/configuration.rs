//! The files of the configuration directory, which the servers, Hadoop's shells and our client share.

use super::cluster::{Cluster, NAMESERVICE};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::Path;

const LOG4J: &str = "log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
";

/// Quieter, for the shells.
const LOG4J_SHELL: &str = "log4j.rootLogger=ERROR,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%p %c{1}: %m%n
";

/// What makes a cluster of this size notice within seconds what a large one notices in minutes.
const QUICK: [(&str, &str); 24] = [
    ("dfs.datanode.hostname", "127.0.0.1"),
    ("dfs.namenode.datanode.registration.ip-hostname-check", "false"),
    ("dfs.namenode.fs-limits.min-block-size", "65536"),
    ("dfs.namenode.safemode.extension", "0"),
    ("dfs.namenode.safemode.min.datanodes", "1"),
    ("dfs.heartbeat.interval", "1"),
    ("dfs.namenode.heartbeat.recheck-interval", "1000"),
    ("dfs.namenode.stale.datanode.interval", "5000"),
    ("dfs.namenode.avoid.write.stale.datanode", "true"),
    ("dfs.namenode.redundancy.interval.seconds", "1s"),
    ("dfs.namenode.lease-recheck-interval-ms", "500"),
    ("dfs.namenode.handler.count", "8"),
    ("dfs.namenode.service.handler.count", "4"),
    ("dfs.datanode.handler.count", "4"),
    ("dfs.datanode.max.transfer.threads", "1024"),
    ("dfs.datanode.directoryscan.interval", "-1"),
    ("dfs.block.scanner.volume.bytes.per.second", "0"),
    ("dfs.datanode.du.reserved", "0"),
    ("dfs.namenode.resource.du.reserved", "0"),
    ("dfs.ha.automatic-failover.enabled", "false"),
    ("dfs.ha.tail-edits.period", "1s"),
    ("dfs.ha.log-roll.period", "5s"),
    ("dfs.ha.fencing.methods", "shell(/bin/true)"),
    ("dfs.client.block.write.replace-datanode-on-failure.best-effort", "true"),
];

/// Writes the files of `cluster`.
pub(super) fn write(cluster: &Cluster) -> Result<()> {
    let folder = cluster.conf();
    // The web applications are not in the jars; their servers only want the folders to be there.
    for name in ["hdfs", "datanode", "static"] {
        let web = folder.join("webapps").join(name).join("WEB-INF");
        std::fs::create_dir_all(&web).context("make the configuration directory")?;
        put(&web.join("web.xml"), "<web-app/>\n")?;
    }
    put(&folder.join("log4j.properties"), LOG4J)?;
    let shell = cluster.shell_conf();
    std::fs::create_dir_all(&shell).context("make the shells' configuration directory")?;
    put(&shell.join("log4j.properties"), LOG4J_SHELL)?;
    put(&folder.join("core-site.xml"), &core_site(cluster))?;
    put(&folder.join("hdfs-site.xml"), &hdfs_site(cluster))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn core_site(cluster: &Cluster) -> String {
    let mut file = Properties::default();
    file.add("fs.defaultFS", cluster.url());
    file.add("hadoop.tmp.dir", cluster.dir().join("tmp").display());
    file.add("ipc.client.connect.max.retries", 3);
    file.add("ipc.client.connect.retry.interval", 200);
    if let Some(kerberos) = cluster.kerberos() {
        file.add("hadoop.security.authentication", "kerberos");
        file.add("hadoop.security.authorization", "true");
        file.add("hadoop.rpc.protection", &kerberos.protection);
    }
    file.finish()
}

fn hdfs_site(cluster: &Cluster) -> String {
    let mut file = Properties::default();
    file.add("dfs.replication", cluster.replication());
    for (name, value) in QUICK {
        file.add(name, value);
    }
    let name_nodes = cluster.name_nodes();
    if cluster.is_ha() {
        let ids: Vec<String> = (1..=name_nodes.len()).map(|number| format!("nn{number}")).collect();
        file.add("dfs.nameservices", NAMESERVICE);
        file.add(&format!("dfs.ha.namenodes.{NAMESERVICE}"), ids.join(","));
        for (id, ports) in ids.iter().zip(name_nodes) {
            let rpc = format!("dfs.namenode.rpc-address.{NAMESERVICE}.{id}");
            file.add(&rpc, format!("127.0.0.1:{}", ports.rpc));
            let http = format!("dfs.namenode.http-address.{NAMESERVICE}.{id}");
            file.add(&http, format!("127.0.0.1:{}", ports.http));
        }
        let shared = format!("file://{}", cluster.dir().join("shared").display());
        file.add("dfs.namenode.shared.edits.dir", shared);
        file.add(
            &format!("dfs.client.failover.proxy.provider.{NAMESERVICE}"),
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
        );
    } else if let Some(ports) = name_nodes.first() {
        file.add("dfs.namenode.rpc-address", format!("127.0.0.1:{}", ports.rpc));
        file.add("dfs.namenode.http-address", format!("127.0.0.1:{}", ports.http));
        file.add("dfs.namenode.name.dir", cluster.name_dir(1));
    }
    if let Some(kerberos) = cluster.kerberos() {
        file.add("dfs.block.access.token.enable", "true");
        file.add("dfs.data.transfer.protection", &kerberos.protection);
        file.add("dfs.http.policy", "HTTP_ONLY");
        file.add("ignore.secure.ports.for.testing", "true");
        let keytab = cluster.dir().join("krb/hdfs.keytab").display().to_string();
        for server in ["namenode", "datanode"] {
            let principal = format!("hdfs/localhost@{}", super::kerberos::REALM);
            file.add(&format!("dfs.{server}.kerberos.principal"), principal);
            file.add(&format!("dfs.{server}.keytab.file"), &keytab);
        }
        let principal = format!("HTTP/localhost@{}", super::kerberos::REALM);
        file.add("dfs.web.authentication.kerberos.principal", principal);
        file.add("dfs.web.authentication.kerberos.keytab", &keytab);
    }
    for (name, value) in cluster.settings() {
        file.add(name, value);
    }
    file.finish()
}

/// A file of Hadoop's. A later value of a name replaces an earlier one.
#[derive(Default)]
struct Properties {
    values: Vec<(String, String)>,
}

impl Properties {
    fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        self.values.retain(|(known, _)| known != name);
        self.values.push((name.to_owned(), value.to_string()));
    }

    fn finish(self) -> String {
        let mut text = "<?xml version=\"1.0\"?>\n<configuration>\n".to_owned();
        for (name, value) in self.values {
            let value = value.replace('&', "&amp;").replace('<', "&lt;");
            writeln!(text, "  <property><name>{name}</name><value>{value}</value></property>")
                .expect("a String grows");
        }
        text.push_str("</configuration>\n");
        text
    }
}
