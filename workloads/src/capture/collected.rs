//! What the domains sent: one archive, with the guest's in it where that is a machine of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::FileContext;
use super::scenario::Platform;
use super::{CaptureError, census};
use crate::manifest::Process;

/// The archive of the guest, inside dom0's.
const GUEST: &str = "dom1.tar";

/// What is kept only when asked for.
const LOGS: [&str; 8] = [
    "xen-dmesg",
    "xen-info",
    "xl.log",
    "xen-init-dom0.log",
    "xentrace.log",
    "xenalyze.log",
    "perf.log",
    "output",
];

/// One domain's files.
#[derive(Debug)]
pub(super) struct DomainFiles {
    /// Its id.
    pub(super) id: u16,
    /// Its name.
    pub(super) name: &'static str,
    files: BTreeMap<String, Vec<u8>>,
}

/// Event traces lie in this folder, in the archive and in a capture.
pub(super) const EVENTS: &str = "events";

/// Unpacks the archive into the files of each domain; what is of interest only when something went
/// wrong goes into `logs`, below the folder given.
///
/// # Errors
///
/// If it is cut off or a file is missing in it.
pub(super) fn unpack(
    platform: Platform,
    archive: &[u8],
    logs: Option<&Path>,
) -> Result<Vec<DomainFiles>, CaptureError> {
    let mut files = files_of(archive)?;
    let domains = match platform {
        Platform::Xen => {
            let guest = files.remove(GUEST).ok_or_else(|| damaged("it lacks the guest's files"))?;
            let guest = DomainFiles { id: 1, name: "dom1", files: files_of(&guest)? };
            vec![DomainFiles { id: 0, name: "dom0", files }, guest]
        }
        Platform::Kvm => vec![DomainFiles { id: 0, name: "linux", files }],
    };
    for domain in &domains {
        for name in ["kallsyms", "modules", "processes", "release"] {
            if domain.files.get(name).is_none_or(Vec::is_empty) {
                return Err(damaged(&format!("{} sent no {name}", domain.name)));
            }
        }
    }
    if let Some(folder) = logs {
        for domain in &domains {
            for name in LOGS {
                if let Some(bytes) = domain.files.get(name) {
                    let path = folder.join(format!("logs/{}-{name}", domain.name));
                    fs::write(&path, bytes).on("write", &path)?;
                }
            }
        }
    }
    Ok(domains)
}

fn files_of(archive: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, CaptureError> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().map_err(|error| damaged(&error.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| damaged(&error.to_string()))?;
        let path = entry.path().map_err(|error| damaged(&error.to_string()))?.into_owned();
        let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        let Some(mut key) = name(&path) else { continue };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        if path.parent().and_then(name).is_some_and(|folder| folder == EVENTS) {
            key = format!("{EVENTS}/{key}");
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| damaged(&error.to_string()))?;
        files.insert(key, bytes);
    }
    Ok(files)
}

fn damaged(problem: &str) -> CaptureError {
    CaptureError::Content {
        path: PathBuf::from("collected.tar"),
        problem: format!("what the guests sent cannot be used: {problem}"),
    }
}

impl DomainFiles {
    /// A file it sent; empty if it did not.
    pub(super) fn file(&self, name: &str) -> &[u8] {
        self.files.get(name).map_or(&[], Vec::as_slice)
    }

    /// The event traces it sent and what their own tools made of them: name in the capture folder,
    /// and contents.
    pub(super) fn events(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let events = self.files.iter().filter(|(name, _)| name.starts_with(EVENTS));
        events.map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// A file as text.
    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(self.file(name)).into_owned()
    }

    /// The processes seen.
    pub(super) fn processes(&self) -> Vec<Process> {
        census::parse(&self.text("processes"))
    }

    /// The lines of the measured command's output worth keeping: iperf3's results, or the end of
    /// another command's output.
    pub(super) fn result_lines(&self) -> Vec<String> {
        const KEPT: usize = 20;
        let output = self.text("output");
        let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
        let results = |line: &&&str| line.ends_with("sender") || line.ends_with("receiver");
        let mut kept: Vec<String> =
            lines.iter().filter(results).map(|line| (*line).to_owned()).collect();
        if kept.is_empty() {
            let from = lines.len().saturating_sub(KEPT);
            kept = lines[from..].iter().map(|line| (*line).to_owned()).collect();
        }
        kept
    }

    /// The GNU build id of the running kernel, from `/sys/kernel/notes`.
    pub(super) fn kernel_build_id(&self) -> Option<Vec<u8>> {
        build_id_in_notes(self.file("notes"))
    }
}

/// ELF notes are a header of three words (name size, content size, type), the name and the
/// content, both padded to four bytes (ELF specification, "Note Section").
fn build_id_in_notes(mut notes: &[u8]) -> Option<Vec<u8>> {
    const BUILD_ID: usize = 3;
    loop {
        let word = |at: usize| {
            notes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
        };
        let (name_size, size, kind) = (word(0)?, word(4)?, word(8)?);
        let content = 12_usize.checked_add(name_size.checked_next_multiple_of(4)?)?;
        let end = content.checked_add(size)?;
        if kind == BUILD_ID && notes.get(12..12 + name_size)? == b"GNU\0" {
            return notes.get(content..end).map(<[u8]>::to_vec);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("./{name}"), *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    const SENT: [(&str, &[u8]); 4] =
        [("kallsyms", b"k"), ("modules", b"m"), ("processes", b"p"), ("release", b"6.1\n")];

    #[test]
    fn the_guests_files_are_inside_dom0s() {
        let guest = tar_of(&SENT);
        let mut all = SENT.to_vec();
        all.push((GUEST, &guest));
        let domains = unpack(Platform::Xen, &tar_of(&all), None).unwrap();
        assert_eq!(domains.iter().map(|domain| domain.id).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(domains[1].text("release"), "6.1\n");
    }

    #[test]
    fn a_cut_off_archive_is_an_error() {
        let whole = tar_of(&[("kallsyms", &[7; 4000])]);
        let error = unpack(Platform::Xen, &whole[..2000], None).unwrap_err();
        assert!(error.to_string().contains("cannot be used"), "{error}");
        assert!(unpack(Platform::Xen, b"", None).is_err());
    }

    #[test]
    fn a_file_that_was_not_sent_is_named() {
        let all = [SENT[0], (GUEST, &[][..])];
        let error = unpack(Platform::Xen, &tar_of(&all), None).unwrap_err();
        assert!(error.to_string().contains("dom0 sent no modules"), "{error}");
    }

    #[test]
    fn a_machine_without_domains_sends_its_files_and_its_events() {
        let mut all = SENT.to_vec();
        all.push(("events/perf.data", b"PERFILE2"));
        let domains = unpack(Platform::Kvm, &tar_of(&all), None).unwrap();
        assert_eq!(domains.len(), 1);
        let events: Vec<_> = domains[0].events().collect();
        assert_eq!(events, [("events/perf.data", &b"PERFILE2"[..])]);
    }

    #[test]
    fn iperf3s_result_lines_are_kept() {
        let output = b"Connecting\n[  5] 0.00-1.00 sec 4.00 MBytes   0  sender\niperf Done.\n";
        let files = BTreeMap::from([("output".to_owned(), output.to_vec())]);
        let lines = DomainFiles { id: 1, name: "dom1", files }.result_lines();
        assert_eq!(lines, ["[  5] 0.00-1.00 sec 4.00 MBytes   0  sender"]);
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let mut notes = Vec::new();
        for (name, kind, content) in
            [(&b"Xen\0"[..], 5_u32, &[1, 2, 3][..]), (b"GNU\0", 3, &[9; 20])]
        {
            notes.extend((name.len() as u32).to_le_bytes());
            notes.extend((content.len() as u32).to_le_bytes());
            notes.extend(kind.to_le_bytes());
            notes.extend(name);
            notes.extend(content);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id_in_notes(&notes), Some(vec![9; 20]));
        assert_eq!(build_id_in_notes(&notes[..20]), None);
        assert_eq!(build_id_in_notes(&[0xff; 12]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = build_id_in_notes(&bytes);
            assert!(unpack(Platform::Xen, &bytes, None).is_err());
        }
    }
}
