//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

/// The way to a key: `flow.web.sinks.hdfs.path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPath(Vec<Step>);

/// One step on the way to a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// The path of a key of the whole file.
    pub fn root(key: &str) -> KeyPath {
        KeyPath::default().key(key)
    }

    /// The path of a key in the table at this path.
    pub fn key(&self, key: &str) -> KeyPath {
        self.step(Step::Key(key.to_owned()))
    }

    /// The path of an element of the list at this path.
    pub fn index(&self, index: usize) -> KeyPath {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> KeyPath {
        let mut steps = self.0.clone();
        steps.push(step);
        KeyPath(steps)
    }

    /// The steps, from the outside in.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The table or list that this key is in.
    pub fn parent(&self) -> KeyPath {
        KeyPath(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The last step that is a key.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

impl FromIterator<Step> for KeyPath {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> KeyPath {
        KeyPath(steps.into_iter().collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if at == 0 { "" } else { "." };
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    match !key.is_empty() && key.chars().all(bare) {
                        true => write!(f, "{dot}{key}")?,
                        false => write!(f, "{dot}{key:?}")?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably says something else than was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// How bad it is.
    pub severity: Severity,
    /// The key it is about.
    pub path: KeyPath,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether the key is to blame, not its value.
    pub(crate) at_key: bool,
    /// A key that is not there, or empty.
    pub(crate) required: bool,
    /// Other keys that it follows from: when one of them is wrong itself, this says nothing new.
    pub(crate) about: Vec<KeyPath>,
    /// Says nothing new beside any error, since it may only follow from that.
    pub(crate) minor: bool,
    /// Where in the text, when no key says it.
    pub(crate) span: Option<Range<usize>>,
}

impl Mistake {
    pub(crate) fn new(severity: Severity, path: KeyPath, message: impl Into<String>) -> Mistake {
        Mistake {
            severity,
            path,
            message: message.into(),
            help: None,
            at_key: false,
            required: false,
            about: Vec::new(),
            minor: false,
            span: None,
        }
    }

    /// A message may bring its remedy along, behind `\nhelp: `.
    pub(crate) fn from_text(path: KeyPath, text: &str) -> Mistake {
        match text.split_once("\nhelp: ") {
            Some((message, help)) => {
                let mut mistake = Mistake::new(Severity::Error, path, message);
                mistake.help = Some(help.to_owned());
                mistake
            }
            None => Mistake::new(Severity::Error, path, text),
        }
    }

    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Mistake {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn about(&mut self, path: KeyPath) -> &mut Mistake {
        self.about.push(path);
        self
    }

    pub(crate) fn at_key(&mut self) -> &mut Mistake {
        self.at_key = true;
        self
    }

    pub(crate) fn minor(&mut self) -> &mut Mistake {
        self.minor = true;
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.path, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}
