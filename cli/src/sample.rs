//! The bundled samples: real captures inside this program.

use anyhow::{Context, bail};
use std::fs;
use tempfile::TempDir;

/// Path in the capture folder, and contents.
type SampleFile = (&'static str, &'static [u8]);

/// Files of each sample; none if the program was built where there was no such sample.
static SAMPLES: &[(&str, &[SampleFile])] = include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// Unpacks the sample of this name into a folder that vanishes with the value returned.
///
/// # Errors
/// If there is no such sample, or no room for it.
pub(crate) fn unpack(name: &str) -> anyhow::Result<TempDir> {
    let files = SAMPLES.iter().find(|(sample, _)| *sample == name).map_or(&[][..], |(_, f)| f);
    if files.is_empty() {
        bail!(
            "this strata was built without the sample (workloads/samples/{name} was missing); \
             name a capture: strata reproduce CAPTURE"
        );
    }
    let folder = tempfile::Builder::new()
        .prefix("strata-sample-")
        .tempdir()
        .context("no place to unpack the sample; point TMPDIR to a folder with room for 20 MB")?;
    for (name, contents) in files {
        let path = folder.path().join(name);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, contents)
        };
        write().with_context(|| {
            format!("{}: the sample cannot be unpacked; point TMPDIR elsewhere", path.display())
        })?;
    }
    Ok(folder)
}
