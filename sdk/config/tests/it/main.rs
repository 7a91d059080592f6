//! What the configuration promises.

mod annotated;
mod files;
mod five;
mod robust;
mod singles;
mod specs;
mod text;

use sdk_config::{Parsed, parse_node};

/// No environment.
fn no_env(_: &str) -> Option<String> {
    None
}

/// What a person reads when a node's file is wrong, or when it is right and something is odd.
fn problems(text: &str) -> String {
    match parse_node(text, "flow.toml", &no_env) {
        Ok(Parsed { warnings, .. }) => format!("valid\n{warnings}\n"),
        Err(diagnostics) => format!("{diagnostics}\n"),
    }
}
