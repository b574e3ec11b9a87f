//! Records of Linux as lines of text, whatever tool printed them.

use super::lines::Lines;
use crate::breakdown::{FieldValue, Watch};
use crate::coverage::Coverage;
use crate::error::Error;
use crate::event::{Event, Unit, Vcpus};
use crate::kvm::{KvmDecoder, KvmRecord, Place};
use crate::source::Source;
use std::io::Read;

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// A record.
    Record(TextRecord<'l>),
    /// Word of lost records.
    Lost {
        /// Where, as far as it says.
        cpu: u16,
        /// How many; 0 where it does not say.
        records: u64,
    },
    /// Of no interest; it is counted by this name.
    Aside(&'static str),
    /// Part of the text but not of the trace.
    Heading,
    /// None of these.
    Unknown,
}

/// A record in its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TextRecord<'l> {
    pub(crate) place: Place,
    /// Whether its time is in cycles, else in nanoseconds.
    pub(crate) in_cycles: bool,
    /// Without its system, such as `kvm:`.
    pub(crate) event: &'l str,
    pub(crate) fields: &'l str,
}

/// How a tool prints records.
pub(super) trait Dialect {
    /// What a line is.
    fn line<'l>(&mut self, text: &'l str) -> Line<'l>;

    /// What a record says of exits: `Some(None)` if nothing, `None` if its fields cannot be read.
    fn record(
        &self,
        event: &str,
        fields: &str,
        decoder: &mut KvmDecoder,
    ) -> Option<Option<KvmRecord>>;

    /// What a record's fields say behind a name.
    fn value<'f>(&self, fields: &'f str, name: &str) -> Option<&'f str>;
}

/// Reads records line by line.
pub(super) struct Records<R, D> {
    lines: Lines<R>,
    dialect: D,
    decoder: KvmDecoder,
    coverage: Coverage,
    /// Whether times are in cycles, else in nanoseconds.
    in_cycles: bool,
}

impl<R: Read, D: Dialect> Records<R, D> {
    pub(super) fn new(input: R, dialect: D) -> Self {
        Records {
            lines: Lines::new(input),
            dialect,
            decoder: KvmDecoder::default(),
            coverage: Coverage::default(),
            in_cycles: false,
        }
    }

    fn take_line(&mut self) {
        let number = self.lines.number;
        let coverage = &mut self.coverage;
        let Some(text) = self.lines.text() else {
            coverage.fault(|| format!("line {number} is no UTF-8"));
            return;
        };
        match self.dialect.line(text) {
            Line::Record(TextRecord { place, in_cycles, event, fields }) => {
                coverage.records += 1;
                self.in_cycles = in_cycles;
                match self.dialect.record(event, fields, &mut self.decoder) {
                    Some(record) => {
                        let get = |name: &str| {
                            let text = self.dialect.value(fields, name)?;
                            Some(FieldValue::Text(text.trim_matches('"').into()))
                        };
                        if !self.decoder.take(place, event, record, get) {
                            coverage.skip(event, 1);
                        }
                    }
                    None => coverage
                        .fault(|| format!("line {number}: {event} has other fields than known")),
                }
            }
            Line::Lost { cpu, records } => {
                coverage.lost = coverage.lost.saturating_add(records);
                coverage.losses += 1;
                let place = Place { cpu, ..Place::default() };
                self.decoder.record(place, KvmRecord::Lost { records });
            }
            Line::Aside(name) => coverage.skip(name, 1),
            Line::Heading => {}
            Line::Unknown => coverage.fault(|| format!("line {number} is no event")),
        }
    }
}

impl<R: Read, D: Dialect> Source for Records<R, D> {
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.decoder.next() {
                return Ok(Some(event));
            }
            if !self.lines.advance()? {
                return Ok(None);
            }
            self.take_line();
        }
    }

    fn watch(&mut self, watch: Watch) -> Result<(), Error> {
        self.decoder.watch(watch)
    }

    fn vcpus(&self) -> &Vcpus {
        self.decoder.vcpus()
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn unit(&self) -> Unit {
        if self.in_cycles { Unit::Cycles } else { Unit::Nanoseconds }
    }

    fn reason_names(&self) -> &[String] {
        self.decoder.reason_names()
    }
}

/// Gives `take` every record of a text, whatever it tells.
pub(super) fn each_record<D: Dialect>(
    input: impl Read,
    mut dialect: D,
    mut take: impl FnMut(&TextRecord<'_>),
) -> Result<Coverage, Error> {
    let (mut lines, mut coverage) = (Lines::new(input), Coverage::default());
    while lines.advance()? {
        let number = lines.number;
        let Some(text) = lines.text() else {
            coverage.fault(|| format!("line {number} is no UTF-8"));
            continue;
        };
        match dialect.line(text) {
            Line::Record(record) => {
                coverage.records += 1;
                take(&record);
            }
            Line::Lost { records, .. } => {
                coverage.lost = coverage.lost.saturating_add(records);
                coverage.losses += 1;
            }
            Line::Aside(name) => coverage.skip(name, 1),
            Line::Heading => {}
            Line::Unknown => coverage.fault(|| format!("line {number} is no event")),
        }
    }
    Ok(coverage)
}

/// Makes a reader of the text of one tool.
macro_rules! text_source {
    ($(#[$doc:meta])* $name:ident, $dialect:ty, $new:expr) => {
        $(#[$doc])*
        pub struct $name<R>($crate::text::records::Records<R, $dialect>);

        impl<R: std::io::Read> $name<R> {
            /// Begins to read.
            pub fn new(input: R) -> Self {
                $name($crate::text::records::Records::new(input, $new))
            }
        }

        impl<R: std::io::Read> $crate::source::Source for $name<R> {
            fn next_event(
                &mut self,
            ) -> Result<Option<$crate::event::Event>, $crate::error::Error> {
                self.0.next_event()
            }

            fn watch(
                &mut self,
                watch: $crate::breakdown::Watch,
            ) -> Result<(), $crate::error::Error> {
                self.0.watch(watch)
            }

            fn vcpus(&self) -> &$crate::event::Vcpus {
                self.0.vcpus()
            }

            fn coverage(&self) -> &$crate::coverage::Coverage {
                self.0.coverage()
            }

            fn unit(&self) -> $crate::event::Unit {
                self.0.unit()
            }

            fn reason_names(&self) -> &[String] {
                self.0.reason_names()
            }
        }
    };
}

pub(super) use text_source;
