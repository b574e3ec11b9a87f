//! Identification of images, on the process that runs this very test: its mappings, the files
//! behind them, and the bytes in its memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use strata_symbols::{
    AddressSpaceId, AddressSpaceSymbols, DomainId, DomainSymbols, ExecutedCode, Fingerprint, Layer,
    LoadBias, MachineSymbols, Mapping, ProcessMaps, SymbolTable, UserImage, read_file,
    read_proc_maps, write_trimmed_image,
};

/// What a capture would have: files, mappings, executed code.
struct Process {
    images: Vec<Arc<UserImage>>,
    maps: ProcessMaps,
    code: ExecutedCode,
    /// Addresses of functions, with module and name.
    known: Vec<(u64, String, &'static str)>,
}

#[inline(never)]
fn known_function(x: u64) -> u64 {
    std::hint::black_box(x).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn this_process() -> Process {
    let bytes = std::fs::read("/proc/self/maps").unwrap();
    let mappings = read_proc_maps(&bytes, "/proc/self/maps").unwrap();
    let files: Vec<&Mapping> = mappings
        .iter()
        .filter(|m| m.executable && m.path.as_deref().is_some_and(|path| path.starts_with('/')))
        .collect();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut code = ExecutedCode::new();
    for mapping in &files {
        // Some hundred blocks of each, as a trace would have them.
        for at in (mapping.start..mapping.end - 64).step_by(1000).take(300) {
            let mut block = [0; 40];
            memory.read_exact_at(&mut block, at).unwrap();
            code.add(at, &block);
        }
    }
    let mut images: Vec<Arc<UserImage>> = Vec::new();
    for path in files.iter().filter_map(|m| m.path.as_deref()) {
        if images.iter().all(|image| image.path() != path) {
            let bytes = read_file(path.as_ref()).unwrap();
            images.push(Arc::new(UserImage::read(&bytes, path, path).unwrap()));
        }
    }
    let own = std::env::current_exe().unwrap();
    let own = own.file_name().unwrap().to_str().unwrap().to_owned();
    let function = known_function as *const () as u64;
    let known = vec![(function, own, "running_process::known_function")];
    let maps = ProcessMaps { pid: std::process::id(), name: "test".to_owned(), mappings };
    Process { images, maps, code, known }
}

fn check_names(process: &Process, space: &AddressSpaceSymbols) {
    for (address, module, function) in &process.known {
        let place = space.lookup(*address + 1).unwrap();
        assert_eq!(place.module, *module);
        assert_eq!(place.symbol.unwrap().display_name(), *function);
        assert_eq!((place.start, place.offset), (*address, 1));
    }
}

#[test]
fn a_process_is_recognised_by_its_executed_code() {
    let process = this_process();
    let mut domain = DomainSymbols::new(SymbolTable::default());
    process.images.iter().for_each(|image| domain.add_image(Arc::clone(image)));
    // A process with the same images elsewhere, as another would have them.
    let mut other = process.maps.clone();
    for mapping in &mut other.mappings {
        mapping.start = mapping.start.wrapping_add(0x10_0000);
        mapping.end = mapping.end.wrapping_add(0x10_0000);
    }
    other.name = "other".to_owned();
    domain.add_process(other);
    domain.add_process(process.maps.clone());

    let id = AddressSpaceId(0x1234_5000);
    let space = domain.identify(id, &process.code);
    assert_eq!(space.process(), Some((process.maps.pid, "test")));
    assert!(space.rejected().is_empty(), "{}", space.rejected()[0]);
    assert_eq!(space.unplaced_lines(), 0);
    for placement in space.placements().iter().filter(|p| p.image.is_some()) {
        assert_eq!(placement.agreement.differed, 0, "{}", placement.module);
    }
    check_names(&process, space);

    let mut machine = MachineSymbols::new(SymbolTable::default());
    machine.add_domain(DomainId(1), domain);
    let (address, _, function) = process.known[0].clone();
    let user = Layer::User(DomainId(1));
    let symbol = machine.lookup(user, id, address).unwrap().symbol.unwrap();
    assert_eq!(symbol.display_name(), function);
    assert_eq!(machine.lookup(user, AddressSpaceId(0), address), None);
    assert_eq!(machine.lookup(Layer::User(DomainId(0)), id, address), None);
}

#[test]
fn images_are_found_without_any_mappings() {
    let process = this_process();
    let space = AddressSpaceSymbols::identify(&process.images, &[], &process.code);
    assert_eq!(space.process(), None);
    assert_eq!(space.unplaced_lines(), 0);
    check_names(&process, &space);
}

#[test]
fn a_wrong_file_is_rejected_and_reported() {
    let process = this_process();
    let own = process.known[0].1.as_str();
    let path = process.images.iter().find(|image| image.name() == own).unwrap().path().to_owned();
    let mut wrong_code = ExecutedCode::new();
    for mapping in process.maps.mappings.iter().filter(|m| m.path.as_deref() == Some(&path)) {
        if mapping.executable {
            (mapping.start..mapping.end - 64)
                .step_by(1000)
                .take(200)
                .for_each(|at| wrong_code.add(at, &[0x90; 40]));
        }
    }
    // The libraries' code is right, the program's is not.
    let mut mixed = wrong_code;
    let memory = File::open("/proc/self/mem").unwrap();
    for mapping in process.maps.mappings.iter().filter(|m| m.executable) {
        if mapping.path.as_deref().is_some_and(|p| p.contains("libc")) {
            for at in (mapping.start..mapping.end - 64).step_by(1000) {
                let mut block = [0; 40];
                memory.read_exact_at(&mut block, at).unwrap();
                mixed.add(at, &block);
            }
        }
    }
    let space =
        AddressSpaceSymbols::identify(&process.images, std::slice::from_ref(&process.maps), &mixed);
    assert_eq!(space.rejected().len(), 1);
    let message = space.rejected()[0].to_string();
    assert!(message.starts_with(&format!("{path} is mapped by test at load bias")), "{message}");
    assert!(space.unplaced_lines() > 0);
    assert_eq!(space.lookup(process.known[0].0), None);
}

#[test]
fn trimmed_images_with_fingerprints_are_found_and_name_alike() {
    let process = this_process();
    let full = AddressSpaceSymbols::identify(&process.images, &[], &process.code);
    let trimmed: Vec<Arc<UserImage>> = full
        .placements()
        .iter()
        .map(|placement| {
            let image = placement.image.as_ref().unwrap();
            let print =
                Fingerprint::of(&process.code, placement.start, placement.end, placement.bias);
            let used = process.known.iter().map(|(address, ..)| placement.bias.to_image(*address));
            let mut text = Vec::new();
            write_trimmed_image(image, used, &mut text).unwrap();
            Arc::new(UserImage::read(&text, "trimmed", "").unwrap().with_fingerprint(print))
        })
        .collect();
    for processes in [&[][..], std::slice::from_ref(&process.maps)] {
        let space = AddressSpaceSymbols::identify(&trimmed, processes, &process.code);
        assert_eq!(space.unplaced_lines(), 0);
        let biases = |s: &AddressSpaceSymbols| -> Vec<(String, LoadBias)> {
            let placed = s.placements().iter().filter(|p| p.image.is_some());
            placed.map(|p| (p.module.clone(), p.bias)).collect()
        };
        assert_eq!(biases(&space), biases(&full));
        check_names(&process, &space);
    }
}

#[test]
fn code_of_no_known_image_is_left_without_a_name() {
    let process = this_process();
    let mut code = ExecutedCode::new();
    (0..50u64).for_each(|block| code.add(0x40_0000 + block * 100, &[block as u8; 40]));
    let space =
        AddressSpaceSymbols::identify(&process.images, std::slice::from_ref(&process.maps), &code);
    assert!(space.placements().is_empty());
    assert_eq!(space.unplaced_lines(), code.line_count() as u64);
}
