//! Interceptors.

use super::{Checker, counted};
use crate::mistake::KeyPath;
use crate::{
    InterceptorSpec, RegexExtractorInterceptor, Replacement, SearchReplaceInterceptor,
    SerializerType, TimePattern, TimePatternError,
};

impl Checker {
    pub(super) fn interceptor(&mut self, path: &KeyPath, interceptor: &InterceptorSpec) {
        match interceptor {
            InterceptorSpec::Timestamp(timestamp) => {
                self.header_name(path.key("header_name"), &timestamp.header_name);
            }
            InterceptorSpec::Host(host) => {
                self.header_name(path.key("host_header"), &host.host_header);
            }
            InterceptorSpec::Static(fixed) => {
                self.header_name(path.key("key"), &fixed.key);
                self.header_value(path.key("value"), &fixed.value);
            }
            InterceptorSpec::RemoveHeader(remove) => {
                let nothing = remove.with_name.is_none() && remove.from_list.is_empty();
                if nothing && remove.matching.is_none() {
                    let help = "write `with_name`, `from_list` or `matching`";
                    self.required(path, "with_name", help);
                }
                if let Some(pattern) = &remove.matching {
                    self.regex(path.key("matching"), pattern);
                }
            }
            InterceptorSpec::RegexFilter(filter) => {
                self.regex(path.key("regex"), &filter.regex);
            }
            InterceptorSpec::SearchReplace(replace) => self.search_replace(path, replace),
            InterceptorSpec::RegexExtractor(extractor) => self.regex_extractor(path, extractor),
        }
    }

    fn search_replace(&mut self, path: &KeyPath, replace: &SearchReplaceInterceptor) {
        let charset = replace.charset.replace('-', "");
        if !charset.eq_ignore_ascii_case("utf8") {
            self.error(path.key("charset"), format!("`{}` is not supported", replace.charset))
                .help("only `UTF-8`; bytes that are none pass unchanged");
        }
        if replace.search_pattern.is_empty() {
            self.required(path, "search_pattern", "write the regular expression to look for");
            return;
        }
        let Some(regex) = self.regex(path.key("search_pattern"), &replace.search_pattern) else {
            return;
        };
        let names: Vec<&str> = regex.capture_names().flatten().collect();
        let groups = regex.captures_len() - 1;
        if let Err(error) = Replacement::parse(&replace.replace_string, groups, &names) {
            let mistake = self.error_text(path.key("replace_string"), error);
            mistake.about(path.key("search_pattern"));
            if mistake.help.is_none() {
                mistake.help(format!("it has {}; `$0` is all of it", counted(groups, "group")));
            }
        }
    }

    fn regex_extractor(&mut self, path: &KeyPath, extractor: &RegexExtractorInterceptor) {
        let at = path.key("serializers");
        let groups = match extractor.regex.is_empty() {
            true => {
                self.required(path, "regex", "write the regular expression to look for");
                None
            }
            false => self.regex(path.key("regex"), &extractor.regex),
        };
        if extractor.serializers.is_empty() {
            let help = "one for each group: `serializers = { HEADER = { type = \"default\" } }`";
            self.required(path, "serializers", help);
            return;
        }
        if let Some(regex) = groups {
            let groups = regex.captures_len() - 1;
            let count = extractor.serializers.len();
            if groups < count {
                self.error(
                    path.key("regex"),
                    format!("{} for {}", counted(count, "serializer"), counted(groups, "group")),
                )
                .help("each serializer belongs to one `(…)` of the regular expression, in order")
                .about(at.clone());
            } else if groups > count {
                self.warn(
                    path.key("regex"),
                    format!("{} for {}", counted(groups, "group"), counted(count, "serializer")),
                )
                .help("the last groups go nowhere; `(?:…)` is no group")
                .about(at.clone());
            }
        }
        let mut names: Vec<&str> = Vec::new();
        for (place, serializer) in extractor.serializers.iter().enumerate() {
            // In a list the place is the step, in a table the key, which is the name unless written.
            let by_key = at.key(&serializer.name);
            let by_place = at.index(place);
            let name = serializer.name.as_str();
            if names.contains(&name) {
                self.error(by_key.clone(), format!("two serializers set the header `{name}`"));
            }
            names.push(name);
            self.header_name(by_key.key("name"), name);
            if serializer.kind == SerializerType::Default {
                if !serializer.pattern.is_empty() {
                    self.warn(by_key.key("pattern"), "`pattern` means nothing here")
                        .help("`type = \"millis\"` reads a time with it")
                        .about(by_key.key("type"));
                }
                continue;
            }
            if serializer.pattern.is_empty() {
                let help = "write `pattern = \"%d/%b/%Y:%H:%M:%S %z\"`";
                self.required(&by_key, "pattern", help).about(by_key.key("type"));
                continue;
            }
            match TimePattern::new(&serializer.pattern, &serializer.time_zone) {
                Ok(_) => {}
                Err(TimePatternError::TimeZone(zone)) => {
                    self.time_zone(by_key.key("time_zone"), &zone);
                }
                Err(error) => {
                    self.error_text(by_key.key("pattern"), error).about(by_place);
                }
            }
        }
    }
}
