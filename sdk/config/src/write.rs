//! From flows to text.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::{Table, Value};

use crate::FlowSpec;

/// The `[flow.*]` tables that say the same, every default written out.
/// [`parse_flows`](crate::parse_flows) reads them back. Fails only for numbers beyond 63 bits, which
/// no text can have given.
pub fn flows_to_toml(flows: &BTreeMap<String, FlowSpec>) -> Result<String, toml::ser::Error> {
    #[derive(Serialize)]
    struct File<'a> {
        flow: &'a BTreeMap<String, FlowSpec>,
    }
    let mut file = Table::try_from(File { flow: flows })?;
    for flow in tables(file.get_mut("flow")) {
        for kind in ["sources", "interceptors", "channels", "sinks", "groups"] {
            let Some(Value::Table(components)) = flow.get_mut(kind) else {
                continue;
            };
            for component in components.iter_mut().map(|(_, component)| component) {
                tag(component);
                for key in ["selector", "file_type", "serializer", "codec"] {
                    component.get_mut(key).map(tag);
                }
            }
        }
    }
    toml::to_string(&file)
}

fn tables(value: Option<&mut Value>) -> impl Iterator<Item = &mut Table> {
    let table = value.and_then(Value::as_table_mut);
    table.into_iter().flatten().filter_map(|(_, value)| value.as_table_mut())
}

/// `{ files = { path = "p" } }` becomes `{ type = "files", path = "p" }`.
fn tag(value: &mut Value) {
    let Value::Table(outer) = value else {
        return;
    };
    let Some((name, Value::Table(inner))) = outer.iter().next() else {
        return;
    };
    let mut tagged = inner.clone();
    tagged.insert("type".to_owned(), Value::String(name.clone()));
    *value = Value::Table(tagged);
}
