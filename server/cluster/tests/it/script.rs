//! Text scripts: blocks of a command per line, `----`, what came of them.
//!
//! A `state` line prints the state. Buckets are written as one word (`a`, of sink 1, or `a@2`), and
//! stand under `/r<sink>`.

mod describe;
mod parse;

use server_cluster::State;

pub(crate) use parse::{lineage, parse};

/// Runs the commands of a script and writes it with what came of them.
pub(crate) fn run(text: &str) -> String {
    let mut state = State::new();
    let mut index = 0;
    let mut out = String::new();
    let mut expected = false;
    let mut replies: Vec<String> = Vec::new();
    for line in text.lines().chain([""]) {
        if expected {
            // What an earlier run has written, up to the empty line.
            expected = !line.is_empty();
            continue;
        }
        match line {
            "----" => {
                out += "----\n";
                out.extend(replies.drain(..));
                out += "\n";
                expected = true;
            }
            "" => (),
            comment if comment.starts_with('#') => out += &format!("{comment}\n"),
            "state" => {
                out += "state\n";
                replies.push(describe::state(&state));
            }
            query if query.starts_with("? ") => {
                out += &format!("{query}\n");
                replies.push(describe::query(&state, &query[2..]));
            }
            command => {
                out += &format!("{command}\n");
                index += 1;
                let command = parse(command).unwrap_or_else(|why| panic!("{command}: {why}"));
                replies.push(describe::reply(&state.apply(index, command)));
                assert_eq!(state.size(), state.reckon(), "the size is kept");
            }
        }
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}
