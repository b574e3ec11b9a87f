//! Programs and libraries built by the C compiler at hand: symbols, stubs, bytes, trimming.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use strata_symbols::{
    CodeCheck, Error, ExecutedCode, Fingerprint, LoadBias, Mapping, USER_TOLERANCE, UserImage,
    Verdict, write_trimmed_image,
};

/// C with names as C++ and Rust compilers make them, so that only a C compiler is needed.
const SOURCE: &str = r#"
extern int puts(const char *);
extern void *malloc(unsigned long);
int counter = 3;
static int __attribute__((noinline)) hidden(int x) { return x * 7 + counter; }
int send_packet(int x) __asm__("_ZN3net6Packet4sendEi");
int send_packet(int x) { puts("sent"); return hidden(x); }
int rust_function(int x) __asm__("_ZN5strat7metrics4read17h0123456789abcdefE");
int rust_function(int x) { return malloc(x) != 0; }
int __strong_name(int x) { return hidden(x) + 1; }
int plain_name(int x) __attribute__((weak, alias("__strong_name")));
__asm__(".text\n.globl sized\n.type sized,@function\nsized:\nnop\nlabel_inside:\nnop\nret\n.size sized,.-sized\n"
        "unsized_label:\nnop\nret\n");
int main(void) { return send_packet(1) + rust_function(2) + plain_name(3); }
"#;

/// Builds `SOURCE` and returns the file's bytes.
fn build(arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
    std::fs::write(&source, SOURCE).unwrap();
    run(Command::new("cc")
        .args(["-O1", "-Wl,--build-id=sha1", "-o"])
        .arg(&program)
        .args(arguments)
        .arg(&source));
    std::fs::read(program).unwrap()
}

fn run(command: &mut Command) {
    let status = command.status().expect("the tests need a C compiler named cc, and binutils");
    assert!(status.success(), "{command:?}");
}

fn strip(bytes: &[u8], arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, bytes).unwrap();
    run(Command::new("strip").args(arguments).arg(&file));
    std::fs::read(file).unwrap()
}

fn image(bytes: &[u8]) -> UserImage {
    UserImage::read(bytes, "program", "/opt/bin/program").unwrap()
}

fn address(image: &UserImage, name: &str) -> u64 {
    image.symbols().find(name).next().unwrap_or_else(|| panic!("no symbol {name}")).address
}

#[test]
fn symbols_have_module_file_and_readable_names() {
    let image = image(&build(&[]));
    assert_eq!((image.name(), image.symbols().own_module()), ("program", "program"));
    assert!(image.build_id().unwrap().as_bytes().len() == 20 && image.has_code());
    let symbols = image.symbols();
    let hidden = symbols.find("hidden").next().unwrap();
    assert_eq!((hidden.source_file, hidden.module), (Some("program.c"), "program"));
    let named = |name: &str| {
        let at = address(&image, name);
        symbols.lookup(at).unwrap().symbol.display_name().into_owned()
    };
    assert_eq!(named("_ZN3net6Packet4sendEi"), "net::Packet::send(int)");
    assert_eq!(named("_ZN5strat7metrics4read17h0123456789abcdefE"), "strat::metrics::read");
    // The weak name without underscores goes before the strong one with them.
    assert_eq!(named("__strong_name"), "plain_name");
    assert_eq!(symbols.find("net::Packet::send(int)").count(), 1);
    let counter = symbols.lookup_data(address(&image, "counter") + 3).unwrap();
    assert_eq!((counter.symbol.name, counter.offset, counter.symbol.size), ("counter", 3, 4));
}

#[test]
fn labels_belong_to_the_sized_function_around_them() {
    let image = image(&build(&[]));
    let label = address(&image, "label_inside");
    let hit = image.symbols().lookup(label).unwrap();
    assert_eq!((hit.symbol.name, hit.offset), ("sized", 1));
    let unsized_label = address(&image, "unsized_label");
    let hit = image.symbols().lookup(unsized_label + 1).unwrap();
    assert_eq!((hit.symbol.name, hit.symbol.size_is_given), ("unsized_label", false));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn stubs_are_named_after_the_functions_they_call() {
    for arguments in [
        &["-Wl,-z,lazy", "-fno-plt"][..],
        &["-Wl,-z,lazy"],
        &["-Wl,-z,now"],
        &["-fcf-protection=full", "-Wl,-z,ibtplt"],
        &["-no-pie"],
    ] {
        let image = image(&build(arguments));
        let stubs: Vec<&str> =
            image.symbols().symbols().map(|s| s.name).filter(|n| n.ends_with("@plt")).collect();
        if arguments.contains(&"-fno-plt") {
            assert!(!stubs.contains(&"puts@plt"), "{stubs:?}");
            continue;
        }
        for function in ["puts@plt", "malloc@plt"] {
            assert!(stubs.contains(&function), "{arguments:?}: {stubs:?}");
            let stub = image.symbols().find(function).next().unwrap();
            assert_eq!(image.symbols().lookup(stub.address + 4).unwrap().symbol.name, function);
        }
    }
}

#[test]
fn a_stripped_library_keeps_its_dynamic_symbols() {
    let library = strip(&build(&["-shared", "-fPIC"]), &[]);
    let image = image(&library);
    let exported = address(&image, "__strong_name");
    assert_eq!(image.symbols().lookup(exported).unwrap().symbol.name, "plain_name");
    assert_eq!(image.symbols().find("hidden").count(), 0);
}

#[test]
fn debugging_symbols_are_taken_from_their_own_file_of_the_same_build() {
    let whole = build(&[]);
    let mut image = image(&strip(&whole, &[]));
    assert_eq!(image.symbols().find("hidden").count(), 0);
    let debug = strip(&whole, &["--only-keep-debug"]);
    assert!(!UserImage::read(&debug, "debug", "/debug").unwrap().has_code());
    image.add_debug_file(&debug, "debug").unwrap();
    let hidden = address(&image, "hidden");
    assert_eq!(image.symbols().lookup(hidden).unwrap().symbol.name, "hidden");
    assert!(image.has_code());
    let other = strip(&build(&["-DOTHER", "-O2"]), &["--only-keep-debug"]);
    let error = image.add_debug_file(&other, "other.debug").unwrap_err();
    assert!(matches!(error, Error::BuildIdMismatch { .. }), "{error}");
    assert!(error.to_string().starts_with("other.debug: build id "), "{error}");
}

#[test]
fn a_load_address_mistake_shows_as_a_mismatch() {
    let image = image(&build(&[]));
    let (main, hidden) = (address(&image, "main"), address(&image, "hidden"));
    let code_of = |image: &UserImage, at: u64, length: usize| {
        let CodeCheck::Mismatch { address, expected } = image.verify(at, &vec![0xcc; length])
        else {
            panic!("code is not all breakpoints");
        };
        assert_eq!(address, at);
        expected
    };
    let bytes = code_of(&image, main, 8);
    assert_eq!(image.verify(main, &bytes), CodeCheck::Match);
    assert_eq!(
        image.verify(hidden, &bytes),
        CodeCheck::Mismatch {
            address: hidden
                + code_of(&image, hidden, 8).iter().zip(&bytes).position(|(a, b)| a != b).unwrap()
                    as u64,
            expected: {
                let own = code_of(&image, hidden, 8);
                let first = own.iter().zip(&bytes).position(|(a, b)| a != b).unwrap();
                own[first..].to_vec()
            }
        }
    );
    assert_eq!(image.verify(0xdead_0000, &bytes), CodeCheck::Unknown);
}

#[test]
fn a_mapping_gives_the_load_bias_or_shows_that_the_file_is_another() {
    let mapping = |start: u64, offset: u64| Mapping {
        start,
        end: start + 0x1000,
        readable: true,
        writable: false,
        executable: true,
        shared: false,
        offset,
        device: "fe:00".to_owned(),
        inode: 7,
        path: Some("/opt/bin/program".to_owned()),
        deleted: false,
    };
    // The linker puts code on its own pages, at the same offset in file and memory.
    let movable = image(&build(&["-pie", "-Wl,-z,separate-code"]));
    let offset = address(&movable, "main") & !0xfff;
    let bias = movable.load_bias(&mapping(0x5555_5555_5000, offset)).unwrap();
    assert_eq!(bias, LoadBias(0x5555_5555_5000 - offset));
    let error = movable.load_bias(&mapping(0x5555_5555_5000, 0x7000_0000)).unwrap_err();
    assert!(matches!(error, Error::Unmappable { .. }), "{error}");

    let fixed = image(&build(&["-no-pie", "-Wl,-z,separate-code"]));
    let start = address(&fixed, "main") & !0xfff;
    let offset = start - fixed.extent().start;
    assert_eq!(fixed.load_bias(&mapping(start, offset)).unwrap(), LoadBias(0));
    let error = fixed.load_bias(&mapping(start + 0x1000, offset)).unwrap_err().to_string();
    assert!(error.starts_with("/opt/bin/program: no loaded segment"), "{error}");
}

#[test]
fn a_trimmed_image_answers_as_the_full_one_and_is_checked_by_fingerprint() {
    let bytes = build(&[]);
    let full = image(&bytes);
    let main = full.symbols().find("main").next().unwrap();
    let mut text = Vec::new();
    let kept = write_trimmed_image(&full, [main.address + 1], &mut text).unwrap();
    assert_eq!(kept, 1, "{}", String::from_utf8_lossy(&text));

    let bias = LoadBias(0x5555_0000_0000);
    let code_of = |image: &UserImage| match image.verify(main.address, &[0xcc; 16]) {
        CodeCheck::Mismatch { expected, .. } => expected,
        other => panic!("{other:?}"),
    };
    let mut code = ExecutedCode::new();
    code.add(bias.to_memory(main.address), &code_of(&full));
    let print = Fingerprint::of(&code, 0, u64::MAX, bias);
    let trimmed = UserImage::read(&text, "trimmed", "ignored").unwrap().with_fingerprint(print);

    assert_eq!((trimmed.path(), trimmed.build_id()), (full.path(), full.build_id()));
    assert_eq!(trimmed.extent(), full.extent());
    assert!(!trimmed.has_code());
    let (before, after) =
        (full.symbols().lookup(main.address), trimmed.symbols().lookup(main.address));
    assert_eq!(
        after.map(|h| (h.symbol.name, h.symbol.size)),
        before.map(|h| (h.symbol.name, h.symbol.size))
    );
    assert_eq!(trimmed.symbols().lookup(address(&full, "hidden")), None);

    assert_eq!(full.check(&code, bias).verdict(USER_TOLERANCE), Verdict::Same);
    assert_eq!(trimmed.check(&code, bias).verdict(USER_TOLERANCE), Verdict::Same);
    let mut other = ExecutedCode::new();
    other.add(bias.to_memory(main.address), &[0x90; 16]);
    assert_eq!(trimmed.check(&other, bias).verdict(USER_TOLERANCE), Verdict::Different);
}

#[test]
fn other_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (source, object) = (folder.path().join("a.c"), folder.path().join("a.o"));
    std::fs::write(&source, "int f(void) { return 1; }").unwrap();
    run(Command::new("cc").arg("-c").arg(&source).arg("-o").arg(&object));
    let read = |bytes: &[u8]| UserImage::read(bytes, "f", "/f").unwrap_err().to_string();
    assert!(read(&std::fs::read(&object).unwrap()).contains("object file"), "object");
    assert!(read(b"").starts_with("f: the file is empty"));
    assert!(read(b"ffffffff81000000 T _stext\n").starts_with("f: this is no ELF file"));
    assert!(read(b"\x1f\x8b\x08\0").contains("gzip"));
    assert!(read(&build(&[])[..40]).starts_with("f: damaged or unsupported ELF file"));
}
