//! `drmemtrace`: DynamoRIO's offline traces of 64-bit programs, as raw2trace leaves them: a stream
//! of packed [`Entry`] records, plain or in any packing that [`Input`] knows.

mod entry;
mod machine;
mod markers;

use super::builder::{Builder, CodeId};
use super::error::{ImportError, Place};
use super::input::Input;
use super::records::Records;
use super::{FormatImport, Taken};
use crate::trace::{AccessKind, Event, Flow, Lacks};
use entry::{Entry, SIZE, filetype, kind};
use machine::{MAX_PROCESS, Machine};
use rustc_hash::FxHashMap;
use std::io::{Seek, Write};
use std::ops::RangeInclusive;

/// Versions whose records are as they are read here.
const VERSIONS: RangeInclusive<u64> = 1..=7;
/// Longest instruction of x86 in bytes (Intel SDM volume 2, 2.3.11).
const MAX_LENGTH: u16 = 15;

pub(super) struct Drmemtrace;

impl FormatImport for Drmemtrace {
    const NAME: &str = "drmemtrace";
    const LACKS: Lacks = Lacks {
        modifies: true,
        walks: true,
        events: true,
        code: true,
        translations: true,
        contexts: true,
        ..Lacks::NOTHING
    };

    fn run<W: Write + Seek>(
        input: Input,
        builder: &mut Builder<W>,
        taken: &mut Taken<'_>,
    ) -> Result<(), ImportError> {
        let mut reader = Reader::new(builder, taken);
        Records::<SIZE>::new(input)?.each(|bytes, place| {
            reader.place = place;
            reader.entry(bytes)
        })?;
        reader.finish()
    }
}

/// What the stream has told so far.
struct Reader<'b, 'p, W: Write> {
    builder: &'b mut Builder<W>,
    taken: &'b mut Taken<'p>,
    place: Place,
    begun: bool,
    /// The record read last was a footer.
    footed: bool,
    machine: Machine,
    thread: u64,
    processes: FxHashMap<u64, u64>,
    file_type: u64,
    page_size: u64,
    physical: Option<u64>,
    /// Kernel code runs: depths of system calls, context switches and hardware events.
    in_kernel: [u32; 3],
    first_time: Option<u64>,
    time: u64,
    window: Option<u64>,
    /// Bytes of the instruction that comes next.
    encoding: Vec<u8>,
    codes: FxHashMap<(u64, u64), (CodeId, u8)>,
    /// How the instruction fetched last ends its block.
    flow: Flow,
    /// Address of the instruction fetched last, and of the one behind it.
    last: u64,
    next: u64,
    without_code: u64,
}

impl<'b, 'p, W: Write + Seek> Reader<'b, 'p, W> {
    fn new(builder: &'b mut Builder<W>, taken: &'b mut Taken<'p>) -> Self {
        Reader {
            builder,
            taken,
            place: Place::Record { number: 0, offset: 0 },
            begun: false,
            footed: false,
            machine: Machine::default(),
            thread: 0,
            processes: FxHashMap::default(),
            file_type: 0,
            page_size: 4096,
            physical: None,
            in_kernel: [0; 3],
            first_time: None,
            time: 0,
            window: None,
            encoding: Vec::new(),
            codes: FxHashMap::default(),
            flow: Flow::Other,
            last: 0,
            next: 0,
            without_code: 0,
        }
    }

    fn malformed(&self, what: String) -> ImportError {
        ImportError::Malformed { place: self.place, what, format: Drmemtrace::NAME }
    }

    fn unsupported(&self, what: String) -> ImportError {
        ImportError::Unsupported { place: self.place, what }
    }

    fn entry(&mut self, bytes: &[u8; SIZE]) -> Result<(), ImportError> {
        let entry = Entry::decode(bytes);
        self.taken.tick();
        if !self.begun {
            return self.begin(entry);
        }
        self.footed = entry.kind == kind::FOOTER;
        match entry.kind {
            kind::READ => self.data(AccessKind::Read, entry),
            kind::WRITE => self.data(AccessKind::Write, entry),
            kind::PREFETCH..=kind::PREFETCH_INSTR
            | kind::PREFETCH_READ_L1_NT..=kind::PREFETCH_WRITE_L3_NT
            | kind::HARDWARE_PREFETCH => {
                self.taken.leave_out("prefetches");
                Ok(())
            }
            kind::INSTR..=kind::RETURN | kind::SYSENTER | kind::TAKEN_JUMP | kind::UNTAKEN_JUMP => {
                self.instruction(entry)
            }
            kind::NO_FETCH => self.without_fetch(entry),
            kind::MAYBE_FETCH if entry.value == self.last => self.without_fetch(entry),
            kind::MAYBE_FETCH => self.instruction(entry),
            kind::BUNDLE => self.bundle(entry),
            kind::INSTR_FLUSH..=kind::DATA_FLUSH_END => {
                self.taken.leave_out("flushes of address ranges");
                Ok(())
            }
            kind::THREAD | kind::THREAD_EXIT => {
                self.thread = entry.value;
                if let Some(&process) = self.processes.get(&self.thread) {
                    self.machine.set_process(process);
                }
                Ok(())
            }
            kind::PID if entry.value > MAX_PROCESS => {
                Err(self.malformed(format!("process {}, more than {MAX_PROCESS}", entry.value)))
            }
            kind::PID => {
                self.processes.insert(self.thread, entry.value);
                self.machine.set_process(entry.value);
                Ok(())
            }
            kind::HEADER => self.version(entry.value),
            kind::FOOTER => Ok(()),
            kind::MARKER => self.marker(entry),
            kind::ENCODING => self.encoding(entry),
            other => Err(self.malformed(format!("a record of type {other}"))),
        }
    }

    fn begin(&mut self, entry: Entry) -> Result<(), ImportError> {
        if entry.kind != kind::HEADER || entry.size != 0 {
            return Err(self.malformed(format!(
                "the stream begins with a record of type {}, not with a header ({}); raw traces \
                 go through DynamoRIO's raw2trace first",
                entry.kind,
                kind::HEADER
            )));
        }
        if entry.value >> 32 != 0 {
            return Err(self.unsupported(
                "the records are of 8 bytes: traces of 32-bit programs are not taken".to_owned(),
            ));
        }
        self.begun = true;
        self.version(entry.value)
    }

    fn version(&self, version: u64) -> Result<(), ImportError> {
        if VERSIONS.contains(&version) {
            return Ok(());
        }
        let (first, last) = (VERSIONS.start(), VERSIONS.end());
        Err(self.unsupported(format!(
            "drmemtrace version {version}, but this program reads versions {first} to {last}"
        )))
    }

    /// Ends the block of a call or return, behind its data references.
    #[inline]
    fn settle(&mut self) -> Result<(), ImportError> {
        match std::mem::replace(&mut self.flow, Flow::Other) {
            Flow::Other => Ok(()),
            flow => self.builder.end_block(flow),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), ImportError> {
        self.settle()?;
        self.machine.sync(self.builder)?;
        self.builder.event(event)
    }

    fn data(&mut self, kind: AccessKind, entry: Entry) -> Result<(), ImportError> {
        self.machine.sync(self.builder)?;
        self.builder.data(kind, entry.value, entry.size, false)
    }

    fn instruction(&mut self, entry: Entry) -> Result<(), ImportError> {
        // Tells only where the next data reference comes from.
        if entry.size == 0 {
            return self.without_fetch(entry);
        }
        let Ok(length) = u8::try_from(entry.size) else {
            return Err(
                self.malformed(format!("an instruction of {} bytes, more than 255", entry.size))
            );
        };
        self.settle()?;
        self.machine.sync(self.builder)?;
        let address = entry.value;
        match self.code(address, length)? {
            Some(code) => self.builder.fetch_code(address, code, length)?,
            None => {
                self.without_code += 1;
                self.builder.fetch(address, length)?;
            }
        }
        self.flow = match entry.kind {
            kind::DIRECT_CALL | kind::INDIRECT_CALL => Flow::Call,
            kind::RETURN => Flow::Return,
            _ => Flow::Other,
        };
        (self.last, self.next) = (address, address.wrapping_add(u64::from(length)));
        Ok(())
    }

    /// The bytes of the instruction at `address`: those told just before it, or earlier.
    fn code(&mut self, address: u64, length: u8) -> Result<Option<CodeId>, ImportError> {
        let at = (self.machine.process(), address);
        if self.encoding.is_empty() {
            let known = self.codes.get(&at).filter(|(_, known)| *known == length);
            return Ok(known.map(|(code, _)| *code));
        }
        let bytes = std::mem::take(&mut self.encoding);
        if self.foreign_code() {
            return Ok(None);
        }
        if bytes.len() != usize::from(length) || u16::from(length) > MAX_LENGTH {
            return Err(self.malformed(format!(
                "{} bytes of code for an instruction of {length} bytes",
                bytes.len()
            )));
        }
        let code = self.builder.code(&bytes);
        self.codes.insert(at, (code, length));
        self.encoding = bytes;
        self.encoding.clear();
        Ok(Some(code))
    }

    /// True where encodings are not those of x86 instructions.
    fn foreign_code(&self) -> bool {
        use filetype::{AARCH64, ARM32, REGISTER_DEPENDENCIES};
        self.file_type & (AARCH64 | ARM32 | REGISTER_DEPENDENCIES) != 0
    }

    fn encoding(&mut self, entry: Entry) -> Result<(), ImportError> {
        let bytes = entry.value.to_le_bytes();
        let Some(bytes) = bytes.get(..usize::from(entry.size)) else {
            return Err(self.malformed(format!("{} bytes of code in 8", entry.size)));
        };
        if self.encoding.len() + bytes.len() > usize::from(u8::MAX) {
            return Err(self.malformed("more than 255 bytes of code of one instruction".into()));
        }
        self.encoding.extend_from_slice(bytes);
        Ok(())
    }

    fn without_fetch(&mut self, entry: Entry) -> Result<(), ImportError> {
        self.settle()?;
        self.machine.sync(self.builder)?;
        self.encoding.clear();
        let length = u8::try_from(entry.size).unwrap_or(u8::MAX);
        self.builder.refer_to(entry.value, length)
    }

    /// Instructions behind the one fetched last, by their lengths.
    fn bundle(&mut self, entry: Entry) -> Result<(), ImportError> {
        let lengths = entry.value.to_le_bytes();
        let Some(lengths) = lengths.get(..usize::from(entry.size)) else {
            return Err(self.malformed(format!("{} lengths of instructions in 8", entry.size)));
        };
        for &length in lengths {
            let size = u16::from(length);
            self.instruction(Entry { kind: kind::INSTR, size, value: self.next })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), ImportError> {
        if !self.footed {
            let what = "no footer follows this record".to_owned();
            return Err(ImportError::CutOff { place: self.place, what });
        }
        self.settle()?;
        if self.machine.cpus() > 1 {
            self.taken.notes.push(format!(
                "{} CPUs, numbered in the order in which they appear",
                self.machine.cpus()
            ));
        }
        let lacks = &mut self.taken.lacks;
        lacks.translations = !self.machine.paging;
        lacks.contexts = !self.machine.process_known;
        lacks.code = self.without_code > 0 || self.builder.counted().fetches == 0;
        // The code tells.
        lacks.modifies = lacks.code;
        Ok(())
    }
}
