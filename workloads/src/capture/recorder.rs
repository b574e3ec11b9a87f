//! The recorder: where it is, how it is told what to do, and what it says.

use std::path::{Path, PathBuf};

use super::CaptureError;
use super::scenario::Patch;
use crate::manifest::XenLayout;

/// Its file name.
const FILE_NAME: &str = "libstrata_recorder.so";
/// Prefix of what it says on standard error.
const PREFIX: &str = "strata-recorder: ";

/// Finds the recorder: the one named, `$STRATA_RECORDER`, or the one beside this program.
///
/// # Errors
///
/// If there is none.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, CaptureError> {
    let named = named
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("STRATA_RECORDER").map(PathBuf::from));
    let searched = match named {
        Some(path) => vec![path],
        None => beside_this_program(),
    };
    searched
        .iter()
        .find(|path| path.is_file())
        // QEMU looks for a bare name in the system's folders, not here.
        .and_then(|path| path.canonicalize().ok())
        .ok_or(CaptureError::Recorder { name: FILE_NAME, searched })
}

fn beside_this_program() -> Vec<PathBuf> {
    let Some(folder) = std::env::current_exe()
        .ok()
        .and_then(|program| program.canonicalize().ok())
        .and_then(|program| program.parent().map(Path::to_path_buf))
    else {
        return Vec::new();
    };
    // Test programs lie in `deps`, one below.
    let mut places = vec![folder.join(FILE_NAME)];
    if folder.ends_with("deps") {
        places.extend(folder.parent().map(|above| above.join(FILE_NAME)));
    }
    places
}

/// The value of QEMU's `-plugin`.
pub(super) fn plugin_option(
    recorder: &Path,
    trace: &Path,
    ram: &Path,
    level: i32,
    layout: Option<&XenLayout>,
    patch: Option<Patch>,
) -> String {
    let path = |path: &Path| path.to_string_lossy().replace(',', ",,");
    let (recorder, trace, ram) = (path(recorder), path(trace), path(ram));
    let mut option = format!("{recorder},out={trace},ram={ram},level={level}");
    if let Some(layout) = layout {
        option += &format!(
            ",curr-vcpu={:x},current={},vcpu-domain={},vcpu-id={},domain-id={}",
            layout.curr_vcpu.0,
            layout.current,
            layout.vcpu_domain,
            layout.vcpu_id,
            layout.domain_id,
        );
    }
    if let Some(patch) = patch {
        option += &format!(",{}", patch.argument);
    }
    option
}

/// What the recorder said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Recording began.
    Armed,
    /// So many instructions and bytes so far.
    Progress { instructions: u64, bytes: u64 },
    /// Recording ended.
    Disarmed { instructions: u64 },
    /// It cannot go on.
    Error(String),
    /// Anything else.
    Other,
}

impl Said {
    /// Reads one line of the emulator's standard error.
    pub(super) fn parse(line: &str) -> Said {
        let Some((_, said)) = line.split_once(PREFIX) else { return Said::Other };
        let mut words = said.split_whitespace();
        let mut numbers = said
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(str::parse::<u64>);
        let mut number = || numbers.next().and_then(Result::ok);
        match words.next() {
            Some("armed") => Said::Armed,
            Some("progress") => match (number(), number()) {
                (Some(instructions), Some(bytes)) => Said::Progress { instructions, bytes },
                _ => Said::Other,
            },
            Some("disarmed") => {
                number().map_or(Said::Other, |instructions| Said::Disarmed { instructions })
            }
            Some("error:") => Said::Error(said["error:".len()..].trim().to_owned()),
            _ => Said::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Scenario;
    use crate::manifest::Address;

    #[test]
    fn the_recorders_lines_are_understood() {
        assert_eq!(Said::parse("strata-recorder: armed at instruction 12"), Said::Armed);
        assert_eq!(
            Said::parse("strata-recorder: progress 1000 250"),
            Said::Progress { instructions: 1000, bytes: 250 }
        );
        assert_eq!(
            Said::parse("strata-recorder: disarmed after 7 instructions, 9 bytes"),
            Said::Disarmed { instructions: 7 }
        );
        assert_eq!(
            Said::parse("strata-recorder: error: disk full"),
            Said::Error("disk full".to_owned())
        );
        assert_eq!(Said::parse("qemu: warning: progress"), Said::Other);
        assert_eq!(Said::parse("strata-recorder: progress soon"), Said::Other);
    }

    #[test]
    fn a_recorder_that_is_not_there_comes_with_the_line_that_builds_it() {
        let error = find(Some(Path::new("/nonexistent.so"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent.so"), "{error}");
        assert!(error.contains("cargo build --release -p strata-recorder"), "{error}");
    }

    #[test]
    fn commas_in_paths_do_not_end_the_option() {
        let layout = XenLayout {
            curr_vcpu: Address(0xff),
            current: 56,
            vcpu_domain: 16,
            vcpu_id: 0,
            domain_id: 0,
        };
        let paths = ["/r.so", "/a,b/trace", "/dev/shm/x"].map(Path::new);
        let option = |layout, patch| plugin_option(paths[0], paths[1], paths[2], 6, layout, patch);
        let alone = "/r.so,out=/a,,b/trace,ram=/dev/shm/x,level=6";
        assert_eq!(option(None, None), alone);
        assert!(option(Some(&layout), None).starts_with(&format!("{alone},curr-vcpu=ff,")));
        let patch = Scenario::XenPvhSvm.patch();
        assert_eq!(option(None, patch), format!("{alone},cr0-reads=direct"));
    }
}
