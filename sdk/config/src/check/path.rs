//! Paths and names of files.

use super::{Checker, Place};
use crate::mistake::KeyPath;
use crate::{FilesSink, Piece, Template, TimeEscape};

/// Literal components before the first escape at least: the root, whose staging and markers must not
/// stand in the root of a file system.
const ROOT_COMPONENTS_MIN: usize = 2;
/// Components of a rendered path at most.
const DEPTH_MAX: usize = 16;
/// Bytes of the literal beginning at most.
const ROOT_BYTES_MAX: usize = 512;
/// Bytes of a rendered path at most.
const PATH_BYTES_MAX: usize = 1024;
/// Names under a root that are the sink's own.
const RESERVED: [&str; 2] = [".staging", "_dead"];

impl Checker {
    /// The path of a file sink; what it is if it can be read.
    pub(super) fn path(&mut self, sink: &KeyPath, files: &FilesSink) -> Option<Template> {
        let at = sink.key("path");
        let path = files.path.as_str();
        if path.is_empty() {
            let help = "write `path = \"/var/lib/collector/files/%Y-%m-%d/%H%M\"`";
            self.required(sink, "path", help);
            return None;
        }
        let template = match Template::parse(path) {
            Ok(template) => template,
            Err(error) => {
                self.error_text(at, error);
                return None;
            }
        };
        let Some(local) = self.without_scheme(&at, path) else {
            return Some(template);
        };
        let components: Vec<&str> = local.split('/').filter(|part| !part.is_empty()).collect();
        // Before `/` a node puts the directory it is started in.
        let inside = if local.starts_with("./") { &components[1..] } else { &components[..] };
        if inside.iter().any(|part| [".", ".."].contains(part)) {
            self.error(at.clone(), "`.` and `..` are no directories here")
                .help("write the path as it is without them");
        }
        if components.first() == Some(&"~") {
            self.error(at.clone(), "`~` is not expanded").help("write `${env:HOME}`");
        }
        if components.first() == Some(&".reserved") {
            self.error(at.clone(), "`/.reserved` is the file system's own").help("choose another");
        }
        if let Some(own) = components.iter().find(|part| RESERVED.contains(part)) {
            self.error(at.clone(), format!("`{own}` is a name of the sink's own"))
                .help("staging and dead letters live there: choose another");
        }
        if local.contains(char::is_control) {
            self.error(at.clone(), "the path has a control character").help("remove it");
        }
        let root = root(&template, path.len() - local.len());
        let literal = root.split('/').filter(|part| !part.is_empty() && *part != ".").count();
        if literal < ROOT_COMPONENTS_MIN {
            self.error(at.clone(), "the path has too short a literal beginning").help(format!(
                "at least {ROOT_COMPONENTS_MIN} directories before the first escape, as in \
                 `/data/web/%Y-%m-%d`: staging lives there"
            ));
        }
        if root.len() > ROOT_BYTES_MAX {
            self.error(at.clone(), format!("the path begins with {} literal bytes", root.len()))
                .help(format!("at most {ROOT_BYTES_MAX}"));
        }
        let dates = template.pieces.iter().filter(|p| **p == Piece::Time(TimeEscape::Date)).count();
        let depth = components.len() + 2 * dates;
        if depth > DEPTH_MAX {
            self.error(at.clone(), format!("the path is {depth} directories deep"))
                .help(format!("at most {DEPTH_MAX}"));
        }
        if path.len() > PATH_BYTES_MAX {
            self.error(at, format!("the path has {} bytes", path.len()))
                .help(format!("at most {PATH_BYTES_MAX}, after its escapes are expanded"));
        }
        Some(template)
    }

    /// What stands behind the name of the file system, if that is known.
    fn without_scheme<'a>(&mut self, at: &KeyPath, path: &'a str) -> Option<&'a str> {
        let Some((scheme, rest)) = path.split_once("://") else {
            if !path.starts_with('/') && self.place != Place::Node {
                self.error(at.clone(), "the path is not absolute")
                    .help("it is the same for all nodes: begin with `/` or `hdfs://`");
            }
            return Some(path);
        };
        match scheme {
            "hdfs" => match rest.split_once('/') {
                Some((authority, path)) if !authority.is_empty() && !authority.contains('%') => {
                    Some(path)
                }
                _ => {
                    self.error(at.clone(), "the path names no file system")
                        .help("write `hdfs://NAMESERVICE/PATH` or `hdfs://HOST:PORT/PATH`");
                    None
                }
            },
            "file" if rest.starts_with('/') => Some(rest),
            "file" => {
                self.error(at.clone(), "the path is not absolute").help("write `file:///PATH`");
                None
            }
            _ => {
                self.error(at.clone(), format!("`{scheme}://` is not supported"))
                    .help("a path on a local disk, or `hdfs://…`");
                None
            }
        }
    }

    pub(super) fn file_name(&mut self, sink: &KeyPath, files: &FilesSink) {
        let prefix = sink.key("file_prefix");
        match Template::parse(&files.file_prefix) {
            Ok(template) => {
                let slash = |piece: &Piece| match piece {
                    Piece::Literal(text) => text.contains('/'),
                    Piece::Time(escape) => *escape == TimeEscape::Date,
                    _ => false,
                };
                if template.pieces.iter().any(slash) {
                    self.error(prefix.clone(), "a file's name has no `/`")
                        .help("directories belong into `path`");
                }
                if files.file_prefix.contains(char::is_control) {
                    self.error(prefix.clone(), "the prefix has a control character")
                        .help("remove it");
                }
                if template.pieces.is_empty() {
                    self.required(sink, "file_prefix", "a name without one is passed over by jobs");
                } else if template.literal_prefix().starts_with(['.', '_']) {
                    self.warn(prefix, "the files' names begin with a dot or `_`")
                        .help("jobs take such files for hidden and pass them over");
                }
            }
            Err(error) => drop(self.error_text(prefix, error)),
        }
        let suffix = sink.key("file_suffix");
        let extension = files.extension();
        if files.file_suffix.contains(char::is_control) {
            self.error(suffix.clone(), "the suffix has a control character").help("remove it");
        } else if files.file_suffix.contains('/') {
            self.error(suffix.clone(), "a file's name has no `/`")
                .help("directories belong into `path`");
        } else if files.file_suffix.contains('%') {
            self.warn(suffix.clone(), "escapes are not expanded in a suffix")
                .help("`file_prefix` and `path` have them");
        } else if !files.file_suffix.is_empty() && !files.file_suffix.starts_with('.') {
            self.warn(suffix.clone(), "the suffix follows a number without a dot")
                .help(format!("write `file_suffix = \".{}\"`", files.file_suffix));
        }
        if !extension.is_empty() && files.file_suffix.ends_with(extension) {
            self.warn(suffix, format!("names get `{extension}` anyway"))
                .help("remove it from the suffix");
        }
    }
}

/// The whole directories before the first escape that differs from event to event, without the first
/// `skip` bytes, which name the file system.
fn root(template: &Template, skip: usize) -> String {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            // Known when the flow is applied.
            Piece::Host(_) => text.push_str("host"),
            _ => {
                text.truncate(text.rfind('/').unwrap_or(0));
                break;
            }
        }
    }
    text.get(skip..).unwrap_or_default().to_owned()
}
