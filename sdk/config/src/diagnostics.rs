//! What is wrong with a file, to be read by people.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::mask::masked;
use crate::mistake::{Mistake, Severity};

/// Everything that is wrong with one file, in the order of its text. `Display` is what a person
/// should see, without colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    file_name: String,
    text: String,
    items: Vec<Diagnostic>,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The whole key, `flow.web.sinks.hdfs.path`; empty for a mistake of syntax.
    pub key: String,
    /// The text that is to blame: the value as it is written, or the key.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    span: Range<usize>,
    table: String,
}

impl Diagnostics {
    pub(crate) fn new(file_name: &str, text: &str, mistakes: Vec<Mistake>) -> Diagnostics {
        let text = masked(text);
        let items = mistakes.into_iter().map(|mistake| Diagnostic::new(&text, mistake)).collect();
        Diagnostics { file_name: file_name.to_owned(), text, items }
    }

    /// The name of the file.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Each thing that is wrong.
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many errors there are; the rest are warnings.
    pub fn errors(&self) -> usize {
        self.items.iter().filter(|item| item.severity == Severity::Error).count()
    }

    /// The same with colours.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let rendered: Vec<String> = self
            .items
            .iter()
            .map(|item| item.render(&self.file_name, &self.text, renderer))
            .collect();
        rendered.join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    fn new(text: &str, mistake: Mistake) -> Diagnostic {
        let span = on_characters(text, mistake.span.clone().unwrap_or(0..0));
        let before = &text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let table = mistake.path.parent();
        Diagnostic {
            severity: mistake.severity,
            line: before.matches('\n').count() + 1,
            column: text[line_start..span.start].chars().count() + 1,
            key: mistake.path.to_string(),
            value: text[span.clone()].to_owned(),
            message: mistake.message,
            help: mistake.help,
            span,
            table: table.to_string(),
        }
    }

    fn render(&self, file_name: &str, text: &str, renderer: &Renderer) -> String {
        let (level, help) = match self.severity {
            Severity::Error => (Level::ERROR, Level::HELP),
            Severity::Warning => (Level::WARNING, Level::HELP),
        };
        // Only the lines themselves go in: what is far away cannot disturb the picture.
        let first = text[..self.span.start].rfind('\n').map_or(0, |at| at + 1);
        let last = text[self.span.end..].find('\n').map_or(text.len(), |at| self.span.end + at);
        let within = self.span.start - first..self.span.end - first;
        let mut annotation = AnnotationKind::Primary.span(within);
        if !self.table.is_empty() {
            annotation = annotation.label(format!("in `{}`", self.table));
        }
        let snippet = Snippet::source(&text[first..last])
            .line_start(self.line)
            .path(file_name)
            .annotation(annotation);
        let mut group = level.primary_title(self.message.as_str()).element(snippet);
        if let Some(text) = &self.help {
            group = group.element(help.message(text.as_str()));
        }
        renderer.render(&[group])
    }
}

/// The same span, within the text and on the borders of characters.
fn on_characters(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
