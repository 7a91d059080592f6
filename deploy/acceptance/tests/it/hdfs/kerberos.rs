//! Who we are has to be shown.

use crate::send::seq;
use deploy_acceptance::{Hdfs, Node, NodeOptions, eventually, need, pause};
use std::path::Path;
use std::time::Duration;

/// How long a ticket lasts. One that has expired gets no connection, so a later one was got with the keys.
const TICKET: Duration = Duration::from_secs(10);

/// A node on a cluster with Kerberos; `keytab`: with keys of its own, for tickets that last for [`TICKET`] under the
/// configuration that it makes in this folder, else with the ticket cache.
fn node(hdfs: &Hdfs, name: &str, keytab: Option<&Path>) -> Node {
    let url = hdfs.url();
    let mut config = format!(
        r#"
[flow.default.sources.ingest]
type = "collector"
channels = ["main"]
[flow.default.channels.main]
type = "durable"
[flow.default.sinks.files]
type = "files"
channel = "main"
path = "{url}/logs/{name}/%Y-%m-%d/%H%M"
roll_interval = "1s"
"#
    );
    let mut environment = hdfs.environment();
    if let Some(folder) = keytab {
        let (principal, keytab) =
            (hdfs.variable("COLLECTOR_HDFS_PRINCIPAL"), hdfs.variable("COLLECTOR_HDFS_KEYTAB"));
        config.push_str(&format!(
            "[node.hdfs]\nkerberos_principal = \"{principal}\"\nkerberos_keytab = \"{keytab}\"\n"
        ));
        let all = std::fs::read_to_string(hdfs.variable("KRB5_CONFIG")).expect("krb5.conf");
        let lifetime = format!("[libdefaults]\n ticket_lifetime = {}s\n", TICKET.as_secs());
        let short = all.replacen("[libdefaults]\n", &lifetime, 1);
        assert!(short.contains(&lifetime), "{all}");
        let krb5_conf = folder.join("krb5.conf");
        std::fs::write(&krb5_conf, short).expect("write krb5.conf");
        environment.retain(|(name, _)| name != "KRB5CCNAME" && name != "KRB5_CONFIG");
        environment.push(("KRB5_CONFIG".to_owned(), krb5_conf.display().to_string()));
        environment.push(("KRB5CCNAME".to_owned(), "FILE:/nonexistent/ccache".to_owned()));
    }
    Node::new(NodeOptions { config: Some(config), environment, ..NodeOptions::default() })
}

fn send(node: &Node, lines: u64) {
    let words = ["send", "--ack", "committed", "--timeout", "60s"];
    node.cli_with_input(&words, &seq(lines)).expect(0);
}

#[test]
fn a_keytab_renews_its_tickets_and_a_cache_is_read_again() {
    if need("krb5kdc", "apt-get install krb5-kdc krb5-admin-server krb5-user").is_none() {
        return;
    }
    let arguments = ["--kerberos", "--datanodes", "2", "--replication", "2"];
    let Some(hdfs) = Hdfs::own(&arguments) else { return };

    let folder = tempfile::tempdir().expect("a folder");
    let mut node_with_keys = node(&hdfs, "keytab", Some(folder.path()));
    node_with_keys.start();
    send(&node_with_keys, 1_000);
    assert_eq!(hdfs.tree("/logs/keytab").lines(), 1_000);
    let owner = hdfs.fs(&["-stat", "%u", "/logs/keytab"]);
    assert_eq!(owner.trim(), "collector");

    let mut node = node(&hdfs, "cache", None);
    hdfs.xtask(&["kdestroy"]);
    node.start();
    node.cli_with_input(&["send", "--ack", "local"], &seq(500)).expect(0);
    says(&node, &["credentials", "kinit"]);
    // Somebody gives us a ticket: nothing else has to be done.
    hdfs.xtask(&["kinit", "--lifetime", &format!("{}s", TICKET.as_secs())]);
    node.drained(Duration::from_secs(60));
    pause(TICKET + Duration::from_secs(1));

    // Every connection has to be made again, and no ticket of before is of use any more.
    hdfs.xtask(&["kill-nn"]);
    hdfs.xtask(&["start-nn"]);
    node.cli_with_input(&["send", "--ack", "local"], &seq(500)).expect(0);
    says(&node, &["credentials", "kinit"]);
    send(&node_with_keys, 1_000);
    hdfs.xtask(&["kinit"]);
    node.drained(Duration::from_secs(60));
    assert_eq!(hdfs.tree("/logs/cache").lines(), 1_000);
    assert_eq!(hdfs.tree("/logs/keytab").lines(), 2_000);
    for node in [&node, &node_with_keys] {
        assert_eq!(node.audit(true)["balanced"], true);
        let said = format!("{}{}", node.log(), node.cli(&["status"]).stdout);
        assert!(!said.contains(hdfs.variable("COLLECTOR_HDFS_KEYTAB")), "a secret's path:\n{said}");
    }
}

fn says(node: &Node, sentences: &[&str]) {
    eventually(&format!("status says {sentences:?}"), Duration::from_secs(60), || {
        let status = node.cli(&["status"]);
        let said = sentences.iter().all(|sentence| status.stdout.contains(sentence));
        if said { Ok(()) } else { Err(status.stdout) }
    });
}
