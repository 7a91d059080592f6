//! Reading a configuration file, and saying what is wrong with it.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use sdk_config::{AgentConfig, Diagnostics, parse_agent, process_env};
use sdk_flow::code;

/// `collector-agent check FILE`.
pub(crate) fn run(file: &Path) -> ExitCode {
    match read(file) {
        Some(_) => {
            drop(writeln!(anstream::stdout(), "{} is valid", file.display()));
            ExitCode::SUCCESS
        }
        None => ExitCode::from(code::BAD),
    }
}

/// The file's configuration. What is wrong with it, or should be said about it all
/// the same, goes to standard error.
pub(crate) fn read(file: &Path) -> Option<AgentConfig> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            crate::complain(&format!("cannot read {}: {error}", file.display()));
            return None;
        }
    };
    match parse_agent(&text, &file.to_string_lossy(), &process_env) {
        Ok(parsed) => {
            print(&parsed.warnings);
            Some(parsed.value)
        }
        Err(diagnostics) => {
            print(&diagnostics);
            None
        }
    }
}

fn print(diagnostics: &Diagnostics) {
    if diagnostics.is_empty() {
        return;
    }
    let colours = std::io::stderr().is_terminal();
    let text = if colours { diagnostics.styled() } else { diagnostics.to_string() };
    drop(writeln!(anstream::stderr(), "{text}"));
}
