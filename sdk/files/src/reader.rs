//! Reading the events of a final file back: for `audit --deep`, and for whoever counts and compares.

use std::io::{BufRead, BufReader, Error, Read};

use crate::codec::Codec;
use crate::format::{AVRO_MAGIC, AvroReader, SEQUENCE_MAGIC, SequenceReader};

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// A longer line is none of ours: it has one event, with its headers and what JSON makes of them.
const LINE_BYTES_MAX: u64 = 64 << 20;

type Input<'a> = BufReader<Box<dyn Read + 'a>>;

/// The events of one file, one after the other: bodies of a SequenceFile or an Avro container, lines
/// of anything else, without their newlines.
pub struct Records<'a>(Kind<'a>);

enum Kind<'a> {
    Lines(Input<'a>),
    Avro(AvroReader<Input<'a>>),
    Sequence(SequenceReader<Input<'a>>),
}

impl<'a> Records<'a> {
    /// Of a file with this name and these bytes. Containers are known by what they begin with,
    /// codecs by the end of the name. Blocks.
    pub fn open(name: &str, input: impl Read + 'a) -> Result<Records<'a>, Error> {
        let mut input = BufReader::with_capacity(READ_BYTES, Box::new(input) as Box<dyn Read + 'a>);
        let beginning = input.fill_buf()?;
        let sequence = beginning.starts_with(SEQUENCE_MAGIC);
        let avro = name.ends_with(".avro") && beginning.starts_with(AVRO_MAGIC);
        Ok(Records(if sequence {
            Kind::Sequence(SequenceReader::new(input)?)
        } else if avro {
            Kind::Avro(AvroReader::new(input)?)
        } else {
            let raw = Codec::of_name(name).decoder(input)?;
            Kind::Lines(BufReader::with_capacity(READ_BYTES, raw))
        }))
    }

    /// Puts the next event into `record`, in place of what was there. False at the end.
    pub fn next(&mut self, record: &mut Vec<u8>) -> Result<bool, Error> {
        record.clear();
        match &mut self.0 {
            Kind::Lines(lines) => {
                let read = lines.take(LINE_BYTES_MAX).read_until(b'\n', record)?;
                if record.last() == Some(&b'\n') {
                    record.pop();
                } else if read as u64 == LINE_BYTES_MAX {
                    return Err(Error::other("a line does not end"));
                }
                if read == 0 {
                    return Ok(false);
                }
                Ok(true)
            }
            Kind::Avro(avro) => avro.next(record),
            Kind::Sequence(sequence) => sequence.next(record),
        }
    }
}
