//! The values of a file, where they stand, and which of them are broken.

use std::cell::Cell;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::mistake::{KeyPath, Step};

/// A value, its place in the text, and whether something is wrong with it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
    /// Something was said about it: it is not read, and nothing that follows from it is said.
    pub(crate) broken: Cell<bool>,
    /// A string that an environment variable had a part in.
    pub(crate) expanded: bool,
}

#[derive(Debug)]
pub(crate) enum Value {
    String(String),
    /// `None`: more than 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    /// In the order of the text.
    Table(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) node: Node,
    /// The known key that this unknown one was taken for, so that what it holds is still checked.
    pub(crate) meant: Cell<Option<&'static str>>,
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        self.meant.get().unwrap_or(&self.key)
    }
}

impl Node {
    pub(crate) fn from_table(span: Range<usize>, table: &DeTable<'_>) -> Node {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_span: key.span(),
                node: Node::from_value(value.span(), value.get_ref()),
                meant: Cell::new(None),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Node::new(span, Value::Table(entries))
    }

    fn from_value(span: Range<usize>, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => {
                let node = |item: &toml::Spanned<DeValue<'_>>| {
                    Node::from_value(item.span(), item.get_ref())
                };
                Value::Array(items.iter().map(node).collect())
            }
            DeValue::Table(table) => return Node::from_table(span, table),
        };
        Node::new(span, value)
    }

    fn new(span: Range<usize>, value: Value) -> Node {
        Node { span, value, broken: Cell::new(false), expanded: false }
    }

    /// One step into the values that could be read: what counts them did not see the others.
    pub(crate) fn live_step(&self, step: &Step) -> Option<(Option<&Entry>, &Node)> {
        match (&self.value, step) {
            (Value::Array(items), Step::Index(index)) => {
                let mut live = items.iter().filter(|item| !item.broken.get());
                Some((None, live.nth(*index)?))
            }
            _ => self.step(step),
        }
    }

    /// One step into all values.
    pub(crate) fn step(&self, step: &Step) -> Option<(Option<&Entry>, &Node)> {
        match (&self.value, step) {
            (Value::Table(entries), Step::Key(key)) => {
                let entry = entries.iter().find(|entry| entry.name() == key)?;
                Some((Some(entry), &entry.node))
            }
            (Value::Array(items), Step::Index(index)) => Some((None, items.get(*index)?)),
            // A list of named tables may stand for a table of tables.
            (Value::Array(items), Step::Key(key)) => {
                let named = |item: &&Node| match item.get("name").map(|name| &name.value) {
                    Some(Value::String(name)) => name == key,
                    _ => false,
                };
                Some((None, items.iter().find(named)?))
            }
            _ => None,
        }
    }

    /// The keys of a table.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key of a table.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.name() == key).map(|entry| &entry.node)
    }

    pub(crate) fn holds_broken(&self) -> bool {
        let broken = |node: &Node| node.broken.get() || node.holds_broken();
        match &self.value {
            Value::Array(items) => items.iter().any(broken),
            Value::Table(entries) => entries.iter().any(|entry| broken(&entry.node)),
            _ => false,
        }
    }

    /// Breaks the innermost value that a mistake of syntax lies in, and says which it is.
    pub(crate) fn break_value_at(&self, span: &Range<usize>) -> Option<KeyPath> {
        let mut steps = Vec::new();
        self.find_broken(span, &mut steps).then(|| steps.into_iter().collect())
    }

    fn find_broken(&self, span: &Range<usize>, steps: &mut Vec<Step>) -> bool {
        let mut enter = |step: Step, node: &Node| {
            steps.push(step);
            let found = node.find_broken(span, steps);
            if !found {
                steps.pop();
            }
            found
        };
        match &self.value {
            Value::Table(entries) => entries.iter().any(|entry| {
                let begun = entry.key_span.start <= span.start;
                begun && enter(Step::Key(entry.key.clone()), &entry.node)
            }),
            Value::Array(items) => {
                items.iter().enumerate().any(|(at, item)| enter(Step::Index(at), item))
            }
            _ => {
                let touched = self.span.start <= span.start && span.start <= self.span.end;
                self.broken.set(self.broken.get() || touched);
                touched
            }
        }
    }
}
