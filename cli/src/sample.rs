//! The bundled sample: a real capture inside this program.

use anyhow::{Context, bail};
use std::fs;
use tempfile::TempDir;

/// Files of the sample by their path in the capture folder; none if the program was built where
/// there was no sample.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sample.rs"));

/// Unpacks the sample into a folder that vanishes with the value returned.
///
/// # Errors
/// If there is no sample, or no room for it.
pub(crate) fn unpack() -> anyhow::Result<TempDir> {
    if FILES.is_empty() {
        bail!(
            "this strata was built without the sample (workloads/samples/xen-net-tx was missing); \
             name a capture: strata reproduce CAPTURE"
        );
    }
    let folder = tempfile::Builder::new()
        .prefix("strata-sample-")
        .tempdir()
        .context("no place to unpack the sample; point TMPDIR to a folder with room for 20 MB")?;
    for (name, contents) in FILES {
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
