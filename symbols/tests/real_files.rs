//! Excerpts of real files of symbols, see `data/README.md`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use strata_symbols::{
    BuildId, SymbolTable, read_kallsyms, read_kallsyms_with_modules, read_proc_maps,
    read_proc_modules, read_system_map, read_xen_map,
};

const KALLSYMS: &[u8] = include_bytes!("data/kallsyms-debian-6.1.txt");
const MODULES: &[u8] = include_bytes!("data/modules-debian-6.1.txt");
const NOTES: &[u8] = include_bytes!("data/notes-debian-6.1.bin");
const XEN_MAP: &[u8] = include_bytes!("data/xen-syms-4.17.map");
const NM: &[u8] = include_bytes!("data/nm-hello.txt");

/// `module:function+offset`, or `-`.
fn name(table: &SymbolTable, address: u64) -> String {
    table.lookup(address).map_or("-".to_owned(), |hit| {
        format!("{}:{}+{:#x}", hit.symbol.module, hit.symbol.name, hit.offset)
    })
}

#[test]
fn kernel_addresses_get_their_function_and_module() {
    let modules = read_proc_modules(MODULES, "modules").unwrap();
    let kernel = read_kallsyms_with_modules(KALLSYMS, "kallsyms", &modules).unwrap();
    for (address, expected) in [
        (0xffff_ffff_8188_bf41, "vmlinux:tcp_sendmsg+0x1"),
        (0xffff_ffff_8188_bf3f, "vmlinux:tcp_sendmsg_locked+0xc1f"),
        // Not `_stext` or `_text`, which begin at the same address.
        (0xffff_ffff_8100_0000, "vmlinux:startup_64+0x0"),
        // Not `__memcpy`, which is global where `memcpy` is weak.
        (0xffff_ffff_81a4_8e80, "vmlinux:memcpy+0x0"),
        // Not `__indirect_thunk_start`.
        (0xffff_ffff_81e0_1580, "vmlinux:__x86_indirect_thunk_rax+0x0"),
        (0xffff_ffff_c020_12a5, "llc:llc_rcv+0x5"),
        // Behind the end of the kernel's text, where nothing can run.
        (0xffff_ffff_81e0_1d40, "-"),
        (0xffff_ffff_81a5_aa68, "-"),
        // Data, and addresses relative to a processor's own memory.
        (0xffff_ffff_c020_3010, "-"),
        (0x1000, "-"),
    ] {
        assert_eq!(name(&kernel, address), expected, "{address:#x}");
    }
    let data = kernel.lookup_data(0xffff_ffff_c020_3010).unwrap();
    assert_eq!((data.symbol.name, data.symbol.module), ("llc_sap_list", "llc"));
    assert!(kernel.overlaps().is_empty(), "{:?}", kernel.overlaps());
}

#[test]
fn modules_of_two_boots_in_one_table_are_reported() {
    let mut mixed = KALLSYMS.to_vec();
    mixed.extend(b"ffffffffc0201280 t netback_poll\t[xen_netback]\n");
    let overlaps = read_kallsyms(&mixed, "kallsyms").unwrap().overlaps().to_vec();
    assert_eq!(overlaps.len(), 1, "{overlaps:?}");
    assert!(overlaps[0].to_string().starts_with("modules llc and xen_netback both claim"));
}

#[test]
fn the_build_id_of_a_running_kernel_is_in_its_notes() {
    let id = BuildId::from_notes(NOTES).unwrap();
    assert_eq!(id.to_string(), "eb4fbcd037e7253717950bf2b93bd5566f47c56f");
    let kernel = read_kallsyms(KALLSYMS, "kallsyms").unwrap().with_build_id(id.clone());
    assert_eq!(kernel.build_id(), Some(&id));
}

#[test]
fn xens_addresses_get_function_and_source_file() {
    let xen = read_xen_map(XEN_MAP, "xen-syms.map").unwrap();
    for (address, expected) in [
        (0xffff_82d0_4020_1000, "xen:restore_all_guest+0x0"),
        (0xffff_82d0_4020_1191, "xen:lstar_enter+0x1"),
        // The largest function of Xen, 145 KiB, named to its last byte.
        (0xffff_82d0_4032_e970 + 148_719, "xen:x86_emulate+0x244ef"),
        (0xffff_82d0_4000_0000, "-"),
    ] {
        assert_eq!(name(&xen, address), expected, "{address:#x}");
    }
    let local = xen.find("restore_all_guest").next().unwrap();
    assert_eq!(local.source_file, Some("x86_64/entry.S"));
    let start = xen.lookup(0xffff_82d0_4020_0000).unwrap().symbol;
    let aliases: Vec<&str> = xen.aliases(start.id).map(|symbol| symbol.name).collect();
    assert_eq!(aliases, ["start", "_start", "_stext"]);
}

#[test]
fn nm_output_gives_sizes() {
    let table = read_system_map(NM, "nm", "hello").unwrap();
    let main = table.find("main").next().unwrap();
    assert!(main.size_is_given);
    assert_eq!(name(&table, main.end() - 1), format!("hello:main+{:#x}", main.size - 1));
    assert_eq!(name(&table, main.end()), "-");
    let counter = table.find("counter").next().unwrap();
    assert_eq!(table.lookup_data(counter.address + 3).unwrap().symbol, counter);
    assert_eq!(table.lookup(counter.address), None);
}

#[test]
fn mappings_of_static_and_dynamic_programs_are_read() {
    let busybox = read_proc_maps(include_bytes!("data/maps-busybox.txt"), "maps").unwrap();
    let text = busybox.iter().find(|m| m.executable).unwrap();
    assert_eq!(
        (text.start, text.offset, text.path.as_deref()),
        (0x40_1000, 0x1000, Some("/bin/busybox"))
    );
    let cat = read_proc_maps(include_bytes!("data/maps-cat.txt"), "maps").unwrap();
    let executable: Vec<&str> =
        cat.iter().filter(|m| m.executable).filter_map(|m| m.path.as_deref()).collect();
    assert_eq!(
        executable,
        [
            "/usr/bin/cat",
            "/usr/lib/x86_64-linux-gnu/libc.so.6",
            "[vdso]",
            "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "[vsyscall]"
        ]
    );
}
