//! Linux's `/proc/PID/maps`: what a process has mapped, and where.
//!
//! ```text
//! 7f955248e000-7f95524b4000 r-xp 00026000 fe:00 326279     /usr/lib/x86_64-linux-gnu/libc.so.6
//! ```

use crate::error::Result;
use crate::input;
use crate::symbol_line::{self, ListKind};

const KIND: ListKind = ListKind {
    name: "a process's mappings (a copy of /proc/PID/maps)",
    line: "`START-END PERMISSIONS OFFSET DEVICE INODE PATH`",
    remedy: "copy /proc/PID/maps while the process runs, as its owner or root",
};

/// One mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind, exclusive.
    pub end: u64,
    /// Whether its bytes may be read.
    pub readable: bool,
    /// Whether its bytes may be written.
    pub writable: bool,
    /// Whether its bytes may be executed.
    pub executable: bool,
    /// Whether writes are shared with other processes and the file.
    pub shared: bool,
    /// Offset of `start` in the file, in bytes.
    pub offset: u64,
    /// Device of the file, as the kernel writes it (`fe:00`).
    pub device: String,
    /// Inode of the file, 0 where there is none.
    pub inode: u64,
    /// Path of the file, or what the kernel calls the mapping (`[vdso]`); none for anonymous
    /// memory. Without the kernel's ` (deleted)`.
    pub path: Option<String>,
    /// Whether the file was deleted or replaced since.
    pub deleted: bool,
}

/// The mappings of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessMaps {
    /// The process's number.
    pub pid: u32,
    /// The program's name, as messages show it.
    pub name: String,
    /// Its mappings, by address.
    pub mappings: Vec<Mapping>,
}

/// Reads a copy of `/proc/PID/maps`. `file` names it in messages.
///
/// # Errors
/// When it is empty (as that of a kernel thread is), another kind of file, or a line is malformed.
pub fn read_proc_maps(bytes: &[u8], file: &str) -> Result<Vec<Mapping>> {
    symbol_line::check_not_empty(bytes, file, &KIND)?;
    if let Some(found) = input::foreign_kind(bytes).filter(|&found| found != input::MAPPINGS) {
        return Err(symbol_line::wrong_kind(file, found, &KIND));
    }
    let mut mappings = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let line = String::from_utf8_lossy(line);
        let mapping = parse(&line);
        mappings.push(mapping.ok_or_else(|| symbol_line::bad_line(file, number, &line, &KIND))?);
    }
    mappings.sort_by_key(|mapping| mapping.start);
    Ok(mappings)
}

fn parse(line: &str) -> Option<Mapping> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (range, rest) = line.trim_start().split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (hex(start)?, hex(end)?);
    let (permissions, rest) = rest.trim_start().split_once(' ')?;
    let [r, w, x, s] = *permissions.as_bytes() else { return None };
    let (offset, rest) = rest.trim_start().split_once(' ')?;
    let (device, rest) = rest.trim_start().split_once(' ')?;
    let rest = rest.trim_start();
    let (inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
    let path = path.trim();
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    (start < end).then_some(())?;
    Some(Mapping {
        start,
        end,
        readable: r == b'r',
        writable: w == b'w',
        executable: x == b'x',
        shared: s == b's',
        offset: hex(offset)?,
        device: device.to_owned(),
        inode: inode.trim_end().parse().ok()?,
        path: (!path.is_empty()).then(|| path.to_owned()),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_anonymous_memory_and_special_mappings_are_read() {
        let text = b"7f9552484000-7f955248a000 r-xp 00026000 fe:00 326279       /usr/lib/a b.so (deleted)\n\
            7f955248a000-7f955248b000 rw-p 00000000 00:00 0 \n\
            7f9552681000-7f9552683000 r-xp 00000000 00:00 0                          [vdso]\n";
        let maps = read_proc_maps(text, "m").unwrap();
        assert_eq!(maps.len(), 3);
        assert_eq!(maps[0].path.as_deref(), Some("/usr/lib/a b.so"));
        assert!(maps[0].deleted && maps[0].executable && !maps[0].writable && !maps[0].shared);
        assert_eq!((maps[0].offset, maps[0].inode, &*maps[0].device), (0x26000, 326_279, "fe:00"));
        assert_eq!(maps[1].path, None);
        assert_eq!(maps[2].path.as_deref(), Some("[vdso]"));
    }

    #[test]
    fn foreign_and_malformed_input_is_an_error() {
        for (bytes, words) in [
            (&b""[..], "m: the file is empty"),
            (b"\x7fELF\x02", "this is an ELF file"),
            (b"a\0b", "this is binary data"),
            (b"\n10-20 r-xp 0 0:0 0\n20-10 r-xp 0 0:0 0\n", "m:3: expected `START-END"),
            (b"ffffffff81000000 T _stext\n", "m:1: expected `START-END"),
        ] {
            let error = read_proc_maps(bytes, "m").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
