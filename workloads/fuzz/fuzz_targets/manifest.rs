//! Any text as a manifest: refused with a reason, or read, written and read again as the same.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use strata_workloads::manifest::CaptureManifest;

fuzz_target!(|text: &str| {
    let path = Path::new("capture.toml");
    if let Ok(manifest) = CaptureManifest::from_toml(text, path) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        manifest.save(folder.path()).expect("a temporary file can be written");
        let again = CaptureManifest::load(folder.path()).expect("what was written can be read");
        assert_eq!(manifest, again);
    }
});
