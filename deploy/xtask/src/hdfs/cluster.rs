//! One cluster: which processes it has, on which ports, and how it is brought up and down.

use super::configuration;
use super::daemon::Daemon;
use super::jars;
use super::java::java;
use super::kerberos::{Kdc, REALM, USER};
use crate::command::{exists, say};
use crate::loopback::{free_ports, get, listens};
use crate::suite::target;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The name of an `--ha` cluster.
pub(super) const NAMESERVICE: &str = "collector";

/// How long a cluster may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(120);

const POLL: Duration = Duration::from_millis(100);

const NAME_NODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATA_NODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";
const HA_ADMIN: &str = "org.apache.hadoop.hdfs.tools.DFSHAAdmin";

/// What a new cluster is to be like.
#[derive(clap::Args)]
pub(crate) struct Wishes {
    /// The port of the (first) NameNode; 0 = any
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// How many DataNodes
    #[arg(long, value_name = "N", default_value_t = 3)]
    datanodes: usize,
    /// How many copies of a block unless a client says otherwise
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) replication: u32,
    /// With a KDC of its own, every service and client authenticated
    #[arg(long)]
    kerberos: bool,
    /// What Kerberos protects: authentication, integrity or privacy
    #[arg(long, default_value = "authentication", requires = "kerberos")]
    protection: String,
    /// Two NameNodes with a shared directory of edits, as hdfs://collector
    #[arg(long)]
    ha: bool,
    /// A further value for hdfs-site.xml
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Ends everything and deletes the directory when that process has ended
    #[arg(long, value_name = "PID")]
    until_exit_of: Option<i32>,
}

impl Wishes {
    /// Nothing special, on any port.
    pub(super) fn plain() -> Wishes {
        Wishes {
            port: 0,
            datanodes: 3,
            replication: 3,
            kerberos: false,
            protection: String::new(),
            ha: false,
            settings: Vec::new(),
            until_exit_of: Some(i32::try_from(std::process::id()).unwrap_or(i32::MAX)),
        }
    }
}

/// What is remembered in the cluster's directory.
#[derive(Serialize, Deserialize)]
struct Plan {
    name_nodes: Vec<NameNodePorts>,
    data_nodes: Vec<[u16; 3]>,
    replication: u32,
    ha: bool,
    kerberos: Option<Kerberos>,
    settings: Vec<(String, String)>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct NameNodePorts {
    pub(super) rpc: u16,
    pub(super) http: u16,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Kerberos {
    port: u16,
    pub(super) protection: String,
}

pub(crate) struct Cluster {
    dir: PathBuf,
    plan: Plan,
    jars: PathBuf,
}

impl Cluster {
    /// The cluster that a directory has.
    pub(super) fn open(dir: &Path) -> Result<Cluster> {
        let path = dir.join("cluster.json");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("no cluster in {}: cargo xtask hdfs up", dir.display()))?;
        let plan = serde_json::from_str(&text).context("read what the cluster is like")?;
        Ok(Cluster { dir: dir.to_owned(), plan, jars: jars::fetch()? })
    }

    /// Starts whatever does not run.
    pub(super) fn up(dir: &Path, wishes: &Wishes) -> Result<()> {
        if !exists("java") && std::env::var_os("JAVA_HOME").is_none() {
            bail!("java is not installed: apt-get install default-jre-headless");
        }
        for folder in ["log", "pid"] {
            std::fs::create_dir_all(dir.join(folder)).context("make the cluster's directory")?;
        }
        if !dir.join("cluster.json").exists() {
            let text = serde_json::to_string_pretty(&Plan::new(wishes)?)?;
            std::fs::write(dir.join("cluster.json"), text).context("note the cluster's ports")?;
        }
        let cluster = Cluster::open(dir)?;
        let named = if dir == target().join("hdfs") {
            String::new()
        } else {
            format!(" --dir {}", dir.display())
        };
        let same = cluster.plan.ha == wishes.ha
            && cluster.plan.kerberos.is_some() == wishes.kerberos
            && cluster.plan.data_nodes.len() == wishes.datanodes;
        if !same {
            bail!(
                "{} has another kind of cluster: cargo xtask hdfs{named} wipe, or choose another --dir",
                dir.display()
            );
        }
        configuration::write(&cluster)?;
        if let Some(pid) = wishes.until_exit_of {
            cluster.start_watch(pid)?;
        }
        if let Some(kdc) = cluster.kdc() {
            kdc.start()?;
        }
        for number in 1..=cluster.plan.name_nodes.len() {
            cluster.launch_name_node(number)?;
        }
        for number in 1..=cluster.plan.data_nodes.len() {
            cluster.launch_data_node(number)?;
        }
        let begun = Instant::now();
        for number in 1..=cluster.plan.name_nodes.len() {
            cluster.wait_answers(number, begun)?;
        }
        if cluster.plan.ha && cluster.active().is_none() {
            cluster.activate(1)?;
        }
        cluster.wait_live(begun)?;
        cluster.wait_writable(begun)?;
        if let Some(kdc) = cluster.kdc() {
            kdc.kinit("1h")?;
            cluster.give_user_a_home()?;
        }
        say(&format!("{} is up: eval \"$(cargo xtask hdfs{named} env)\"", cluster.url()));
        Ok(())
    }

    pub(super) fn down(&self) -> Result<()> {
        for daemon in self.daemons() {
            daemon.end(Signal::TERM)?;
        }
        Ok(())
    }

    pub(super) fn wipe(dir: &Path) -> Result<()> {
        if !dir.join("cluster.json").exists() {
            return Ok(());
        }
        for daemon in Cluster::open(dir)?.daemons() {
            daemon.end(Signal::KILL)?;
        }
        std::fs::remove_dir_all(dir).with_context(|| format!("delete {}", dir.display()))
    }

    /// Says how all of it is; false if something is down.
    pub(super) fn status(&self) -> Result<bool> {
        let mut good = true;
        for daemon in self.daemons() {
            match daemon.pid() {
                Some(pid) => {
                    super::print(&format!("{} runs as {}", daemon.name(), pid.as_raw_nonzero()))
                }
                None => {
                    super::print(&format!("{} is down", daemon.name()));
                    good = false;
                }
            }
        }
        for number in 1..=self.plan.name_nodes.len() {
            let state = self.state(number);
            let field = |name: &str| state["beans"][0][name].to_string();
            super::print(&format!(
                "NameNode {number}: {}, {} live DataNodes, {} dead, {} files",
                field("FSState"),
                field("NumLiveDataNodes"),
                field("NumDeadDataNodes"),
                field("FilesTotal"),
            ));
        }
        Ok(good)
    }

    /// `export` lines for a client.
    pub(super) fn env(&self) -> String {
        let mut lines = vec![format!("export HADOOP_CONF_DIR='{}'", self.conf().display())];
        if let Some(kdc) = self.kdc() {
            lines.push(format!("export KRB5_CONFIG='{}'", kdc.krb5_conf().display()));
            lines.push(format!("export KRB5CCNAME='FILE:{}'", kdc.cache().display()));
            lines.push(format!("export COLLECTOR_HDFS_PRINCIPAL='{USER}@{REALM}'"));
            lines.push(format!("export COLLECTOR_HDFS_KEYTAB='{}'", kdc.keytab().display()));
        }
        lines.join("\n")
    }

    pub(super) fn url(&self) -> String {
        match self.plan.name_nodes.first() {
            Some(ports) if !self.plan.ha => format!("hdfs://127.0.0.1:{}", ports.rpc),
            _ => format!("hdfs://{NAMESERVICE}"),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn conf(&self) -> PathBuf {
        self.dir.join("conf")
    }

    /// In front of [`Cluster::conf`] for the shells.
    pub(super) fn shell_conf(&self) -> PathBuf {
        self.dir.join("shell")
    }

    pub(super) fn name_dir(&self, number: usize) -> String {
        format!("file://{}", self.dir.join(format!("nn{number}")).display())
    }

    pub(super) fn name_nodes(&self) -> &[NameNodePorts] {
        &self.plan.name_nodes
    }

    pub(super) fn data_nodes(&self) -> usize {
        self.plan.data_nodes.len()
    }

    pub(super) fn is_ha(&self) -> bool {
        self.plan.ha
    }

    pub(super) fn kerberos(&self) -> Option<&Kerberos> {
        self.plan.kerberos.as_ref()
    }

    pub(super) fn replication(&self) -> u32 {
        self.plan.replication
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.plan.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn kdc(&self) -> Option<Kdc> {
        self.plan.kerberos.as_ref().map(|kerberos| Kdc::new(&self.dir, kerberos.port))
    }

    pub(super) fn name_node(&self, number: usize) -> Result<Daemon> {
        if number == 0 || number > self.plan.name_nodes.len() {
            bail!("there is no NameNode {number}");
        }
        Ok(Daemon::new(&self.dir, format!("nn{number}")))
    }

    pub(super) fn data_node(&self, number: usize) -> Result<Daemon> {
        if number == 0 || number > self.plan.data_nodes.len() {
            bail!("there is no DataNode {number}");
        }
        Ok(Daemon::new(&self.dir, format!("dn{number}")))
    }

    /// Every process; those that need others first.
    fn daemons(&self) -> Vec<Daemon> {
        let data = (1..=self.plan.data_nodes.len()).filter_map(|it| self.data_node(it).ok());
        let names = (1..=self.plan.name_nodes.len()).filter_map(|it| self.name_node(it).ok());
        let kdc = self.kdc().map(Kdc::into_daemon);
        data.chain(names).chain(kdc).collect()
    }

    pub(super) fn launch_name_node(&self, number: usize) -> Result<()> {
        let daemon = self.name_node(number)?;
        if daemon.pid().is_some() {
            return Ok(());
        }
        self.format(number)?;
        let ports = self.plan.name_nodes[number - 1];
        let mut command = self.java("192m", Some(daemon.mark()), &[&self.conf()]);
        command.arg(NAME_NODE).args(self.own_name_node(number));
        daemon.start(&mut command, &[ports.rpc, ports.http])
    }

    /// What differs between the NameNodes of one configuration directory.
    fn own_name_node(&self, number: usize) -> Vec<String> {
        if !self.plan.ha {
            return Vec::new();
        }
        let own = [
            format!("dfs.ha.namenode.id=nn{number}"),
            format!("dfs.namenode.name.dir={}", self.name_dir(number)),
        ];
        own.into_iter().flat_map(|value| ["-D".to_owned(), value]).collect()
    }

    fn format(&self, number: usize) -> Result<()> {
        let folder = self.dir.join(format!("nn{number}"));
        if folder.join("current/VERSION").exists() {
            return Ok(());
        }
        if number > 1 {
            // A standby begins as a copy of the first.
            let first = self.dir.join("nn1");
            let copied = Command::new("cp").arg("-r").arg(first).arg(folder).status()?;
            if !copied.success() {
                bail!("cannot copy the first NameNode's directory");
            }
            return Ok(());
        }
        let output = self
            .java("192m", None, &[&self.conf()])
            .arg(NAME_NODE)
            .args(self.own_name_node(number))
            .args(["-format", "-force", "-nonInteractive"])
            .stdin(Stdio::null())
            .output()
            .context("format the NameNode")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let lines: Vec<&str> = said.lines().collect();
            let end = lines[lines.len().saturating_sub(8)..].join("\n");
            bail!("the NameNode cannot be formatted:\n{end}");
        }
        Ok(())
    }

    pub(super) fn launch_data_node(&self, number: usize) -> Result<()> {
        let daemon = self.data_node(number)?;
        if daemon.pid().is_some() {
            return Ok(());
        }
        let folder = self.dir.join(format!("dn{number}"));
        std::fs::create_dir_all(&folder).context("make a DataNode's directory")?;
        let ports = self.plan.data_nodes[number - 1];
        let mut command = self.java("160m", Some(daemon.mark()), &[&self.conf()]);
        command.arg(DATA_NODE);
        for value in [
            format!("dfs.datanode.data.dir=file://{}", folder.display()),
            "dfs.datanode.data.dir.perm=755".to_owned(),
            format!("dfs.datanode.address=127.0.0.1:{}", ports[0]),
            format!("dfs.datanode.ipc.address=127.0.0.1:{}", ports[1]),
            format!("dfs.datanode.http.address=127.0.0.1:{}", ports[2]),
            // One that is up before its NameNode asks again at once, not after seconds.
            "ipc.client.connect.max.retries=100".to_owned(),
            "ipc.client.connect.retry.interval=100".to_owned(),
        ] {
            command.args(["-D", &value]);
        }
        daemon.start(&mut command, &ports)
    }

    fn java(&self, heap: &str, mark: Option<&str>, conf: &[&Path]) -> Command {
        let jars = self.jars.join("*");
        let mut class_path = conf.to_vec();
        class_path.push(&jars);
        let krb5_conf = self.kdc().map(|kdc| kdc.krb5_conf());
        java(heap, &class_path, mark, krb5_conf.as_deref())
    }

    /// Runs one of Hadoop's shells with our own output.
    pub(super) fn shell(&self, class: &str, arguments: &[String]) -> Result<bool> {
        let mut command = self.java("256m", None, &[&self.shell_conf(), &self.conf()]);
        if let Some(kdc) = self.kdc() {
            command.envs(kdc.environment()).env("KRB5CCNAME", kdc.superuser()?);
        }
        let status = command
            .arg(class)
            .args(arguments)
            .stdin(Stdio::null())
            .status()
            .context("run Hadoop's shell")?;
        Ok(status.success())
    }

    /// Makes a NameNode active. The other, if it lives, becomes standby first.
    pub(super) fn activate(&self, number: usize) -> Result<bool> {
        if !self.plan.ha {
            bail!("this cluster has one NameNode: up --ha");
        }
        self.name_node(number)?;
        for other in (1..=self.plan.name_nodes.len()).filter(|other| *other != number) {
            if self.name_node(other)?.pid().is_some() {
                self.shell(HA_ADMIN, &["-transitionToStandby".to_owned(), format!("nn{other}")])?;
            }
        }
        let id = format!("nn{number}");
        let words = ["-transitionToActive", "--forceactive", id.as_str()];
        self.shell(HA_ADMIN, &words.map(str::to_owned))
    }

    /// The user's own tree, in a cluster where nobody is superuser by accident.
    fn give_user_a_home(&self) -> Result<()> {
        let class = "org.apache.hadoop.fs.FsShell";
        let home = format!("/user/{USER}");
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let made = self.shell(class, &words(&["-mkdir", "-p", &home, "/logs"]))?
            && self.shell(class, &words(&["-chown", USER, &home, "/logs"]))?;
        if !made {
            bail!("cannot make the user's directories");
        }
        Ok(())
    }

    fn wait_answers(&self, number: usize, begun: Instant) -> Result<()> {
        let daemon = self.name_node(number)?;
        let ports = self.plan.name_nodes[number - 1];
        loop {
            if daemon.pid().is_none() {
                bail!("NameNode {number} has ended:\n{}", daemon.complaint());
            }
            if listens(ports.rpc) && self.state(number)["beans"][0]["FSState"].is_string() {
                return Ok(());
            }
            if begun.elapsed() > UP_WITHIN {
                bail!("NameNode {number} does not answer:\n{}", daemon.complaint());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until every DataNode that runs is known to be live.
    pub(super) fn wait_live(&self, begun: Instant) -> Result<()> {
        loop {
            let mut running = 0;
            for number in 1..=self.plan.data_nodes.len() {
                running += u64::from(self.data_node(number)?.pid().is_some());
            }
            let live = self.state_of_active()["beans"][0]["NumLiveDataNodes"].as_u64();
            if live.is_some_and(|live| live >= running) && running > 0 {
                return Ok(());
            }
            if begun.elapsed() > UP_WITHIN {
                let complaint = self.data_node(1)?.complaint();
                bail!("{live:?} of {running} DataNodes have registered:\n{complaint}");
            }
            std::thread::sleep(POLL);
        }
    }

    pub(super) fn wait_writable(&self, begun: Instant) -> Result<()> {
        while self.state_of_active()["beans"][0]["FSState"] != "Operational" {
            if begun.elapsed() > UP_WITHIN {
                bail!("the NameNode does not leave safe mode");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until a NameNode that was started answers, and if told so until it can be written to.
    pub(super) fn wait_name_node(&self, number: usize, writable: bool) -> Result<()> {
        let begun = Instant::now();
        self.wait_answers(number, begun)?;
        if writable && !self.plan.ha {
            self.wait_live(begun)?;
            self.wait_writable(begun)?;
        }
        Ok(())
    }

    fn state_of_active(&self) -> serde_json::Value {
        self.state(if self.plan.ha { self.active().unwrap_or(1) } else { 1 })
    }

    /// Which NameNode of two is active.
    fn active(&self) -> Option<usize> {
        (1..=self.plan.name_nodes.len())
            .find(|number| self.bean(*number, "NameNodeStatus")["beans"][0]["State"] == "active")
    }

    /// What a NameNode says of itself; null if it says nothing.
    fn state(&self, number: usize) -> serde_json::Value {
        self.bean(number, "FSNamesystemState")
    }

    fn bean(&self, number: usize, name: &str) -> serde_json::Value {
        let port = self.plan.name_nodes[number - 1].http;
        let path = format!("/jmx?qry=Hadoop:service=NameNode,name={name}");
        get(port, &path).and_then(|body| Ok(serde_json::from_str(&body)?)).unwrap_or_default()
    }

    fn start_watch(&self, pid: i32) -> Result<()> {
        // Where cargo has put another file in its place meanwhile, the system has only its folder right.
        let program = std::env::current_exe().context("find this program")?;
        let program = program.with_file_name(env!("CARGO_PKG_NAME"));
        let mut command = Command::new(program);
        command.args(["hdfs", "--dir"]).arg(&self.dir).args(["watch", &pid.to_string()]);
        Daemon::marked(&self.dir, "watch", self.dir.display().to_string()).start(&mut command, &[])
    }

    /// Wipes the cluster when a process has ended.
    pub(super) fn watch(&self, pid: i32) -> Result<()> {
        while Path::new(&format!("/proc/{pid}")).exists() {
            std::thread::sleep(Duration::from_secs(1));
        }
        Cluster::wipe(&self.dir)
    }
}

impl Plan {
    fn new(wishes: &Wishes) -> Result<Plan> {
        let name_nodes = if wishes.ha { 2 } else { 1 };
        if wishes.datanodes == 0 {
            bail!("--datanodes: at least one");
        }
        let count = 2 * name_nodes + 3 * wishes.datanodes + 1;
        let mut ports = free_ports(count)?.into_iter();
        let mut next = || ports.next().context("as many ports as asked for");
        let settings = wishes.settings.iter().map(|setting| {
            let (name, value) = setting.split_once('=').context("--set takes NAME=VALUE")?;
            Ok((name.to_owned(), value.to_owned()))
        });
        let mut plan = Plan {
            name_nodes: Vec::new(),
            data_nodes: Vec::new(),
            replication: wishes.replication,
            ha: wishes.ha,
            kerberos: None,
            settings: settings.collect::<Result<_>>()?,
        };
        for number in 0..name_nodes {
            let (rpc, http) = (next()?, next()?);
            let rpc = if number == 0 && wishes.port != 0 { wishes.port } else { rpc };
            plan.name_nodes.push(NameNodePorts { rpc, http });
        }
        for _ in 0..wishes.datanodes {
            plan.data_nodes.push([next()?, next()?, next()?]);
        }
        if wishes.kerberos {
            let protection = wishes.protection.clone();
            plan.kerberos = Some(Kerberos { port: next()?, protection });
        }
        Ok(plan)
    }
}
