//! The `java` of this machine.

use std::path::Path;
use std::process::Command;

/// `java`, that of `JAVA_HOME` if that is set.
pub(crate) fn java() -> Command {
    Command::new(
        std::env::var_os("JAVA_HOME")
            .map_or_else(|| "java".into(), |home| Path::new(&home).join("bin/java")),
    )
}

/// Whether it runs a source file: one without a compiler does not. `None` if there is no Java.
pub(crate) fn compiles() -> Option<bool> {
    let output = java().arg("--list-modules").output().ok()?;
    let modules = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(modules.lines().any(|module| module.starts_with("jdk.compiler")))
}
