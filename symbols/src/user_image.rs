//! A program or library: its names, its code bytes, and where in memory it may lie.

use std::sync::Arc;

use crate::agreement::Agreement;
use crate::build_id::BuildId;
use crate::elf_reader::{ElfFile, Segment};
use crate::error::{Error, Result};
use crate::executed_code::{CodeLine, ExecutedCode, LINE_BYTES};
use crate::fingerprint::Fingerprint;
use crate::load_bias::LoadBias;
use crate::proc_maps::Mapping;
use crate::source_lines::{Frame, SourceLines};
use crate::symbol_list;
use crate::symbol_table::SymbolTable;
use crate::symbol_table_builder::SymbolTableBuilder;

/// Size of a page, the unit of mappings, in bytes.
const PAGE_BYTES: u64 = 4096;

/// A program or shared library, from its ELF file or from a trimmed list of its symbols.
///
/// Its addresses are *image addresses*, those that the linker gave; a
/// [`LoadBias`] leads to memory and back.
#[derive(Clone, Debug, Default)]
pub struct UserImage {
    pub(crate) path: String,
    pub(crate) symbols: SymbolTable,
    pub(crate) segments: Vec<Segment>,
    /// Linked for one fixed place, so that its load bias is 0.
    pub(crate) is_fixed: bool,
    /// Executable bytes by image address; empty for a trimmed image.
    pub(crate) code: Vec<(u64, Vec<u8>)>,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) lines: Option<Arc<SourceLines>>,
    /// Why there are no lines although the file has debugging information.
    pub(crate) lines_problem: Option<String>,
}

/// Result of comparing executed bytes with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeCheck {
    /// All bytes that the image has are the executed ones.
    Match,
    /// The image has other bytes there.
    Mismatch {
        /// Image address of the first byte that differs.
        address: u64,
        /// The image's bytes from there on, as far as bytes were given.
        expected: Vec<u8>,
    },
    /// The image has no code at the address, or its bytes are not at hand.
    Unknown,
}

impl UserImage {
    /// Reads an ELF program or library, or a trimmed list made of one
    /// (see [`write_trimmed_image`](crate::write_trimmed_image)). `path` is where it lies in the
    /// domain; its last part becomes the name of the module. `file` names the input in messages.
    ///
    /// An image without any symbols is no error: its code is still named after it.
    ///
    /// # Errors
    /// When the bytes are neither, or are damaged.
    pub fn read(bytes: &[u8], file: &str, path: &str) -> Result<Self> {
        if symbol_list::is_list(bytes) {
            let mut image = symbol_list::read_image(bytes, file)?;
            if image.path.is_empty() {
                path.clone_into(&mut image.path);
            }
            return Ok(image);
        }
        let elf = ElfFile::parse(bytes, file)?;
        let mut builder = SymbolTableBuilder::new(file_name(path));
        elf.add_symbols(&mut builder);
        if let Some(build_id) = elf.build_id() {
            builder.set_build_id(build_id);
        }
        let (lines, lines_problem) = match SourceLines::of(&elf) {
            Ok(lines) => (lines.map(Arc::new), None),
            Err(problem) => (None, Some(problem)),
        };
        Ok(Self {
            path: path.to_owned(),
            symbols: builder.finish(),
            segments: elf.loaded_segments(),
            is_fixed: elf.is_fixed,
            code: elf.code_bytes(),
            fingerprint: Fingerprint::default(),
            lines,
            lines_problem,
        })
    }

    /// Takes the symbols and lines of a separate file of debugging symbols, which stripped
    /// programs leave out.
    ///
    /// # Errors
    /// When the file is no ELF file, or belongs to another build.
    pub fn add_debug_file(&mut self, bytes: &[u8], file: &str) -> Result<()> {
        let debug = Self::read(bytes, file, &self.path)?;
        if let (Some(own), Some(other)) = (self.build_id(), debug.build_id())
            && own != other
        {
            return Err(Error::BuildIdMismatch {
                file: file.to_owned(),
                found: other.to_string(),
                other: self.path.clone(),
                expected: own.to_string(),
            });
        }
        if self.lines.is_none() {
            self.lines = debug.lines;
            self.lines_problem = debug.lines_problem.or(self.lines_problem.take());
        }
        let build_id = self.build_id().cloned();
        if debug.symbols.len() > self.symbols.len() {
            self.symbols = debug.symbols;
            self.symbols.build_id = self.symbols.build_id.take().or(build_id);
        }
        Ok(())
    }

    /// Name of the module: the last part of the path.
    pub fn name(&self) -> &str {
        file_name(&self.path)
    }

    /// Where the image lies in its domain.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Which build it is, where the linker said so.
    pub fn build_id(&self) -> Option<&BuildId> {
        self.symbols.build_id()
    }

    /// Its symbols, by image address.
    pub fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Whether the bytes of its code are at hand: not for trimmed images and files of debugging
    /// symbols.
    pub fn has_code(&self) -> bool {
        !self.code.is_empty()
    }

    /// Whether lines of source code are known for some of its code.
    pub fn has_lines(&self) -> bool {
        self.lines.is_some()
    }

    /// Why no lines are known although the file has debugging information: it is damaged.
    pub fn lines_problem(&self) -> Option<&str> {
        self.lines_problem.as_deref()
    }

    /// The functions that the instruction at an image address belongs to, innermost first: the
    /// calls that the compiler inlined there, then the function that holds the code, which has
    /// the symbol's name where there is one. Without debugging information for the address, that
    /// function alone, without file and line; nothing where no symbol is known either.
    ///
    /// The first question about an object file parses its part of the debugging information; ask
    /// once for each instruction of a static block.
    pub fn frames(&self, address: u64) -> Vec<Frame> {
        // A damaged part is as good as none: what the symbols say still holds.
        let lines = self.lines.as_ref().and_then(|lines| lines.frames(address).ok());
        let mut frames = lines.unwrap_or_default();
        if let Some(hit) = self.symbols.lookup(address) {
            let function = Some(hit.symbol.display_name().into_owned());
            match frames.last_mut() {
                Some(outermost) => outermost.function = function,
                None => {
                    frames.push(Frame { function, file: None, line: None, inlined: false });
                }
            }
        }
        frames
    }

    /// Fingerprint of code seen running, by image address; empty unless attached.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Attaches the fingerprint that stands in for the code bytes of a trimmed image.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: Fingerprint) -> Self {
        self.fingerprint = fingerprint;
        self
    }

    /// First image address, and the first behind the last, of all that is loaded.
    pub fn extent(&self) -> std::ops::Range<u64> {
        let start = self.segments.iter().map(|s| s.address & !(PAGE_BYTES - 1)).min().unwrap_or(0);
        let ends = self.segments.iter().map(|s| s.address.saturating_add(s.size));
        let end = ends.max().unwrap_or(0);
        start..end.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX)
    }

    /// The load bias that a mapping of this file implies.
    ///
    /// # Errors
    /// When the file has nothing to load at the mapping's offset, or a program linked for a fixed
    /// place is mapped at another: the image is not the file that was running.
    pub fn load_bias(&self, mapping: &Mapping) -> Result<LoadBias> {
        let fits = |segment: &&Segment| {
            let first = segment.offset & !(PAGE_BYTES - 1);
            let end = segment.offset.saturating_add(segment.file_size);
            segment.executable == mapping.executable && (first..end).contains(&mapping.offset)
        };
        let bias = self.segments.iter().find(fits).and_then(|segment| {
            let image_address =
                mapping.offset.wrapping_sub(segment.offset).wrapping_add(segment.address);
            LoadBias::between(image_address, mapping.start)
        });
        bias.filter(|bias| !self.is_fixed || bias.0 == 0).ok_or_else(|| Error::Unmappable {
            image: self.path.clone(),
            offset: mapping.offset,
            address: mapping.start,
        })
    }

    /// Compares executed bytes with the image's at an image address. A wrong load address or a
    /// wrong file shows as a mismatch.
    ///
    /// For programs and libraries only: kernels and hypervisors patch their text when they boot
    /// (processor alternatives, static keys, paravirtual calls), and so does the kernel with the
    /// vDSO, so that their bytes rightly differ from the file's.
    pub fn verify(&self, image_address: u64, bytes: &[u8]) -> CodeCheck {
        let mut known = false;
        for (start, code) in &self.code {
            // Where the given bytes and this piece of code meet, as indices into both.
            let skip = start.saturating_sub(image_address);
            let at = image_address.saturating_sub(*start);
            let (Ok(skip), Ok(at)) = (usize::try_from(skip), usize::try_from(at)) else { continue };
            let (Some(given), Some(own)) = (bytes.get(skip..), code.get(at..)) else { continue };
            known |= !given.is_empty() && !own.is_empty();
            if let Some(first) = given.iter().zip(own).position(|(a, b)| a != b) {
                let length = given.len().min(own.len());
                return CodeCheck::Mismatch {
                    address: image_address + (skip + first) as u64,
                    expected: own[first..length].to_vec(),
                };
            }
        }
        if known { CodeCheck::Match } else { CodeCheck::Unknown }
    }

    /// Compares code that ran in an address space with this image loaded at `bias`: with its
    /// bytes where it has them, else with its fingerprint.
    pub fn check(&self, code: &ExecutedCode, bias: LoadBias) -> Agreement {
        let mut agreement = Agreement::default();
        let extent = self.extent();
        let start = bias.to_memory(extent.start);
        let end = start.saturating_add(extent.end - extent.start);
        for (address, line) in code.lines_in(start, end) {
            agreement.count(address, self.check_line(bias.to_image(address), line));
        }
        agreement
    }

    fn check_line(&self, image_address: u64, line: &CodeLine) -> Option<bool> {
        let mut own = CodeLine::default();
        let first = self.code.partition_point(|(start, code)| {
            start.saturating_add(code.len() as u64) <= image_address
        });
        for (start, code) in self.code[first..].iter() {
            if *start >= image_address.saturating_add(LINE_BYTES) {
                break;
            }
            own.fill(image_address, *start, code);
        }
        if own.mask & line.mask == 0 {
            return self.fingerprint.check_line(image_address, line);
        }
        Some(own.differences(line) == 0)
    }
}

/// The last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}
