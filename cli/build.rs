//! Puts the bundled samples into the program, so that they are there wherever the program is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SAMPLES: &str = "../workloads/samples";
const BUNDLED: [&str; 2] = ["xen-net-tx", "xen-net-rx"];

fn main() -> io::Result<()> {
    let samples =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join(SAMPLES);
    let mut code = String::from("&[\n");
    for sample in BUNDLED {
        println!("cargo::rerun-if-changed={SAMPLES}/{sample}");
        let root = samples.join(sample);
        let mut files = Vec::new();
        if root.is_dir() {
            collect(&root, &mut files)?;
            files.sort();
        }
        let _ = writeln!(code, "    ({sample:?}, &[");
        for file in files {
            let name = file.strip_prefix(&root).map_err(io::Error::other)?.display().to_string();
            let path = file.canonicalize()?.display().to_string();
            let _ = writeln!(code, "        ({name:?}, include_bytes!({path:?}).as_slice()),");
        }
        code.push_str("    ]),\n");
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("samples.rs"), code)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
