//! Sinks.

use super::{Checker, Place};
use crate::mistake::KeyPath;
use crate::{
    Address, ByteSize, CollectorSink, DurationText, FileType, FilesSink, FlowSpec, OutputCodec,
    RoundUnit, Serializer, SinkSpec,
};

/// Files smaller than this are a burden for a name node.
const ROLL_SIZE_SMALL: ByteSize = ByteSize::mib(1);
/// Files of fewer events probably too.
const ROLL_COUNT_SMALL: u64 = 1000;
/// Files of a shorter time probably too.
const ROLL_INTERVAL_SMALL: DurationText = DurationText::from_secs(10);
/// Files are not rolled more often.
const ROLL_INTERVAL_MIN: DurationText = DurationText::from_millis(100);
/// The largest block, as its format has it.
const BLOCK_BYTES_MAX: ByteSize = ByteSize::mib(4);
/// A sink takes no more at once.
const BATCH_BYTES_MAX: ByteSize = ByteSize::mib(64);

/// HDFS has no smaller blocks, whatever it is told.
const HDFS_BLOCK_MIN: ByteSize = ByteSize::kib(64);
/// What HDFS makes a checksum for.
const HDFS_CHECKSUM_BYTES: u64 = 512;

impl Checker {
    pub(super) fn sink(
        &mut self,
        flow: &KeyPath,
        path: &KeyPath,
        spec: &FlowSpec,
        sink: &SinkSpec,
    ) {
        if sink.channel().is_empty() {
            let name = spec.channels.keys().next().map_or("main", String::as_str);
            self.required(path, "channel", format!("write `channel = \"{name}\"`"));
        } else {
            let kind = ("channel", "channels");
            self.reference(path.key("channel"), sink.channel(), flow, kind, &spec.channels);
        }
        match sink {
            SinkSpec::Files(_) if self.place == Place::Agent => {
                self.error(path.key("type"), "an agent writes no files")
                    .help("send to a node with `type = \"collector\"`; its flow has the files");
            }
            SinkSpec::Files(files) => self.files(path, files),
            SinkSpec::Collector(collector) => self.collector_sink(path, collector),
            SinkSpec::Logger(_) | SinkSpec::Null(_) => {}
        }
    }

    fn files(&mut self, path: &KeyPath, files: &FilesSink) {
        let template = self.path(path, files);
        self.file_name(path, files);
        self.rolls(path, files);
        if let Some(round) = files.round {
            let at = path.key("round");
            let (unit, max) = match round.unit {
                RoundUnit::Second => ("seconds", 60),
                RoundUnit::Minute => ("minutes", 60),
                RoundUnit::Hour => ("hours", 24),
            };
            if round.value == 0 || round.value > max {
                self.error(at.key("value"), format!("cannot round to {} {unit}", round.value))
                    .help(format!("1 to {max}"));
            }
            if template.is_some_and(|template| !template.needs_time()) {
                self.warn(at, "`round` means nothing here")
                    .at_key()
                    .help("the path has no escape for a time, such as `%H%M`");
            }
        }
        self.time_zone(path.key("time_zone"), &files.time_zone);
        self.format(path, files);
        if let Some(files) = files.max_open_files {
            self.positive(path.key("max_open_files"), files.into());
        }
        if let Some(copies) = files.replication {
            self.positive(path.key("replication"), copies.into());
        }
        if let Some(size) = files.block_size
            && (size < HDFS_BLOCK_MIN || !size.bytes().is_multiple_of(HDFS_CHECKSUM_BYTES))
        {
            let allowed = format!("at least {HDFS_BLOCK_MIN}, a multiple of 512 bytes");
            self.refuse(path.key("block_size"), size, allowed);
        }
        let directories = files.new_directories_per_minute;
        self.positive(path.key("new_directories_per_minute"), directories.into());
        if files.batch_bytes.is_zero() || files.batch_bytes > BATCH_BYTES_MAX {
            let allowed = format!("1B to {BATCH_BYTES_MAX}");
            self.refuse(path.key("batch_bytes"), files.batch_bytes, allowed);
        }
        for (key, value) in
            [("in_use_prefix", &files.in_use_prefix), ("in_use_suffix", &files.in_use_suffix)]
        {
            if value.is_some() {
                self.warn(path.key(key), format!("`{key}` means nothing here"))
                    .at_key()
                    .help("unfinished files live in staging, under no name a job would read");
            }
        }
    }

    fn rolls(&mut self, path: &KeyPath, files: &FilesSink) {
        let interval = files.roll_interval;
        let never = interval.is_zero() && files.roll_size.is_zero() && files.roll_count == 0;
        if never && files.idle_timeout.is_zero() {
            self.warn(path.key("roll_interval"), "no rule ever rolls a file")
                .help("events become final only at an orderly stop: keep one of the rules");
        }
        if !interval.is_zero() && interval < ROLL_INTERVAL_MIN {
            let allowed = format!("at least `\"{ROLL_INTERVAL_MIN}\"`, or 0 for never");
            self.refuse(path.key("roll_interval"), interval, allowed);
        } else if !interval.is_zero() && interval < ROLL_INTERVAL_SMALL {
            self.small_files(path.key("roll_interval"), interval);
        }
        if !files.roll_size.is_zero() && files.roll_size < ROLL_SIZE_SMALL {
            self.small_files(path.key("roll_size"), files.roll_size);
        }
        if files.roll_count != 0 && files.roll_count < ROLL_COUNT_SMALL {
            self.small_files(path.key("roll_count"), format!("{} events", files.roll_count));
        }
    }

    fn small_files(&mut self, path: KeyPath, value: impl std::fmt::Display) {
        self.warn(path, format!("rolling at {value} makes many small files"))
            .help("each costs memory of a name node and time of a job; the default is larger");
    }

    /// The combinations of type, serializer and codec that make sense.
    fn format(&mut self, path: &KeyPath, files: &FilesSink) {
        let level = path.key("codec").key("level");
        match files.codec {
            OutputCodec::Gzip(codec) => self.level(level, codec.level, 9),
            OutputCodec::Zstd(codec) => self.level(level, codec.level, 19),
            OutputCodec::Bzip2(codec) => self.level(level, codec.level, 9),
            OutputCodec::Deflate(codec) => self.level(level, codec.level, 9),
            OutputCodec::None | OutputCodec::Snappy | OutputCodec::Lz4 => {}
        }
        let compressed = files.codec != OutputCodec::None;
        let avro = matches!(files.serializer, Serializer::AvroEvent(_));
        match files.file_type {
            Some(FileType::DataStream) if compressed => {
                self.error(path.key("file_type"), "a data stream has no codec")
                    .help("write `file_type = \"compressed_stream\"`, or remove `codec`")
                    .about(path.key("codec"));
            }
            Some(FileType::CompressedStream) if !compressed && !avro => {
                self.error(path.key("file_type"), "a compressed stream has a codec")
                    .help("write `codec = \"gzip\"`, or `file_type = \"data_stream\"`");
            }
            Some(FileType::SequenceFile(_)) if files.serializer != Serializer::default() => {
                self.warn(path.key("serializer"), "`serializer` means nothing in a SequenceFile")
                    .at_key()
                    .help("its keys are timestamps, its values bodies: headers are lost")
                    .about(path.key("file_type"));
            }
            Some(FileType::SequenceFile(_)) => {}
            _ if avro && (compressed || files.file_type == Some(FileType::CompressedStream)) => {
                let key = if compressed { "codec" } else { "file_type" };
                self.error(path.key(key), "an Avro container is compressed inside").help(
                    "write `serializer = { type = \"avro_event\", compression_codec = \"deflate\" }` \
                     and no codec for the stream",
                );
            }
            _ => {}
        }
    }

    fn level(&mut self, path: KeyPath, level: u32, max: u32) {
        if level == 0 || level > max {
            self.refuse(path, level, format!("1 (fast) to {max} (small)"));
        }
    }

    fn collector_sink(&mut self, path: &KeyPath, sink: &CollectorSink) {
        if sink.endpoints.is_empty() {
            let help = "write `endpoints = [\"http://127.0.0.1:7400\"]`";
            self.required(path, "endpoints", help);
        }
        for (at, endpoint) in sink.endpoints.iter().enumerate() {
            self.endpoint(path.key("endpoints").index(at), endpoint);
        }
        self.client_files(path, sink);
        if sink.token_file.is_some() {
            for (at, endpoint) in sink.endpoints.iter().enumerate() {
                self.token_in_clear(path.key("endpoints").index(at), endpoint);
            }
        }
        if sink.flow.as_deref() == Some("") {
            self.error(path.key("flow"), "`flow` is empty")
                .help("remove it to send into the flow of the same name");
        }
        let batch = sink.batch_bytes;
        if batch.is_zero() || batch > BLOCK_BYTES_MAX {
            let allowed = format!("1B to {BLOCK_BYTES_MAX}, the largest block");
            self.refuse(path.key("batch_bytes"), batch, allowed);
        }
        if sink.in_flight < batch {
            self.error(path.key("in_flight"), "`in_flight` is less than one block")
                .help(format!("at least `batch_bytes`, which is {batch}"))
                .about(path.key("batch_bytes"));
        }
        self.positive(path.key("connect_timeout"), sink.connect_timeout.millis());
        self.positive(path.key("request_timeout"), sink.request_timeout.millis());
        self.positive(path.key("max_backoff"), sink.max_backoff.millis());
    }

    fn endpoint(&mut self, path: KeyPath, endpoint: &str) {
        let Some((scheme, rest)) = endpoint.split_once("://") else {
            self.error(path, format!("{endpoint:?} is not a URL"))
                .help(format!("write `\"http://{endpoint}\"`"));
            return;
        };
        let address = rest.trim_end_matches('/');
        if !matches!(scheme, "http" | "https") {
            self.error(path, format!("`{scheme}://` is not supported"))
                .help(format!("write `\"http://{address}\"`, or `https`"));
        } else if let Err(error) = address.parse::<Address>() {
            self.error_text(path, error).help(format!("write `\"{scheme}://HOST:PORT\"`"));
        }
    }

    fn token_in_clear(&mut self, path: KeyPath, endpoint: &str) {
        let Some(address) = endpoint.strip_prefix("http://") else { return };
        let address = address.trim_end_matches('/');
        if address.parse::<Address>().is_ok_and(|address| !address.is_loopback()) {
            self.error(path.clone(), "the token would go over the network unencrypted")
                .help(format!("write `\"https://{address}\"`"))
                .about(path.parent().parent().key("token_file"));
        }
    }
}
