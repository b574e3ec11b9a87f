//! The output folder: worked on under another name, and named as asked once it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use super::CaptureError;
use super::error::FileContext;
use crate::manifest;

/// Says that a `.partial` folder was made here and may be removed.
const UNFINISHED: &str = "capture.unfinished";

/// A capture folder in the making, at `OUT.partial`.
#[derive(Debug)]
pub(super) struct OutputFolder {
    out: PathBuf,
    partial: PathBuf,
    replace: bool,
}

impl Drop for OutputFolder {
    /// A capture that failed before there was any log leaves nothing.
    fn drop(&mut self) {
        if is_empty_folder(&self.partial.join("logs")) {
            // It can be removed by hand as well.
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

impl OutputFolder {
    /// Checks that the name is free, or may be replaced, and makes the working folder.
    ///
    /// # Errors
    ///
    /// If something else has that name, or the folder cannot be made.
    pub(super) fn prepare(out: &Path, force: bool) -> Result<OutputFolder, CaptureError> {
        let exists = |path: &Path, remedy: &'static str| {
            Err(CaptureError::Exists { path: path.to_path_buf(), remedy })
        };
        let name = out.file_name().ok_or_else(|| {
            CaptureError::Settings(format!("-o {}: it must name a folder to make", out.display()))
        })?;
        let mut partial_name = name.to_os_string();
        partial_name.push(".partial");
        let partial = out.with_file_name(partial_name);
        if out.exists() && !is_empty_folder(out) {
            if !out.join(manifest::FILE_NAME).is_file() {
                return exists(
                    out,
                    "it is not a capture, so it is not replaced; choose another name",
                );
            }
            if !force {
                return exists(out, "it is a capture; --force replaces it");
            }
        }
        if partial.exists() {
            if !partial.join(UNFINISHED).is_file() {
                return exists(&partial, "a capture works there and did not make it; move it away");
            }
            fs::remove_dir_all(&partial).on("remove", &partial)?;
        }
        let logs = partial.join("logs");
        fs::create_dir_all(&logs).on("create", &logs)?;
        let unfinished = partial.join(UNFINISHED);
        fs::write(&unfinished, "strata capture works here\n").on("write", &unfinished)?;
        Ok(OutputFolder { out: out.to_path_buf(), partial, replace: force })
    }

    /// Where to work.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    ///
    /// If the name was taken meanwhile, or renaming fails.
    pub(super) fn finish(self) -> Result<(), CaptureError> {
        let unfinished = self.partial.join(UNFINISHED);
        let replaced = self.partial.with_extension("replaced");
        let had_old = self.replace && self.out.join(manifest::FILE_NAME).is_file();
        if had_old {
            fs::rename(&self.out, &replaced).on("move away", &self.out)?;
        }
        fs::remove_file(&unfinished).on("remove", &unfinished)?;
        fs::rename(&self.partial, &self.out).on("rename the finished capture to", &self.out)?;
        if had_old {
            fs::remove_dir_all(&replaced).on("remove", &replaced)?;
        }
        Ok(())
    }
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_folder_appears_under_its_name_only_when_whole() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("demo");
        let folder = OutputFolder::prepare(&out, false).unwrap();
        fs::write(folder.path().join(manifest::FILE_NAME), "x").unwrap();
        assert!(!out.exists());
        folder.finish().unwrap();
        assert!(out.join(manifest::FILE_NAME).is_file());
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn another_persons_folder_is_never_replaced() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("photos");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("a.jpg"), "x").unwrap();
        for force in [false, true] {
            let error = OutputFolder::prepare(&out, force).unwrap_err();
            assert!(error.to_string().contains("not a capture"), "{error}");
        }
        fs::create_dir(place.path().join("new.partial")).unwrap();
        assert!(OutputFolder::prepare(&place.path().join("new"), true).is_err());
    }

    #[test]
    fn an_earlier_capture_is_replaced_only_when_asked() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("demo");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(manifest::FILE_NAME), "old").unwrap();
        assert!(OutputFolder::prepare(&out, false).unwrap_err().to_string().contains("--force"));
        let folder = OutputFolder::prepare(&out, true).unwrap();
        fs::write(folder.path().join(manifest::FILE_NAME), "new").unwrap();
        folder.finish().unwrap();
        assert_eq!(fs::read_to_string(out.join(manifest::FILE_NAME)).unwrap(), "new");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_an_earlier_failure_left_is_cleared_away() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("demo");
        let failed = OutputFolder::prepare(&out, false).unwrap();
        fs::write(failed.path().join("trace.strata.partial"), "x").unwrap();
        fs::write(failed.path().join("logs/console.log"), "x").unwrap();
        drop(failed);
        assert!(place.path().join("demo.partial").exists(), "a log is kept");
        let folder = OutputFolder::prepare(&out, false).unwrap();
        assert!(!folder.path().join("trace.strata.partial").exists());
        drop(folder);
        assert!(!place.path().join("demo.partial").exists(), "without a log nothing is kept");
    }
}
