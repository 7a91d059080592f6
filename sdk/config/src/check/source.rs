//! Sources and their selectors.

use std::collections::BTreeMap;

use globset::Glob;

use super::{Checker, HEADERS_MAX, Place};
use crate::mistake::KeyPath;
use crate::{ByteSize, DurationText, FlowSpec, SelectorSpec, SourceSpec, TaildirSource};

/// The longest body of an event, as the format of blocks has it.
const BODY_BYTES_MAX: ByteSize = ByteSize::mib(1);
/// Files are looked at no more often.
const POLL_INTERVAL_MIN: DurationText = DurationText::from_millis(10);

impl Checker {
    pub(super) fn source(
        &mut self,
        flow: &KeyPath,
        path: &KeyPath,
        spec: &FlowSpec,
        source: &SourceSpec,
    ) {
        let channels = path.key("channels");
        if source.channels().is_empty() {
            let names: Vec<String> = spec.channels.keys().map(|name| format!("{name:?}")).collect();
            let names = if names.is_empty() { "\"main\"".to_owned() } else { names.join(", ") };
            self.required(path, "channels", format!("write `channels = [{names}]`"));
        }
        let kind = ("channel", "channels");
        self.references(&channels, source.channels(), flow, kind, &spec.channels);
        let kind = ("interceptor", "interceptors");
        let list = path.key("interceptors");
        self.references(&list, source.interceptors(), flow, kind, &spec.interceptors);
        self.selector(path, source);
        match source {
            SourceSpec::Collector(_) if self.place == Place::Agent => {
                self.error(path.key("type"), "an agent receives nothing over the network")
                    .help("the source `collector` is for nodes; an agent has `taildir` and `seq`");
            }
            SourceSpec::Collector(_) => {}
            SourceSpec::Taildir(taildir) => self.taildir(path, taildir),
            SourceSpec::Seq(seq) => self.positive(path.key("batch_size"), seq.batch_size.into()),
        }
    }

    fn selector(&mut self, path: &KeyPath, source: &SourceSpec) {
        let at = path.key("selector");
        let channels = source.channels();
        match source.selector() {
            SelectorSpec::Replicating(selector) => {
                self.among(&at.key("optional"), &selector.optional, path, channels);
                if !channels.is_empty() && channels.iter().all(|c| selector.optional.contains(c)) {
                    self.warn(at.key("optional"), "every channel is optional").help(
                        "an event that no channel has room for is dropped; leave one required",
                    );
                }
            }
            SelectorSpec::Multiplexing(selector) => {
                self.header_name(at.key("header"), &selector.header);
                self.among(&at.key("default"), &selector.default, path, channels);
                self.among(&at.key("optional"), &selector.optional, path, channels);
                self.mapping(&at.key("mapping"), &selector.mapping, path, channels);
                self.mapping(
                    &at.key("optional_mapping"),
                    &selector.optional_mapping,
                    path,
                    channels,
                );
                let lists = selector.mapping.values().chain(selector.optional_mapping.values());
                let lists = lists.chain([&selector.default, &selector.optional]);
                let chosen: Vec<&String> = lists.flatten().collect();
                if chosen.is_empty() {
                    self.required(&at, "mapping", "write `mapping = { VALUE = [\"CHANNEL\"] }`");
                    return;
                }
                if selector.default.is_empty() {
                    self.warn(at.clone(), "events without a mapping are dropped")
                        .at_key()
                        .minor()
                        .help("name channels for them: `default = [\"CHANNEL\"]`");
                }
                for (place, channel) in channels.iter().enumerate() {
                    if !chosen.contains(&channel) {
                        self.warn(
                            path.key("channels").index(place),
                            format!("the selector never chooses `{channel}`"),
                        )
                        .minor()
                        .help("give it a mapping, or remove it from `channels`");
                    }
                }
            }
        }
    }

    fn mapping(
        &mut self,
        path: &KeyPath,
        mapping: &BTreeMap<String, Vec<String>>,
        source: &KeyPath,
        channels: &[String],
    ) {
        for (value, chosen) in mapping {
            if value.is_empty() {
                self.error(path.key(value), "an empty value never matches")
                    .at_key()
                    .help("events with an empty header go to `default`");
            }
            if chosen.is_empty() {
                self.error(path.key(value), "a mapping names at least one channel")
                    .help("remove it: what has no mapping goes to `default`");
            }
            self.among(&path.key(value), chosen, source, channels);
        }
    }

    /// Channels that the selector chooses must be the source's own.
    fn among(&mut self, list: &KeyPath, chosen: &[String], source: &KeyPath, channels: &[String]) {
        for (at, channel) in chosen.iter().enumerate() {
            if channels.is_empty() || channels.contains(channel) {
                continue;
            }
            let names: Vec<&str> = channels.iter().map(String::as_str).collect();
            let help = match crate::nearest::nearest(channel, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add `{channel}` to `channels` of this source"),
            };
            self.error(list.index(at), format!("`{channel}` is no channel of this source"))
                .help(help)
                .about(source.key("channels"));
        }
    }

    fn taildir(&mut self, path: &KeyPath, taildir: &TaildirSource) {
        if taildir.filegroups.is_empty() {
            let help = "write `filegroups = { access = \"/var/log/nginx/access.log*\" }`";
            self.required(path, "filegroups", help);
        }
        for (group, glob) in &taildir.filegroups {
            self.filegroup(path.key("filegroups").key(group), glob);
        }
        for (group, headers) in &taildir.headers {
            let at = path.key("headers");
            let kind = ("file group", "filegroups");
            self.reference(at.key(group), group, path, kind, &taildir.filegroups);
            if headers.len() > HEADERS_MAX {
                self.error(at.key(group), format!("there are {} headers", headers.len()))
                    .help(format!("an event has at most {HEADERS_MAX}"));
            }
            for (name, value) in headers {
                self.header_name(at.key(group).key(name), name);
                self.header_value(at.key(group).key(name), value);
            }
        }
        for (place, glob) in taildir.exclude.iter().enumerate() {
            self.glob(path.key("exclude").index(place), glob);
        }
        self.header_name(path.key("file_header_key"), &taildir.file_header_key);
        self.positive(path.key("batch_size"), taildir.batch_size.into());
        if taildir.poll_interval < POLL_INTERVAL_MIN {
            let allowed = format!("at least `\"{POLL_INTERVAL_MIN}\"`");
            self.refuse(path.key("poll_interval"), taildir.poll_interval, allowed);
        }
        let length = taildir.max_line_length;
        if length.is_zero() || length > BODY_BYTES_MAX {
            let allowed = format!("1B to {BODY_BYTES_MAX}, the longest body of an event");
            self.refuse(path.key("max_line_length"), length, allowed);
        }
        if let Some(multiline) = &taildir.multiline {
            let at = path.key("multiline");
            match multiline.pattern.is_empty() {
                true => drop(self.required(&at, "pattern", "write `pattern = '^\\s'`")),
                false => drop(self.regex(at.key("pattern"), &multiline.pattern)),
            }
            self.positive(at.key("timeout"), multiline.timeout.millis());
            self.positive(at.key("max_lines"), multiline.max_lines.into());
        }
    }

    fn filegroup(&mut self, path: KeyPath, glob: &str) {
        if let Some((scheme, _)) = glob.split_once("://") {
            self.error(path, format!("`{scheme}://` is no path on a local disk"))
                .help("`taildir` follows files of this machine: begin with `/`");
            return;
        }
        if !glob.starts_with('/') {
            self.error(path, format!("{glob:?} is not absolute"))
                .help("begin with `/`: an agent has no directory of its own");
            return;
        }
        if glob.ends_with('/') {
            self.error(path, format!("{glob:?} is a directory"))
                .help(format!("write \"{glob}*\" for the files in it"));
            return;
        }
        if glob.split('/').any(|part| part == "..") {
            self.error(path, format!("{glob:?} goes up")).help("write the path without `..`");
            return;
        }
        let name = glob.rsplit('/').next().unwrap_or(glob);
        if name.starts_with(".*") || name.contains("\\.") || name.contains(".+") {
            self.warn(path.clone(), format!("`{name}` is a glob here, not a regular expression"))
                .help("`*` is any number of characters, `?` one, a dot is a dot");
        }
        self.glob(path, glob);
    }

    fn glob(&mut self, path: KeyPath, glob: &str) {
        if glob.is_empty() {
            self.error(path, "the glob is empty");
        } else if let Err(error) = Glob::new(glob) {
            self.error(path, format!("the glob is wrong: {}", error.kind()))
                .help("`*`, `?`, `[a-z]`, `{a,b}` and `**`; a backslash takes the next as it is");
        }
    }
}
