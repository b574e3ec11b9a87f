//! The text that a trimmed table or image is kept in, and its reader.
//!
//! ```text
//! # strata-symbols 1                      version of the format
//! # module vmlinux                        module of symbols that name none
//! # build-id 151b373fd64b32…              where known
//! # path /usr/bin/iperf3                  images only, as are the next
//! # fixed                                 linked for a fixed place
//! # segment 2000 4000 2000 4000 x         address, size, file offset, file size (hexadecimal), x or -
//! ffffffff81000000 T _stext
//! ffffffffc0201000 t xennet_open [xen_netfront]
//! 0000000000001139 00000016 T main        with its size
//! 0000000000001200 t file.c#helper        local, with its source file
//! 0000000000001300 - end                  no symbol without size reaches over this address
//! ```
//!
//! Apart from the header and the end marks this is what `nm -S` prints. Special characters in
//! names are written `\u{HEX}`.

use crate::build_id::BuildId;
use crate::elf_reader::Segment;
use crate::error::Result;
use crate::list_text::unescape;
use crate::symbol::SymbolRecord;
use crate::symbol_line::{self, ListKind, SymbolLine};
use crate::symbol_table::SymbolTable;
use crate::symbol_table_builder::SymbolTableBuilder;
use crate::user_image::{UserImage, file_name};

/// First line of the format, without the version.
pub(crate) const MAGIC: &str = "# strata-symbols ";
/// Version that is written.
pub(crate) const VERSION: &str = "1";

const KIND: ListKind = ListKind {
    name: "a trimmed list of symbols",
    line: "`# strata-symbols 1`, a header line that this version knows, or `ADDRESS [SIZE] TYPE NAME`",
    remedy: "read it with the version of strata that wrote it, or trim the symbols again",
};

/// Whether the bytes begin like a list of this format, of any version.
pub(crate) fn is_list(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC.as_bytes())
}

/// Reads a trimmed list, as [`write_trimmed_table`](crate::write_trimmed_table) makes it. `file`
/// names the input in messages.
///
/// # Errors
/// When it is empty, of another kind or version, or a line is malformed.
pub fn read_symbol_list(bytes: &[u8], file: &str) -> Result<SymbolTable> {
    Ok(read_image(bytes, file)?.symbols)
}

/// Reads a list with the lines that only those of images have.
pub(crate) fn read_image(bytes: &[u8], file: &str) -> Result<UserImage> {
    let mut builder: Option<SymbolTableBuilder> = None;
    let mut header = Header::default();
    let mut is_first = true;
    for (number, line) in symbol_line::lines(bytes, file, &KIND)? {
        let bad = || symbol_line::bad_line(file, number, &line, &KIND);
        if std::mem::take(&mut is_first) {
            // At the very beginning, where `is_list` looks for it.
            (number == 1 && line.strip_prefix(MAGIC).map(str::trim_end) == Some(VERSION))
                .then_some(())
                .ok_or_else(bad)?;
        } else if let Some(field) = line.strip_prefix("# ") {
            header.read(field.trim_end()).ok_or_else(bad)?;
        } else {
            let builder = builder.get_or_insert_with(|| header.builder());
            add_line(builder, &line).ok_or_else(bad)?;
        }
    }
    let mut builder = builder.unwrap_or_else(|| header.builder());
    if let Some(build_id) = header.build_id {
        builder.set_build_id(build_id);
    }
    Ok(UserImage {
        path: header.path,
        symbols: builder.finish(),
        segments: header.segments,
        is_fixed: header.is_fixed,
        ..UserImage::default()
    })
}

/// What the header lines say.
#[derive(Default)]
struct Header {
    module: Option<String>,
    path: String,
    build_id: Option<BuildId>,
    is_fixed: bool,
    segments: Vec<Segment>,
}

impl Header {
    fn builder(&self) -> SymbolTableBuilder {
        SymbolTableBuilder::new(self.module.as_deref().unwrap_or(file_name(&self.path)))
    }

    /// Takes in a line; none when it is not understood.
    fn read(&mut self, field: &str) -> Option<()> {
        let (key, value) = field.split_once(' ').unwrap_or((field, ""));
        match key {
            "module" => self.module = Some(unescape(value).into_owned()),
            "path" => self.path = unescape(value).into_owned(),
            "build-id" => self.build_id = Some(BuildId::from_hex(value)?),
            "fixed" => self.is_fixed = true,
            "segment" => self.segments.push(segment(value)?),
            _ => return None,
        }
        Some(())
    }
}

fn segment(value: &str) -> Option<Segment> {
    let mut words = value.split(' ');
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    let (address, size, offset, file_size) = (number()?, number()?, number()?, number()?);
    let executable = match words.next()? {
        "x" => true,
        "-" => false,
        _ => return None,
    };
    Some(Segment { address, size, offset, file_size, executable })
}

fn add_line(builder: &mut SymbolTableBuilder, line: &str) -> Option<()> {
    let parsed = SymbolLine::parse(line)?;
    if parsed.letter == '-' {
        builder.end_mark(parsed.address);
        return Some(());
    }
    let (kind, binding) = symbol_line::classify(parsed.letter)?;
    let (name, module) = match parsed.rest.split_once(' ') {
        Some((name, module)) => {
            (name, Some(unescape(module.strip_prefix('[')?.strip_suffix(']')?)))
        }
        None => (parsed.rest, None),
    };
    let (source_file, name) = match name.split_once('#') {
        Some((source_file, name)) => (Some(unescape(source_file)), name),
        None => (None, name),
    };
    builder.add(SymbolRecord {
        address: parsed.address,
        size: parsed.size,
        name: &unescape(name),
        source_file: source_file.as_deref(),
        module: module.as_deref(),
        kind,
        binding,
    });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_all_its_parts() {
        let text = b"# strata-symbols 1\n# path /opt/a\\u{20}b\n# build-id 0102\n# fixed\n\
            # segment 2000 4000 1000 3000 x\n0000000000002000 00000010 T main\n\
            0000000000002010 t f.c#helper [m\\u{5d}]\n0000000000002020 - end\n";
        let image = UserImage::read(text, "f", "").unwrap();
        assert_eq!((image.name(), image.is_fixed), ("a b", true));
        assert_eq!(image.build_id().unwrap().to_string(), "0102");
        assert_eq!(image.segments[0].offset, 0x1000);
        let helper = image.symbols().lookup(0x201f).unwrap().symbol;
        assert_eq!((helper.name, helper.source_file, helper.module), ("helper", Some("f.c"), "m]"));
        assert_eq!(image.symbols().lookup(0x2020), None);
    }

    #[test]
    fn newer_versions_and_broken_lines_are_refused() {
        for (text, words) in [
            ("# strata-symbols 2\n", "f:1: expected `# strata-symbols 1`"),
            ("\n# strata-symbols 1\n", "f:2: "),
            ("# strata-symbols 1\n# colour red\n", "f:2: "),
            ("# strata-symbols 1\n\n1000 T name more\n", "f:3: "),
            ("# strata-symbols 1\n1000 Q name\n", "got `1000 Q name`"),
            ("", "the file is empty"),
        ] {
            let error = read_symbol_list(text.as_bytes(), "f").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
