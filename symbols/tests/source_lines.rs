//! Inlined calls and source lines: against what binutils says of the same programs, from other
//! forms of debugging information, and from damaged ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use strata_symbols::{Frame, UserImage, decompress, write_trimmed_image};

const FIXTURE: &[u8] = include_bytes!("data/inlined.zst");
const FIXTURE_ADDR2LINE: &str = include_str!("data/inlined.addr2line.txt");

/// Two calls inlined, one into the other, and a function that keeps its own code.
const SOURCE: &str = "\
static inline unsigned long turn(unsigned long x, int by)
{
    return x << by | x >> (64 - by);
}
static inline unsigned long mix(unsigned long x)
{
    x ^= turn(x, 23);
    return x * 0x9e3779b97f4a7c15;
}
__attribute__((noinline)) unsigned long outer(unsigned long x)
{
    return mix(x) + 1;
}
int main(int count, char **words) { return (int)outer(count) & words[0][0]; }
";

fn fixture() -> Vec<u8> {
    decompress(FIXTURE.to_vec(), "inlined.zst", 1 << 20).unwrap()
}

fn image(bytes: &[u8]) -> UserImage {
    UserImage::read(bytes, "program", "/opt/bin/program").unwrap()
}

/// The words of a frame that do not depend on who tells it: file and line.
fn place(frame: &Frame) -> String {
    let line = frame.line.map_or("?".to_owned(), |line| line.to_string());
    format!("{}:{line}", frame.file.as_deref().unwrap_or("??"))
}

/// Address, and of each frame function and place, as GNU addr2line prints them with `-a -f -i`.
fn read_addr2line(text: &str) -> Vec<(u64, Vec<(String, String)>)> {
    let mut said: Vec<(u64, Vec<(String, String)>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(address) = line.strip_prefix("0x") {
            said.push((u64::from_str_radix(address, 16).unwrap(), Vec::new()));
        } else {
            let place = lines.next().unwrap().split(" (disc").next().unwrap();
            said.last_mut().unwrap().1.push((line.to_owned(), place.to_owned()));
        }
    }
    said
}

/// Compares all frames with what binutils says. It calls the innermost frame by the name of the
/// symbol, so that names are compared from the second on.
fn agrees_with_addr2line(image: &UserImage, text: &str) -> usize {
    let said = read_addr2line(text);
    for (address, expected) in &said {
        let frames = image.frames(*address);
        let places: Vec<String> = frames.iter().map(place).collect();
        let expected_places: Vec<&str> = expected.iter().map(|(_, place)| place.as_str()).collect();
        assert_eq!(places, expected_places, "at {address:#x}");
        for (frame, (function, _)) in frames.iter().zip(expected).skip(1) {
            assert_eq!(frame.function.as_deref(), Some(function.as_str()), "at {address:#x}");
        }
        let inlined: Vec<bool> = frames.iter().map(|frame| frame.inlined).collect();
        assert_eq!(inlined.iter().rposition(|&inlined| !inlined), Some(inlined.len() - 1));
        assert_eq!(inlined.iter().filter(|&&inlined| inlined).count(), inlined.len() - 1);
    }
    said.len()
}

#[test]
fn frames_of_every_instruction_are_those_that_binutils_tells() {
    let image = image(&fixture());
    assert!(image.has_lines() && image.lines_problem().is_none());
    assert!(agrees_with_addr2line(&image, FIXTURE_ADDR2LINE) > 20);
}

#[test]
fn inlined_cpp_functions_are_demangled_and_come_innermost_first() {
    let image = image(&fixture());
    let sum = image.symbols().find("net::sum(unsigned int const*, unsigned int)").next().unwrap();
    let mut all = (sum.address..sum.end()).map(|address| image.frames(address));
    let deepest = all.find(|frames| frames.len() == 3).unwrap();
    let functions: Vec<_> =
        deepest.iter().map(|frame| frame.function.as_deref().unwrap()).collect();
    assert_eq!(
        functions,
        [
            // The compiler writes down no mangled name of what is local to the file.
            "turn",
            "net::Checksum::add(unsigned int)",
            "net::sum(unsigned int const*, unsigned int)"
        ]
    );
    let lines: Vec<_> = deepest.iter().map(|frame| frame.line).collect();
    assert_eq!(lines, [Some(6), Some(14), Some(30)]);
    assert_eq!(deepest[0].file.as_deref(), Some("/src/inlined.cpp"));
}

/// `SOURCE` built by the C compiler; `None`, with a message, where there is none.
fn build(folder: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    std::fs::write(&source, SOURCE).unwrap();
    let mut compiler = Command::new("gcc");
    compiler.args(["-O2", "-g", "-o"]).arg(&program).args(arguments).arg(&source);
    match compiler.status() {
        Ok(status) => {
            assert!(status.success(), "{compiler:?}");
            Some(program)
        }
        Err(error) => {
            eprintln!("skipped, there is no gcc: {error}");
            None
        }
    }
}

/// All frames of the function `outer`, by address.
fn frames_of_outer(image: &UserImage) -> Vec<(u64, Vec<Frame>)> {
    let outer = image.symbols().find("outer").next().unwrap();
    (outer.address..outer.end()).map(|address| (address, image.frames(address))).collect()
}

fn knows_inlined_calls(image: &UserImage) -> bool {
    frames_of_outer(image).iter().any(|(_, frames)| {
        let told: Vec<_> =
            frames.iter().map(|frame| (frame.function.as_deref(), frame.line)).collect();
        told == [(Some("turn"), Some(3)), (Some("mix"), Some(7)), (Some("outer"), Some(12))]
    })
}

#[test]
fn every_form_of_debugging_information_tells_the_inlined_calls() {
    for form in [
        &["-gdwarf-5"][..],
        &["-gdwarf-4"],
        &["-gdwarf-5", "-gz=zlib", "-no-pie"],
        &["-gdwarf-4", "-gz=none", "-static-pie"],
        &["-fdebug-types-section"],
        &["-shared", "-fPIC"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some(program) = build(folder.path(), form) else { return };
        let image = image(&std::fs::read(&program).unwrap());
        assert_eq!(image.lines_problem(), None, "{form:?}");
        assert!(knows_inlined_calls(&image), "{form:?}");
        let addresses =
            frames_of_outer(&image).iter().map(|(at, _)| format!("{at:#x}")).collect::<Vec<_>>();
        let mut binutils = Command::new("addr2line");
        binutils.args(["-a", "-f", "-i", "-C", "-e"]).arg(&program).args(addresses);
        match binutils.output() {
            Ok(said) => {
                agrees_with_addr2line(&image, &String::from_utf8(said.stdout).unwrap());
            }
            Err(error) => eprintln!("not compared, there is no addr2line: {error}"),
        }
    }
}

#[test]
fn lines_come_from_a_separate_file_and_are_missing_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path(), &["-Wl,--build-id=sha1"]) else { return };
    let whole = std::fs::read(&program).unwrap();
    let [stripped, debug] =
        [("stripped", "--strip-debug"), ("debug", "--only-keep-debug")].map(|(name, option)| {
            let file = folder.path().join(name);
            std::fs::write(&file, &whole).unwrap();
            assert!(Command::new("strip").arg(option).arg(&file).status().unwrap().success());
            std::fs::read(file).unwrap()
        });
    let mut image = image(&stripped);
    assert!(!image.has_lines());
    for (address, frames) in frames_of_outer(&image) {
        let outer =
            Frame { function: Some("outer".to_owned()), file: None, line: None, inlined: false };
        assert_eq!(frames, [outer], "at {address:#x}");
    }
    assert!(image.frames(u64::MAX).is_empty());
    image.add_debug_file(&debug, "debug").unwrap();
    assert!(image.has_lines() && knows_inlined_calls(&image));
}

#[test]
fn a_trimmed_image_keeps_functions_and_loses_lines() {
    let full = image(&fixture());
    let sum = full.symbols().find("net::sum(unsigned int const*, unsigned int)").next().unwrap();
    let mut list = Vec::new();
    write_trimmed_image(&full, [sum.address], &mut list).unwrap();
    let trimmed = image(&list);
    assert!(!trimmed.has_lines());
    let frames = trimmed.frames(sum.address + 0x10);
    assert_eq!((frames.len(), frames[0].line), (1, None));
    assert_eq!(frames[0].function, full.frames(sum.address + 0x10).pop().unwrap().function);
}

#[test]
fn unusable_debugging_information_is_told_and_symbols_still_answer() {
    let whole = fixture();
    let image = |change: &dyn Fn(&mut [u8], usize)| {
        let mut bytes = whole.clone();
        let at = section_header(&bytes, ".debug_info");
        change(&mut bytes, at);
        self::image(&bytes)
    };
    // Section header, 64-bit: flags at 8, offset in the file at 24, size at 32.
    let beyond = image(&|bytes, at| bytes[at + 24..at + 32].fill(0x7f));
    let compressed = image(&|bytes, at| bytes[at + 9] |= 8);
    let cut = image(&|bytes, at| bytes[at + 32..at + 40].copy_from_slice(&20u64.to_le_bytes()));
    assert!(!beyond.has_lines());
    let problem = compressed.lines_problem().unwrap();
    assert!(problem.starts_with("section .debug_info: "), "{problem}");
    assert!(!compressed.has_lines());
    for image in [beyond, compressed, cut] {
        let sum =
            image.symbols().find("net::sum(unsigned int const*, unsigned int)").next().unwrap();
        let frames = image.frames(sum.address);
        assert_eq!((frames.len(), frames[0].inlined), (1, false));
        assert_eq!(frames[0].function.as_deref(), Some(&*sum.display_name()));
    }
}

/// Where the header of a section lies.
fn section_header(bytes: &[u8], name: &str) -> usize {
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().rev().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte))
    };
    let (table, count, names) = (number(40, 8), number(60, 2), number(62, 2));
    let names = number(table + names * 64 + 24, 8);
    let is_it = |at: &usize| bytes[names + number(*at, 4)..].starts_with(name.as_bytes());
    (0..count).map(|index| table + index * 64).find(is_it).unwrap()
}

proptest! {
    #[test]
    fn damaged_debugging_information_never_panics_and_symbols_still_answer(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        length in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture();
        let debug = {
            let at = section_header(&bytes, ".debug_aranges");
            u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap()) as usize
        };
        let end = {
            let at = section_header(&bytes, ".symtab");
            u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap()) as usize
        };
        for (at, byte) in damage {
            bytes[debug + at.index(end - debug)] = byte;
        }
        if let Some(length) = length {
            // The headers at the end go; what reads it then is an error, no panic.
            bytes.truncate(length.index(bytes.len()) + 1);
        }
        let Ok(image) = UserImage::read(&bytes, "f", "/bin/f") else { return Ok(()) };
        for (range, id) in image.symbols().code_ranges() {
            let symbol = image.symbols().symbol(id).unwrap();
            for address in range {
                let frames = image.frames(address);
                let outermost = frames.last().unwrap();
                prop_assert_eq!(outermost.function.as_deref(), Some(&*symbol.display_name()));
                prop_assert!(!outermost.inlined);
            }
        }
    }
}
