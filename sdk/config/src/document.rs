//! A configuration file as a tree that knows where everything stands and what is wrong with it.

mod env;
mod reader;
mod syntax;
mod tree;

use std::cell::RefCell;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

pub(crate) use self::reader::Found;
use self::reader::Reader;
use self::tree::{Entry, Node, Value};
use crate::mistake::{KeyPath, Mistake, Severity, Step};

/// A file, read as TOML, and what is wrong with it so far.
#[derive(Debug)]
pub(crate) struct Document {
    root: Node,
    mistakes: RefCell<Vec<Mistake>>,
}

/// [`Node::step`] or [`Node::live_step`].
type Walk = for<'a> fn(&'a Node, &Step) -> Option<(Option<&'a Entry>, &'a Node)>;

/// Beyond this many mistakes the rest goes unsaid.
const MISTAKES_MAX: usize = 200;

impl Document {
    /// Reads a text. Mistakes of syntax that leave no doubt about the rest do not end it; after any
    /// other the tree is empty, and the second answer is `false`.
    pub(crate) fn parse(text: &str) -> (Document, bool) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut root = Node::from_table(table.span(), table.get_ref());
        let (mut mistakes, readable) = syntax::mistakes(text, &errors);
        if !readable {
            root.value = Value::Table(Vec::new());
        }
        for mistake in &mut mistakes {
            if let Some(path) = mistake.span.clone().and_then(|span| root.break_value_at(&span)) {
                mistake.path = path;
            }
        }
        (Document { root, mistakes: RefCell::new(mistakes) }, readable)
    }

    /// Forgets tables of the file that are not asked for.
    pub(crate) fn leave_out(&mut self, tables: &[&str]) {
        if let Value::Table(entries) = &mut self.root.value {
            entries.retain(|entry| !tables.contains(&entry.key.as_str()));
        }
    }

    /// Replaces `${env:…}` in every string.
    pub(crate) fn expand(&mut self, resolve: &dyn Fn(&str) -> Option<String>) {
        let mut mistakes = Vec::new();
        env::expand(&mut self.root, &KeyPath::default(), resolve, &mut mistakes);
        self.mistakes.get_mut().extend(mistakes);
    }

    /// Reads the tree into a type all of whose keys have defaults. What cannot be read is said and
    /// has its default.
    pub(crate) fn read<T: DeserializeOwned + Default>(&self) -> T {
        // Each turn breaks one more value, which the next one leaves out.
        for _ in 0..MISTAKES_MAX {
            match T::deserialize(Reader::new(self)) {
                Ok(value) => return value,
                Err(error) => {
                    let mut mistake = error.into_mistake();
                    mistake.span = Some(self.locate(&mistake.path, mistake.at_key, Node::step));
                    let node = self.node(&mistake.path, Node::step);
                    let known = node.is_none_or(|node| node.broken.replace(true));
                    let end = known || mistake.path.steps().is_empty();
                    self.say(mistake);
                    if end {
                        break;
                    }
                }
            }
        }
        T::default()
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }

    pub(crate) fn say(&self, mistake: Mistake) {
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() < MISTAKES_MAX {
            mistakes.push(mistake);
        }
    }

    /// The mistakes, with those of `checks` that say something new.
    pub(crate) fn finish(&self, checks: Vec<Mistake>) -> Vec<Mistake> {
        let news = |mistake: &Mistake| {
            let within = |path| self.node(path, Node::live_step).is_some_and(Node::holds_broken);
            let doubtful = |path| self.is_broken(path) || within(path);
            let broken = self.is_broken(&mistake.path) || mistake.about.iter().any(doubtful);
            !(broken || mistake.required && within(&mistake.path))
        };
        let mut mistakes = self.mistakes.take();
        mistakes.extend(checks.into_iter().filter(news));
        let failed = mistakes.iter().any(|m| m.severity == Severity::Error);
        mistakes.retain(|mistake| !(failed && mistake.minor));
        mistakes.truncate(MISTAKES_MAX);
        for mistake in &mut mistakes {
            if mistake.span.is_none() {
                let span = self.locate(&mistake.path, mistake.at_key, Node::live_step);
                mistake.span = Some(span);
            }
        }
        mistakes.sort_by_key(|mistake| mistake.span.as_ref().map_or(0, |span| span.start));
        mistakes
    }

    /// Whether a key is written.
    pub(crate) fn has(&self, path: &KeyPath) -> bool {
        self.node(path, Node::live_step).is_some()
    }

    fn node(&self, path: &KeyPath, walk: Walk) -> Option<&Node> {
        path.steps().iter().try_fold(&self.root, |node, step| Some(walk(node, step)?.1))
    }

    fn is_broken(&self, path: &KeyPath) -> bool {
        let mut node = &self.root;
        for step in path.steps() {
            match node.live_step(step) {
                Some((_, next)) if next.broken.get() => return true,
                Some((_, next)) => node = next,
                None => return false,
            }
        }
        false
    }

    /// The place of a key or its value, or of the innermost table around it that is written.
    fn locate(&self, path: &KeyPath, at_key: bool, walk: Walk) -> Range<usize> {
        let mut node = &self.root;
        let mut key_span = 0..0;
        for (at, step) in path.steps().iter().enumerate() {
            let Some((entry, next)) = walk(node, step) else {
                return key_span;
            };
            node = next;
            key_span = entry.map_or(next.span.clone(), |entry| entry.key_span.clone());
            let last = at + 1 == path.steps().len();
            // A table's own place is its header, and an inline one is long: its key says more.
            if last && !at_key && !matches!(node.value, Value::Table(_)) {
                return node.span.clone();
            }
        }
        key_span
    }
}
