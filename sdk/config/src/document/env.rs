//! `${env:NAME}` and `${env:NAME:-default}` in strings; `$${env:` is the text itself.

use super::{Node, Value};
use crate::mistake::{KeyPath, Mistake, Severity};

const OPEN: &str = "${env:";

pub(crate) fn expand(
    node: &mut Node,
    path: &KeyPath,
    resolve: &dyn Fn(&str) -> Option<String>,
    mistakes: &mut Vec<Mistake>,
) {
    match &mut node.value {
        Value::Table(entries) => {
            for entry in entries {
                let path = path.key(&entry.key);
                expand(&mut entry.node, &path, resolve, mistakes);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                expand(item, &path.index(at), resolve, mistakes);
            }
        }
        Value::String(text) if text.contains(OPEN) && !node.broken.get() => {
            match expanded(text, resolve) {
                Ok(result) => {
                    *text = result;
                    node.expanded = true;
                }
                Err(problem) => {
                    mistakes.push(Mistake::from_text(path.clone(), &problem));
                    node.broken.set(true);
                }
            }
        }
        Value::String(text) => mistakes.extend(other_variable(text, path)),
        _ => {}
    }
}

fn expanded(text: &str, resolve: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let (before, from) = rest.split_at(at);
        let after = &from[OPEN.len()..];
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str(OPEN);
            rest = after;
            continue;
        }
        let Some((reference, behind)) = after.split_once('}') else {
            return Err(format!("`{OPEN}` has no `}}`\nhelp: write `${{env:NAME:-default}}`"));
        };
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(format!(
                "`{name}` is not the name of a variable\nhelp: write `${{env:NAME:-default}}`"
            ));
        }
        let value = resolve(name).or(default.map(str::to_owned)).ok_or_else(|| {
            format!(
                "the environment has no `{name}`\nhelp: set it, or write a default: \
                 `${{env:{name}:-…}}`"
            )
        })?;
        result.push_str(before);
        result.push_str(&value);
        rest = behind;
    }
    result.push_str(rest);
    Ok(result)
}

/// `${NAME}` is left as it is, which in most places is not what was meant.
fn other_variable(text: &str, path: &KeyPath) -> Option<Mistake> {
    const OWN_MEANING: [&str; 5] =
        ["regex", "pattern", "search_pattern", "replace_string", "matching"];
    if path.last_key().is_some_and(|key| OWN_MEANING.contains(&key)) {
        return None;
    }
    let (_, after) = text.split_once("${")?;
    let (name, _) = after.split_once('}')?;
    let message = format!("`${{{name}}}` is taken as it is");
    let mut mistake = Mistake::new(Severity::Warning, path.clone(), message);
    let variable = name.rsplit(':').next().unwrap_or(name);
    mistake.help(format!("an environment variable is written `${{env:{variable}}}`"));
    Some(mistake)
}
