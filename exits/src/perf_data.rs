//! `perf.data`, decoded by the formats of its tracepoints that are in it.

use crate::breakdown::{EventRef, FieldValue, Watch};
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Event, Unit, Vcpus};
use crate::kvm::{KvmDecoder, KvmRecord, Place};
use crate::perf_head::check_parts;
use crate::source::Source;
use linux_perf_data::linux_perf_event_reader::{EventRecord, PerfEventType, RawData, RecordType};
use linux_perf_data::{Feature, PerfFile, PerfFileReader, PerfFileRecord, PerfRecordIter};
use rustc_hash::FxHashMap;
use std::io::{Read, Seek};

/// Reads a `perf.data` file.
pub struct PerfData<R: Read + Seek> {
    file: PerfFile,
    records: PerfRecordIter<R>,
    /// By the number of the event in the file's attributes; `None` for one that is no tracepoint.
    tracepoints: Vec<Option<Tracepoint>>,
    names: Vec<String>,
    decoder: KvmDecoder,
    coverage: Coverage,
    long: bool,
    ended: bool,
}

/// A tracepoint.
struct Tracepoint {
    name: String,
    fields: FxHashMap<String, Field>,
    /// Whether its records say something about exits, or may be probes.
    is_wanted: bool,
}

/// Where a field is in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    offset: usize,
    bytes: usize,
    form: Form,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Number,
    /// Characters up to a zero.
    Text,
    /// Offset and length, in 16 bits each, of such characters (`__data_loc`).
    TextElsewhere,
}

impl<R: Read + Seek> PerfData<R> {
    /// Reads the file's head.
    ///
    /// # Errors
    /// [`Error::PerfData`] if the file is damaged, or has no formats of tracepoints.
    pub fn new(mut input: R) -> Result<Self, Error> {
        check_parts(&mut input)?;
        let failed = |error: linux_perf_data::Error| Error::PerfData(error.to_string());
        let PerfFileReader { perf_file, record_iter } =
            PerfFileReader::parse_file(input).map_err(failed)?;
        let formats = perf_file.feature_section_data(Feature::TRACING_DATA).ok_or_else(|| {
            Error::PerfData(
                "it has no tracepoints; record them with `perf record -e 'kvm:*' -a`".to_owned(),
            )
        })?;
        let formats = formats_in(formats);
        let long = perf_file.endian() == linux_perf_data::Endianness::LittleEndian;
        if !long {
            return Err(Error::PerfData(
                "it is of a big-endian machine, which has no KVM of x86".to_owned(),
            ));
        }
        let (mut tracepoints, mut names) = (Vec::new(), Vec::new());
        for attribute in perf_file.event_attributes() {
            let found = match attribute.attr.type_ {
                PerfEventType::Tracepoint(id) => formats.get(&id),
                _ => None,
            };
            let name = found.map(|(name, _)| name.as_str());
            names.push(name.or(attribute.name()).unwrap_or("events without a name").to_owned());
            tracepoints.push(found.map(|(name, fields)| Tracepoint {
                name: name.clone(),
                fields: fields.clone(),
                is_wanted: KvmRecord::is_of(name),
            }));
        }
        Ok(PerfData {
            file: perf_file,
            records: record_iter,
            tracepoints,
            names,
            decoder: KvmDecoder::default(),
            coverage: Coverage::default(),
            long,
            ended: false,
        })
    }

    /// Reads a record; false at the end.
    fn advance(&mut self) -> bool {
        debug_assert!(self.long, "big-endian files are refused");
        let record = match self.records.next_record(&mut self.file) {
            Ok(Some(record)) => record,
            Ok(None) => return false,
            Err(error) => {
                // What is whole has been read.
                self.coverage.truncated = Some(error.to_string());
                return false;
            }
        };
        self.coverage.records += 1;
        let PerfFileRecord::EventRecord { attr_index, record } = record else {
            self.coverage.skip("perf's own", 1);
            return true;
        };
        let is_sample = record.record_type == RecordType::SAMPLE;
        let sample = match record.parse() {
            Ok(EventRecord::Sample(sample)) => sample,
            Ok(EventRecord::Lost(lost)) => {
                self.coverage.lost = self.coverage.lost.saturating_add(lost.count);
                self.coverage.losses += 1;
                let records = lost.count;
                let common = record.common_data().unwrap_or_default();
                let cpu = common.cpu.unwrap_or(0) as u16;
                let time = common.timestamp.unwrap_or(0);
                let place = Place { time, cpu, ..Place::default() };
                self.decoder.record(place, KvmRecord::Lost { records });
                return true;
            }
            Ok(_) => {
                self.coverage.skip("processes and mappings", 1);
                return true;
            }
            Err(error) if is_sample => {
                self.coverage.fault(|| format!("a sample cannot be read: {error}"));
                return true;
            }
            Err(_) => {
                self.coverage.skip("perf's own", 1);
                return true;
            }
        };
        let tracepoint = self.tracepoints.get(attr_index).and_then(Option::as_ref);
        let Some(tracepoint) = tracepoint.filter(|tracepoint| tracepoint.is_wanted) else {
            let name = self.names.get(attr_index).map_or("unknown events", String::as_str);
            self.coverage.skip(name, 1);
            return true;
        };
        let (Some(raw), Some(time)) = (sample.raw, sample.timestamp) else {
            let name = &tracepoint.name;
            self.coverage
                .fault(|| format!("{name} without data or time; record with `perf record -R -T`"));
            return true;
        };
        let place = Place {
            time,
            cpu: sample.cpu.unwrap_or(0) as u16,
            thread: sample.tid.map(|thread| thread as u32),
            process: sample.pid.map(|process| process as u32),
        };
        match tracepoint.record(raw) {
            Some(record) => {
                let get = |name: &str| tracepoint.value(raw, name);
                if !self.decoder.take(place, &tracepoint.name, record, get) {
                    self.coverage.skip(&tracepoint.name, 1);
                }
            }
            None => {
                let name = &tracepoint.name;
                self.coverage.fault(|| format!("{name} lacks fields that are known"));
            }
        }
        true
    }
}

impl Tracepoint {
    fn number(&self, raw: RawData<'_>, name: &str) -> Option<u64> {
        let field = self.fields.get(name)?;
        let bytes = raw.get(field.offset..field.offset.checked_add(field.bytes)?)?.as_slice();
        let mut wide = [0; 8];
        wide.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(u64::from_le_bytes(wide))
    }

    fn value(&self, raw: RawData<'_>, name: &str) -> Option<FieldValue<'static>> {
        let field = self.fields.get(name)?;
        let number = || self.number(raw, name);
        let (offset, bytes) = match field.form {
            Form::Number => return number().map(FieldValue::Number),
            Form::Text => (field.offset, field.bytes),
            Form::TextElsewhere => {
                let place = number()? as usize;
                (place & 0xffff, place >> 16 & 0xffff)
            }
        };
        let text = raw.get(offset..offset.checked_add(bytes)?)?.as_slice();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(FieldValue::Text(String::from_utf8_lossy(text).into_owned().into()))
    }

    fn record(&self, raw: RawData<'_>) -> Option<Option<KvmRecord>> {
        KvmRecord::of_fields(&self.name, |name| self.number(raw, name))
    }
}

/// Formats of tracepoints by number: name, and fields by name.
type Formats = FxHashMap<u64, (String, FxHashMap<String, Field>)>;

/// The formats in what perf copies from the kernel's files `format`, one after the other: each is
/// text that begins with `name: `.
fn formats_in(section: &[u8]) -> Formats {
    let mut formats = Formats::default();
    let begins: Vec<usize> = memchr::memmem::find_iter(section, b"name: ").collect();
    for (i, &begin) in begins.iter().enumerate() {
        let end = begins.get(i + 1).copied().unwrap_or(section.len());
        let text = String::from_utf8_lossy(&section[begin..end]);
        let text = text.split("print fmt:").next().unwrap_or_default();
        let mut lines = text.lines();
        let name = lines.next().and_then(|line| line.strip_prefix("name: "));
        let id = text.lines().find_map(|line| line.strip_prefix("ID: ")?.trim().parse().ok());
        if let (Some(name), Some(id)) = (name, id) {
            let fields = text.lines().filter_map(field).collect();
            formats.insert(id, (name.trim().to_owned(), fields));
        }
    }
    formats
}

/// `field:unsigned int exit_reason; offset:8; size:4; signed:0;`, with tabs.
fn field(line: &str) -> Option<(String, Field)> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
    let declared = parts.next()?;
    let name = declared.split_whitespace().next_back()?.split('[').next()?;
    let form = match declared {
        _ if declared.starts_with("__data_loc char") => Form::TextElsewhere,
        _ if declared.contains("char ") && declared.ends_with(']') => Form::Text,
        _ => Form::Number,
    };
    let mut value = |key: &str| parts.next()?.strip_prefix(key)?.parse().ok();
    let (offset, bytes) = (value("offset:")?, value("size:")?);
    Some((name.to_owned(), Field { offset, bytes, form }))
}

impl<R: Read + Seek> Source for PerfData<R> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.decoder.next() {
                return Ok(Some(event));
            }
            if self.ended || !self.advance() {
                self.ended = true;
                return Ok(None);
            }
        }
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        let there = self.tracepoints.iter().flatten().map(|tracepoint| tracepoint.name.as_str());
        watch.check_names(there)?;
        for tracepoint in self.tracepoints.iter_mut().flatten() {
            let name = &tracepoint.name;
            tracepoint.is_wanted = KvmRecord::is_of(name) || watch.names(EventRef::Name(name));
        }
        self.decoder.watch(watch)
    }

    fn vcpus(&self) -> &Vcpus {
        self.decoder.vcpus()
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn unit(&self) -> Unit {
        Unit::Nanoseconds
    }

    fn reason_names(&self) -> &[String] {
        self.decoder.reason_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_where_fields_are() {
        let section = b"\x05tracing...name: kvm_entry\nID: 1712\nformat:\n\
            \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:unsigned int vcpu_id;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n\n\
            print fmt: \"vcpu %u\", REC->vcpu_id\n\0\0\0name: broken";
        let formats = formats_in(section);
        let (name, fields) = &formats[&1712];
        assert_eq!((formats.len(), name.as_str()), (1, "kvm_entry"));
        assert_eq!(fields["vcpu_id"], Field { offset: 8, bytes: 4, form: Form::Number });
        assert_eq!(fields["comm"], Field { offset: 12, bytes: 16, form: Form::Text });
    }
}
