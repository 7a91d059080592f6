//! What a type cannot say: names that must exist, values that must fit each other.

mod flow;
mod group;
mod interceptor;
mod path;
mod security;
mod settings;
mod sink;
mod source;

use std::collections::BTreeMap;

use crate::FlowSpec;
use crate::mistake::{KeyPath, Mistake, Severity};
use crate::nearest::suggest;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A node's file.
    Node,
    /// An agent's file.
    Agent,
    /// A flow that all nodes of a cluster will have.
    Cluster,
}

/// Checks one flow, wherever it came from: what [`parse_flows`](crate::parse_flows) checks beyond
/// types. Errors mean that it must not be used.
pub fn check_flow(name: &str, spec: &FlowSpec, place: Place) -> Vec<Mistake> {
    let mut checker = Checker::new(place);
    checker.flow(name, spec);
    let failed = checker.mistakes.iter().any(|mistake| mistake.severity == Severity::Error);
    checker.mistakes.retain(|mistake| !(failed && mistake.minor));
    checker.mistakes
}

/// Headers of one event at most, as the format of blocks has it.
const HEADERS_MAX: usize = 64;
/// Bytes of a header's name at most.
const HEADER_KEY_BYTES_MAX: usize = 128;
/// Bytes of a header's value at most.
const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// Collects what is wrong.
pub(crate) struct Checker {
    pub(crate) place: Place,
    pub(crate) mistakes: Vec<Mistake>,
}

impl Checker {
    pub(crate) fn new(place: Place) -> Checker {
        Checker { place, mistakes: Vec::new() }
    }

    pub(crate) fn flows(&mut self, flows: &BTreeMap<String, FlowSpec>) {
        for (name, flow) in flows {
            self.flow(name, flow);
        }
        if flows.is_empty() && self.place != Place::Node {
            self.error(KeyPath::root("flow"), "there is no flow")
                .help("a flow stands in `[flow.NAME…]` tables")
                .required = true;
        }
    }

    pub(crate) fn error(&mut self, path: KeyPath, message: impl Into<String>) -> &mut Mistake {
        self.push(Mistake::new(Severity::Error, path, message))
    }

    pub(crate) fn warn(&mut self, path: KeyPath, message: impl Into<String>) -> &mut Mistake {
        self.push(Mistake::new(Severity::Warning, path, message))
    }

    /// An error whose text brings its remedy along, behind `\nhelp: `.
    fn error_text(&mut self, path: KeyPath, text: impl ToString) -> &mut Mistake {
        self.push(Mistake::from_text(path, &text.to_string()))
    }

    fn push(&mut self, mistake: Mistake) -> &mut Mistake {
        let at = self.mistakes.len();
        self.mistakes.push(mistake);
        &mut self.mistakes[at]
    }

    /// A key without default that is missing or empty.
    fn required(&mut self, table: &KeyPath, key: &str, help: impl Into<String>) -> &mut Mistake {
        let mistake = self.error(table.key(key), format!("`{key}` is required"));
        mistake.required = true;
        mistake.help(help)
    }

    /// A value that cannot be, and what it can be.
    fn refuse(
        &mut self,
        path: KeyPath,
        value: impl std::fmt::Display,
        allowed: impl Into<String>,
    ) -> &mut Mistake {
        let key = path.last_key().unwrap_or_default().to_owned();
        self.error(path, format!("`{key}` cannot be {value}")).help(allowed)
    }

    fn positive(&mut self, path: KeyPath, value: u64) {
        if value == 0 {
            let key = path.last_key().unwrap_or_default().to_owned();
            self.error(path, format!("`{key}` must be more than 0"));
        }
    }

    /// Names that must be among the known ones of their kind, each once.
    fn references<'a, T>(
        &mut self,
        list: &KeyPath,
        names: impl IntoIterator<Item = &'a String>,
        flow: &KeyPath,
        kind: (&str, &str),
        known: &BTreeMap<String, T>,
    ) {
        let mut seen: Vec<&str> = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            self.reference(list.index(at), name, flow, kind, known);
            if seen.contains(&name.as_str()) {
                self.error(list.index(at), format!("`{name}` is named twice")).help("once will do");
            }
            seen.push(name);
        }
    }

    /// A name that must be among the known ones; `kind` is the word for one and the key of all.
    fn reference<T>(
        &mut self,
        path: KeyPath,
        name: &str,
        flow: &KeyPath,
        (one, all): (&str, &str),
        known: &BTreeMap<String, T>,
    ) {
        if known.contains_key(name) {
            return;
        }
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let help = match names.is_empty() {
            true => format!("write a table `[{}]`", flow.key(all).key(name)),
            false => suggest(name, &names, &format!("there are the {all}")),
        };
        self.error(path, format!("there is no {one} `{name}`"))
            .help(help)
            .about(flow.key(all).key(name));
    }

    /// What a header may be called.
    fn header_name(&mut self, path: KeyPath, name: &str) {
        if name.is_empty() {
            let key = path.last_key().unwrap_or_default().to_owned();
            self.error(path, format!("`{key}` must name a header"));
        } else if name.len() > HEADER_KEY_BYTES_MAX {
            self.error(path, format!("the header's name has {} bytes", name.len()))
                .help(format!("at most {HEADER_KEY_BYTES_MAX}"));
        }
    }

    fn header_value(&mut self, path: KeyPath, value: &str) {
        if value.len() > HEADER_VALUE_BYTES_MAX {
            self.error(path, format!("the header's value has {} bytes", value.len()))
                .help(format!("at most {HEADER_VALUE_BYTES_MAX}"));
        }
    }

    /// A regular expression; what it is if it can be used.
    fn regex(&mut self, path: KeyPath, pattern: &str) -> Option<regex::bytes::Regex> {
        match regex::bytes::Regex::new(pattern) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text = error.to_string();
                let reason = text.rsplit("error: ").next().unwrap_or(&text).trim().to_owned();
                let mistake =
                    self.error(path, format!("the regular expression is wrong: {reason}"));
                mistake.help(regex_help(&reason));
                None
            }
        }
    }

    fn time_zone(&mut self, path: KeyPath, name: &str) {
        if crate::time_pattern::is_time_zone(name) {
            return;
        }
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let near = crate::nearest::nearest(name, names.iter().map(String::as_str));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write an IANA name such as `Europe/Berlin`".to_owned(),
        };
        self.error(path, format!("`{name}` is not a time zone")).help(help);
    }
}

fn regex_help(reason: &str) -> &'static str {
    if reason.contains("look-around") || reason.contains("backreference") {
        "here a regular expression has neither look-around nor backreferences"
    } else if reason.contains("size limit") {
        "write it shorter: repetitions of repetitions grow fast"
    } else if reason.contains("group") {
        "close it with `)`, or write `\\(` for the sign itself"
    } else if reason.contains("class") {
        "close it with `]`, or write `\\[` for the sign itself"
    } else {
        "a backslash in front takes a sign as it is"
    }
}

/// `1 group`, `2 groups`.
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
