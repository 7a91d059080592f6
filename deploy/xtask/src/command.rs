//! Running other programs, and saying so.

use anyhow::{Context, Result};
use std::io::Write;
use std::process::{Command, Stdio};

/// One line to whoever runs the recipe.
pub(crate) fn say(line: &str) {
    // Whoever closed our output does not want to hear it.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// A result, for whoever reads standard output.
pub(crate) fn print(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        say(&format!("cannot print: {error}"));
    }
}

/// `cargo` as it runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command with our own output; true if it ended well.
pub(crate) fn passes(command: &mut Command) -> Result<bool> {
    say(&format!("\n$ {}", words(command)));
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("run {}", command.get_program().to_string_lossy()))?;
    Ok(status.success())
}

/// True if the program can be started at all.
pub(crate) fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|dir| dir.join(program).is_file())
    })
}

fn words(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(command.get_args().map(|word| word.to_string_lossy().into_owned()))
        .collect::<Vec<_>>()
        .join(" ")
}
