//! What the program prints and how it ends.

use std::process::{Command, Output};

use crate::agent::{World, command, write};

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    for wrong in [vec![], vec!["--nonsense"], vec!["check"], vec!["--data-dir", "x"]] {
        let (code, stdout, stderr) = run(command().args(&wrong));
        assert_eq!((code, stdout.as_str()), (64, ""), "{wrong:?}");
        assert!(stderr.contains("Usage"), "{stderr}");
    }
    let world = World::new("http://127.0.0.1:1", "");
    let (code, _, stderr) =
        run(command().arg("--config").arg(world.config()).args(["--log-level", "in=fo=x"]));
    assert!(code == 64 && stderr.contains("--log-level"), "{code} {stderr}");
    let (code, stdout, _) = run(command().arg("--help"));
    assert!(code == 0 && stdout.contains("--config"), "{stdout}");
    let (code, stdout, _) = run(command().arg("--version"));
    assert_eq!((code, stdout.trim()), (0, concat!("collector-agent ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_annotated_defaults_are_valid() {
    let world = World::new("http://127.0.0.1:1", "");
    let (code, defaults, _) = run(command().arg("config"));
    assert_eq!(code, 0);
    let path = world.folder.path().join("defaults.toml");
    write(&path, &defaults);
    let (code, stdout, stderr) = run(command().arg("check").arg(&path));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("is valid"), "{stdout}");
}

#[test]
fn check_names_each_mistake_with_its_place_and_remedy() {
    let world = World::new("http://127.0.0.1:1", "");
    let path = world.folder.path().join("wrong.toml");
    write(
        &path,
        "[agent]\nshutdown_timeot = \"5s\"\n[flow.web.sources.log]\ntype = \"taildir\"\n\
         channels = [\"spol\"]\nfilegroups = { a = \"/var/log/x\" }\n\
         [flow.web.channels.spool]\ntype = \"durable\"\n\
         [flow.web.sinks.tier]\ntype = \"collector\"\nchannel = \"spool\"\n",
    );
    let (code, _, stderr) = run(command().arg("check").arg(&path));
    assert_eq!(code, 1);
    for part in ["shutdown_timeot", "shutdown_timeout", ":2:1", "spol", "`spool`", ":5:"] {
        assert!(stderr.contains(part), "{part} is not in\n{stderr}");
    }
    // Nor does it run with such a file.
    let (code, _, stderr) = run(command().arg("--config").arg(&path));
    assert!(code == 1 && stderr.contains("shutdown_timeot"), "{code} {stderr}");
    let (code, _, stderr) = run(command().args(["check", "/nonexistent/agent.toml"]));
    assert!(code == 1 && stderr.contains("cannot read"), "{code} {stderr}");
}

#[test]
fn a_data_directory_in_use_ends_with_75() {
    let world = World::new("http://127.0.0.1:1", "");
    let agent = world.start();
    let (code, _, stderr) = run(command().arg("--config").arg(world.config()));
    assert_eq!(code, 75, "{stderr}");
    assert!(stderr.contains("is in use by process"), "{stderr}");
    assert!(agent.stop().success());
}

#[test]
fn an_admin_port_in_use_ends_with_1_and_leaves_the_directory_free() {
    let world = World::new("http://127.0.0.1:1", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = std::fs::read_to_string(world.config()).unwrap();
    let path = world.folder.path().join("taken.toml");
    write(&path, &text.replace("127.0.0.1:0", &address));
    let (code, _, stderr) = run(command().arg("--config").arg(&path));
    assert!(code == 1 && stderr.contains("serve the admin port"), "{code} {stderr}");
    assert!(world.start().stop().success());
}

#[test]
fn a_directory_can_be_given_on_the_command_line() {
    let world = World::new("http://127.0.0.1:1", "");
    let other = world.folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    write(&other.join("collector.json"), "{}");
    let mut with_other = command();
    with_other.arg("--config").arg(world.config()).arg("--data-dir").arg(&other);
    let (code, _, stderr) = run(&mut with_other);
    assert!(code == 1 && stderr.contains("no data directory of an agent"), "{code} {stderr}");
}
