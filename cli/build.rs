//! Puts the bundled sample into the program, so that it is there wherever the program is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SAMPLE: &str = "../workloads/samples/xen-net-tx";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SAMPLE}");
    let root =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join(SAMPLE);
    let mut files = Vec::new();
    if root.is_dir() {
        collect(&root, &mut files)?;
        files.sort();
    }
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?.display().to_string();
        let path = file.canonicalize()?.display().to_string();
        let _ = writeln!(code, "    ({name:?}, include_bytes!({path:?}).as_slice()),");
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("sample.rs"), code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
