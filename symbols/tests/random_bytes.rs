//! Whatever bytes a reader is given, it answers with a result.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use strata_symbols::{
    BuildId, ExecutedCode, LoadBias, SymbolSource, UserImage, decompress, demangle,
    read_fingerprints, read_kallsyms, read_proc_maps, read_proc_modules, read_symbol_list,
    read_system_map, read_xen_map,
};

/// Feeds every reader, and uses what comes out.
fn read_all(bytes: &[u8]) {
    for table in [
        read_kallsyms(bytes, "f"),
        read_system_map(bytes, "f", "m"),
        read_xen_map(bytes, "f"),
        read_symbol_list(bytes, "f"),
        SymbolSource::XenElf.read(bytes, "f"),
    ]
    .into_iter()
    .flatten()
    {
        for symbol in table.symbols() {
            let _ = (table.lookup(symbol.address), symbol.display_name());
        }
    }
    let image = UserImage::read(bytes, "f", "/bin/f");
    if let Ok(maps) = read_proc_maps(bytes, "f") {
        let biases = maps.iter().map(|map| image.as_ref().map(|image| image.load_bias(map)));
        biases.for_each(drop);
    }
    if let Ok(image) = image {
        let mut code = ExecutedCode::new();
        code.add(0x1000, bytes);
        let _ = (image.check(&code, LoadBias(0x1000)), image.verify(0, bytes), image.extent());
    }
    let _ = (read_proc_modules(bytes, "f"), read_fingerprints(bytes, "f"));
    let _ = (BuildId::from_notes(bytes), decompress(bytes.to_vec(), "f", 1 << 16));
    let _ = demangle(&String::from_utf8_lossy(bytes)).len();
}

/// Valid beginnings, so that random bytes get past the first check.
const BEGINNINGS: &[&[u8]] = &[
    b"",
    b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0",
    b"\x7fELF\x01\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x08\0\0\0\x01",
    b"\x28\xb5\x2f\xfd",
    b"# strata-symbols 1\n",
    b"# strata-fingerprints 1\nimage a -\n",
    b"ffffffff81000000 T ",
    b"10000-20000 r-xp 0 0:0 0 ",
    b"_ZN",
    b"_R",
];

const REAL: &[&[u8]] = &[
    include_bytes!("data/kallsyms-debian-6.1.txt"),
    include_bytes!("data/modules-debian-6.1.txt"),
    include_bytes!("data/notes-debian-6.1.bin"),
    include_bytes!("data/maps-cat.txt"),
    include_bytes!("data/xen-syms-4.17.map"),
    include_bytes!("data/nm-hello.txt"),
];

proptest! {
    #[test]
    fn random_bytes_never_panic(
        beginning in prop::sample::select(BEGINNINGS),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        read_all(&[beginning, &rest].concat());
    }

    #[test]
    fn damaged_real_files_never_panic(
        file in prop::sample::select(REAL),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = file.to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(length.index(file.len()) + 1);
        read_all(&bytes);
    }

    #[test]
    fn a_damaged_elf_file_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        in_headers in any::<bool>(),
    ) {
        // This very program, cut to a size that many cases can be made of; its headers at the
        // end are moved along.
        let mut bytes = small_elf().to_vec();
        let reach = if in_headers { 64 + 56 * 4 } else { bytes.len() };
        for (at, byte) in damage {
            let at = at.index(reach.min(bytes.len()));
            bytes[at] = byte;
        }
        read_all(&bytes);
    }
}

/// A real library of the C compiler's, if there is one, else a bare header.
fn small_elf() -> &'static [u8] {
    static ELF: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    ELF.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("a.c"), folder.path().join("a.so"));
        std::fs::write(
            &source,
            "extern int puts(const char *); int f(void) { return puts(\"f\"); }",
        )
        .unwrap();
        let status = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&program, &source])
            .status()
            .expect("the tests need a C compiler named cc");
        assert!(status.success());
        std::fs::read(program).unwrap()
    })
}
