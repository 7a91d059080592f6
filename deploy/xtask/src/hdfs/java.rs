//! How a JVM of Hadoop is started.

use std::path::Path;
use std::process::Command;

/// What Java 17 has to open for Hadoop.
const OPENS: [&str; 6] = [
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
];

/// What makes a small JVM that starts fast.
const SMALL: [&str; 6] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:MaxDirectMemorySize=64m",
    "-Xss512k",
    "-Djava.net.preferIPv4Stack=true",
];

/// `java`, up to the name of the class.
pub(super) fn java(
    heap: &str,
    class_path: &[&Path],
    mark: Option<&str>,
    krb5_conf: Option<&Path>,
) -> Command {
    let mut command = crate::java::java();
    command.args(OPENS).args(SMALL).args(mark).arg(format!("-Xmx{heap}"));
    if let Some(path) = krb5_conf {
        command.arg(format!("-Djava.security.krb5.conf={}", path.display()));
    }
    let class_path: Vec<String> =
        class_path.iter().map(|path| path.display().to_string()).collect();
    command.arg("-cp").arg(class_path.join(":"));
    command
}
