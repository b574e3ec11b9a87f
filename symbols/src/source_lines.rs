//! Lines of source code and inlined calls, from debugging information in DWARF format.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use goblin::container::Endian;
use goblin::elf::compression_header::{CompressionHeader, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use goblin::elf::section_header::{SHF_COMPRESSED, SectionHeader};

use crate::demangle::demangle;
use crate::elf_reader::ElfFile;
use crate::input::INPUT_LIMIT_BYTES;

/// Sections that lines and functions are read from; those of variables are left in the file.
const NEEDED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

type Bytes = EndianArcSlice<RunTimeEndian>;

/// A function as the source has it, at one place of its code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its name, demangled; none where nothing tells it.
    pub function: Option<String>,
    /// The source file, as the compiler was told it.
    pub file: Option<String>,
    /// Line in the file, 1-based; none for code that belongs to no line.
    pub line: Option<u32>,
    /// The compiler put its code into that of the next frame, at that frame's line.
    pub inlined: bool,
}

/// The debugging information of one image.
///
/// Parts of it are parsed when an address in them is first asked for.
pub(crate) struct SourceLines {
    // The context keeps what it has parsed in cells that threads cannot share.
    context: Mutex<Context<Bytes>>,
}

impl fmt::Debug for SourceLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceLines").finish_non_exhaustive()
    }
}

impl SourceLines {
    /// The debugging information of a file; `None` if it has none. Files of their own to which
    /// sections refer (split DWARF, `dwz`) are not looked for: functions described there have no
    /// names and no inlined calls.
    ///
    /// # Errors
    /// In words, when it is damaged so far that no address can be looked up.
    pub(crate) fn of(file: &ElfFile<'_>) -> Result<Option<Self>, String> {
        let sections = file.sections.iter();
        let has_info = sections
            .filter(|section| file.section_name(section) == SectionId::DebugInfo.name())
            .any(|section| file.section_bytes(section).is_some_and(|bytes| !bytes.is_empty()));
        if !has_info {
            return Ok(None);
        }
        let order = match file.ctx.le {
            Endian::Little => RunTimeEndian::Little,
            Endian::Big => RunTimeEndian::Big,
        };
        let load = |id: SectionId| -> Result<Bytes, String> {
            let mut sections = file.sections.iter().filter(|_| NEEDED.contains(&id));
            let bytes = match sections.find(|section| file.section_name(section) == id.name()) {
                Some(section) => contents(file, section)
                    .map_err(|why| format!("section {}: {why}", id.name()))?,
                None => Arc::from([]),
            };
            Ok(EndianArcSlice::new(bytes, order))
        };
        let dwarf = Dwarf::load(load)?;
        let context = Context::from_dwarf(dwarf).map_err(|error| error.to_string())?;
        Ok(Some(Self { context: Mutex::new(context) }))
    }

    /// The frames at an image address, innermost first; none where nothing is known.
    ///
    /// # Errors
    /// When the part of the information that holds the address is damaged.
    pub(crate) fn frames(&self, address: u64) -> Result<Vec<Frame>, gimli::Error> {
        // What a panic in another thread left is at worst unparsed.
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let mut iterator = context.find_frames(address).skip_all_loads()?;
        let mut frames = Vec::new();
        while let Some(frame) = iterator.next()? {
            let function = match &frame.function {
                Some(name) => Some(demangle(&name.raw_name()?).into_owned()),
                None => None,
            };
            let location = frame.location.as_ref();
            frames.push(Frame {
                function,
                file: location.and_then(|place| place.file).map(str::to_owned),
                line: location.and_then(|place| place.line),
                inlined: true,
            });
        }
        if let Some(outermost) = frames.last_mut() {
            outermost.inlined = false;
        }
        Ok(frames)
    }
}

/// The bytes of a section, decompressed if need be.
fn contents(file: &ElfFile<'_>, section: &SectionHeader) -> Result<Arc<[u8]>, String> {
    let bytes = file.section_bytes(section).ok_or("lies beyond the end of the file")?;
    if section.sh_flags & u64::from(SHF_COMPRESSED) == 0 {
        return Ok(bytes.into());
    }
    let header_bytes = CompressionHeader::size(file.ctx);
    let packed = bytes.get(header_bytes..).ok_or("is too short for its compression header")?;
    let header = CompressionHeader::parse(bytes, 0, file.ctx).map_err(|e| e.to_string())?;
    if header.ch_size > INPUT_LIMIT_BYTES {
        return Err(format!("has {} bytes, more than {INPUT_LIMIT_BYTES}", header.ch_size));
    }
    let mut plain = Vec::new();
    let read = match header.ch_type {
        ELFCOMPRESS_ZLIB => {
            flate2::read::ZlibDecoder::new(packed).take(header.ch_size).read_to_end(&mut plain)
        }
        ELFCOMPRESS_ZSTD => zstd::Decoder::new(packed)
            .and_then(|decoder| decoder.take(header.ch_size).read_to_end(&mut plain)),
        other => return Err(format!("is compressed by method {other}, known are 1 and 2")),
    };
    match read {
        Ok(count) if count as u64 == header.ch_size => Ok(plain.into()),
        Ok(count) => Err(format!("decompresses to {count} bytes instead of {}", header.ch_size)),
        Err(error) => Err(format!("does not decompress: {error}")),
    }
}
