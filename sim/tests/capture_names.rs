//! Names from a capture folder made here.

use std::fs;
use std::path::Path;
use strata_sim::{CaptureNames, Name, Namer, Naming, Place};
use strata_symbols::{DomainId, Layer};
use strata_workloads::manifest::CaptureManifest;
use strata_workloads::trace::SpaceId;

const MANIFEST: &str = r#"
schema = 1
scenario = "test"
command = ["strata", "capture"]
guest-command = "true"
trace = "trace.strata"
deterministic = true

[machine]
qemu = "10.0.2"
cpu-model = "core2duo"
cpus = 1
memory-mib = 1024
icount-shift = 3
xen-options = ""
linux-options = ""

[hypervisor]
name = "xen"
version = "4.17"
map = "symbols/xen.map"

[hypervisor.layout]
curr-vcpu = "0xffff82d040000000"
current = 24
vcpu-domain = 16
vcpu-id = 0
domain-id = 0

[[domain]]
id = 0
name = "dom0"
kernel = "6.1"
kallsyms = "symbols/dom0.kallsyms"

[[domain]]
id = 1
name = "dom1"
kernel = "6.1"
kallsyms = "symbols/dom1.kallsyms"
"#;

fn folder(dom1: &str) -> (tempfile::TempDir, CaptureManifest) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("can be made");
        fs::write(path, text).expect("can be written");
    };
    write("capture.toml", MANIFEST);
    write(
        "symbols/xen.map",
        "0xffff82d040201190 T lstar_enter\n0xffff82d0402012e0 T cstar_enter\n",
    );
    write("symbols/dom0.kallsyms", "ffffffff81000000 T _text\nffffffffc0201000 t rx\t[netback]\n");
    if !dom1.is_empty() {
        write("symbols/dom1.kallsyms", dom1);
    }
    let manifest = CaptureManifest::load(folder.path()).expect("a valid manifest");
    (folder, manifest)
}

fn ask(names: &mut CaptureNames, layer: Layer, address: u64) -> Option<Name> {
    let place = Place { layer, space: Some(SpaceId(0)), address, code: &[0x90; 4] };
    match names.name(&place) {
        Naming::Known(name) => name,
        Naming::Later => names.settle(&place),
    }
}

#[test]
fn the_same_address_has_each_domains_own_name() {
    let (folder, manifest) = folder("ffffffffc0201000 t tx\t[netfront]\n");
    let mut names = CaptureNames::open(folder.path(), &manifest).expect("usable symbols");
    let mut module = |layer| ask(&mut names, layer, 0xffff_ffff_c020_1004).map(|name| name.module);
    assert_eq!(module(Layer::Kernel(DomainId(0))).as_deref(), Some("netback"));
    assert_eq!(module(Layer::Kernel(DomainId(1))).as_deref(), Some("netfront"));
    assert_eq!(module(Layer::User(DomainId(1))), None);
    let xen = ask(&mut names, Layer::Idle, 0xffff_82d0_4020_1195).expect("a name");
    assert_eq!((xen.function.as_str(), xen.address), ("lstar_enter", 0xffff_82d0_4020_1190));
}

fn open_error(folder: &Path, manifest: &CaptureManifest) -> String {
    CaptureNames::open(folder, manifest).err().map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn a_missing_or_foreign_symbol_file_is_named_with_its_remedy() {
    let (missing, manifest) = folder("");
    let error = open_error(missing.path(), &manifest);
    assert!(error.contains("dom1.kallsyms") && error.contains("--no-symbols"), "{error}");
    let (foreign, manifest) = folder("\u{7f}ELF this is no list");
    let error = open_error(foreign.path(), &manifest);
    assert!(error.contains("dom1.kallsyms") && error.contains("ELF"), "{error}");
}

#[test]
fn fingerprints_tell_the_symbols_of_another_build() {
    let (folder, manifest) = folder("ffffffffc0201000 t tx\t[netfront]\n");
    let kernel = Layer::Kernel(DomainId(1));
    let mut names = CaptureNames::open(folder.path(), &manifest).expect("usable symbols");
    ask(&mut names, kernel, 0xffff_ffff_c020_1004);
    let prints = names.fingerprints(&manifest);
    let mut file = Vec::new();
    strata_symbols::write_fingerprints(&prints, &mut file).expect("written to memory");
    fs::write(folder.path().join(strata_sim::FINGERPRINTS), file).expect("can be written");

    let mut same = CaptureNames::open(folder.path(), &manifest).expect("usable symbols");
    ask(&mut same, kernel, 0xffff_ffff_c020_1004);
    assert!(same.check().is_ok());

    let mut other = CaptureNames::open(folder.path(), &manifest).expect("usable symbols");
    let address = 0xffff_ffff_c020_1004;
    other.name(&Place { layer: kernel, space: None, address, code: &[0xcc; 4] });
    let error = other.check().err().map(|e| e.to_string()).unwrap_or_default();
    assert!(error.contains("dom1-kernel") && error.contains("0xffffffffc0201"), "{error}");
}

#[test]
fn symbols_under_which_calls_land_inside_functions_are_refused() {
    let kernel = Layer::Kernel(DomainId(1));
    let verdict = |shift: u64| {
        let list: String = (0..100u64)
            .map(|i| format!("{:x} T f{i}\n", 0xffff_ffff_8100_0000 + 0x40 * i + shift))
            .collect();
        let (folder, manifest) = folder(&list);
        let mut names = CaptureNames::open(folder.path(), &manifest).expect("usable symbols");
        for i in 0..100u64 {
            let address = 0xffff_ffff_8101_0000 + 16 * i;
            let target = 0xffff_ffff_8100_0000 + 0x40 * i;
            let displacement = target.wrapping_sub(address + 5) as u32;
            let mut code = vec![0xe8];
            code.extend(displacement.to_le_bytes());
            names.name(&Place { layer: kernel, space: None, address, code: &code });
        }
        names.check().err().map(|error| error.to_string())
    };
    assert_eq!(verdict(0), None);
    let error = verdict(0x10).unwrap_or_default();
    assert!(error.contains("dom1-kernel") && error.contains("0 of 100"), "{error}");
}
