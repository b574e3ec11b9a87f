//! The programs of an image that are no package's: built from sources that `strata` carries.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::CaptureError;
use super::error::FileContext;
use super::program::output_of;
use super::recipe;

/// Neither headers nor a C library are needed, so that the compiler alone is enough.
const OPTIONS: &[&str] = &[
    "-O2",
    "-ffreestanding",
    "-nostdlib",
    "-static",
    "-fno-pie",
    "-no-pie",
    "-fno-stack-protector",
    "-fno-tree-loop-distribute-patterns",
    "-Wl,--build-id=none",
    "-s",
];

/// `strata-mark`, built in a folder.
///
/// # Errors
///
/// If the compiler fails.
pub(super) fn marker(folder: &Path) -> Result<Vec<u8>, CaptureError> {
    build("strata-mark.S", recipe::MARKER, folder)
}

/// `strata-guest`, built in a folder.
///
/// # Errors
///
/// If the compiler fails.
pub(super) fn kvm_guest(folder: &Path) -> Result<Vec<u8>, CaptureError> {
    build("strata-guest.c", recipe::KVM_GUEST, folder)
}

fn build(name: &str, text: &str, folder: &Path) -> Result<Vec<u8>, CaptureError> {
    let source = folder.join(name);
    let program = source.with_extension("");
    fs::write(&source, text).on("write", &source)?;
    output_of(
        Command::new("cc").args(OPTIONS).arg("-o").arg(&program).arg(&source),
        "a C compiler for x86-64 is needed, such as gcc",
    )?;
    fs::read(&program).on("read", &program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status that the program of a folder ends with.
    fn status(folder: &Path, program: &str, arguments: &[&str]) -> Option<i32> {
        Command::new(folder.join(program)).args(arguments).status().unwrap().code()
    }

    #[test]
    fn the_marker_program_holds_the_marker_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let program = marker(folder.path()).unwrap();
        let code = [0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x54, 0x53];
        assert!(program.windows(code.len()).any(|window| window == code));
        for (arguments, ends) in [(&["1"][..], 0), (&["65535"], 0), (&[], 2), (&["x"], 2)] {
            let ended = status(folder.path(), "strata-mark", arguments);
            assert_eq!(ended, Some(ends), "strata-mark {arguments:?}");
        }
    }

    #[test]
    fn the_guest_takes_a_number_of_rounds() {
        let folder = tempfile::tempdir().unwrap();
        kvm_guest(folder.path()).unwrap();
        for arguments in [&[][..], &["0"], &["x"], &["10000"], &["1", "2"]] {
            let ended = status(folder.path(), "strata-guest", arguments);
            assert_eq!(ended, Some(2), "strata-guest {arguments:?}");
        }
    }
}
