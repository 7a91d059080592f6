//! Configuration files: the defaults are valid, mistakes are named.

use deploy_acceptance::run;

#[test]
fn its_own_defaults_are_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    std::fs::write(&file, run("collector-server", &["config"]).expect(0).stdout).expect("write");
    let checked = run("collector-server", &["check".as_ref(), file.as_os_str()]).expect(0);
    assert!(checked.stdout.contains("valid"), "{checked:#?}");
}

#[test]
fn five_mistakes_are_five_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("flow.toml");
    std::fs::write(
        &file,
        r#"[flow.web.sources.edge]
type = "colector"
channels = ["main"]
[flow.web.channels.main]
type = "durable"
capacity = "20 GiBs"
[flow.web.sinks.out]
type = "files"
channel = "mian"
path = "/var/lib/collector/web/%Y"
roll_intervall = "30s"
round = { value = 61, unit = "minute" }
"#,
    )
    .expect("write");
    let checked = run("collector-server", &["check".as_ref(), file.as_os_str()]).expect(1);
    let text = format!("{}{}", checked.stdout, checked.stderr);
    for (line, named) in
        [(2, "`collector`"), (6, "capacity"), (9, "`main`"), (11, "`roll_interval`"), (12, "61")]
    {
        assert!(text.contains(&format!("flow.toml:{line}:")), "line {line} is named:\n{text}");
        assert!(text.contains(named), "{named} is named:\n{text}");
    }
}

#[test]
fn an_event_shows_where_it_would_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    std::fs::write(&file, run("collector-server", &["config"]).expect(0).stdout).expect("write");
    let event = r#"{"timestamp": 1340421394234, "headers": {"app": "shop"}, "body": "hello"}"#;
    let explained = run(
        "collector-server",
        &["check".as_ref(), file.as_os_str(), "--event".as_ref(), event.as_ref()],
    )
    .expect(0);
    assert!(explained.stdout.contains("2012-06-23/0316"), "{explained:#?}");
}

#[test]
fn usage_errors_are_64_and_help_is_0() {
    for name in ["collector-server", "collector-agent", "collector-cli", "collector-loadtest"] {
        run(name, &["--no-such-flag"]).expect(64);
        run(name, &["--help"]).expect(0);
        run(name, &["--version"]).expect(0);
    }
}
