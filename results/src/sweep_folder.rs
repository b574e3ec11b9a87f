//! Points of sweeps in a folder, each in a file of its own as soon as it is counted.
//!
//! A file is there whole or not at all. It is named after the trace, the part of it, the machine and
//! the version of the program, so that points of several traces and machines may share a folder.

use crate::error::Error;
use crate::output::unwritable;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use strata_cachemodel::Machine;
use strata_sim::SweepPoint;

/// Held by the run that works in the folder; the system lets go of it when the run ends.
const LOCK: &str = "strata-sweep.lock";
/// A point that is being written. Who holds the lock is alone in writing it, so that one name does,
/// and what a killed run leaves is known.
const UNFINISHED: &str = "strata-sweep.unfinished";
const PREFIX: &str = "point-";
const SUFFIX: &str = ".json";
const SCHEMA: u32 = 1;

/// A folder of points, in use by this run alone.
#[derive(Debug)]
pub struct SweepFolder {
    path: PathBuf,
    trace_hash: String,
    part: Part,
    _lock: File,
}

/// What part of a trace points are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    from: u64,
    to: Option<u64>,
    warm_up: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    schema: u32,
    version: String,
    trace_hash: String,
    part: Part,
    /// Without names and costs, which make no difference.
    machine: Machine,
    point: SweepPoint,
}

impl SweepFolder {
    /// Makes the folder if need be and takes hold of it, for points of the trace with this hash;
    /// removes what a killed run was writing. Without `resume` it must hold no points.
    ///
    /// # Errors
    /// [`Error::InUse`] if another run works in it, [`Error::HasPoints`] if it holds points,
    /// [`Error::Unwritable`] if the system refuses.
    pub fn open(path: &Path, trace_hash: String, resume: bool) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(unwritable(path))?;
        let place = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&place)
            .map_err(unwritable(&place))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unwritable(&place)(error)),
        }
        let unfinished = path.join(UNFINISHED);
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unwritable(&unfinished)(error));
            }
            _ => {}
        }
        if !resume && has_points(path).map_err(unwritable(path))? {
            return Err(Error::HasPoints { path: path.to_owned() });
        }
        Ok(SweepFolder { path: path.to_owned(), trace_hash, part: Part::default(), _lock: lock })
    }

    /// The same folder for points of a part of the trace, from instruction `from` up to, and
    /// without, `to`, of which the first `warm_up` are not counted.
    #[must_use]
    pub fn of_part(self, from: u64, to: Option<u64>, warm_up: u64) -> Self {
        SweepFolder { part: Part { from, to, warm_up }, ..self }
    }

    /// The point of this machine, if an earlier run has counted it.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a file that is none of ours or has been changed.
    pub fn find(&self, machine: &Machine) -> Result<Option<SweepPoint>, Error> {
        let machine = machine.as_counted();
        let path = self.place(&machine)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Damaged { path, why: error.to_string() }),
        };
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let saved: Saved =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let is_own = saved.schema == SCHEMA
            && saved.version == env!("CARGO_PKG_VERSION")
            && saved.trace_hash == self.trace_hash
            && saved.part == self.part
            && saved.machine == machine;
        if !is_own {
            return Err(damaged(
                "it is of another trace, part of it, machine or version".to_owned(),
            ));
        }
        let laws = saved.point.counts.check_laws(&machine);
        laws.map_err(|law| damaged(format!("its counts break a law: {law}")))?;
        Ok(Some(saved.point))
    }

    /// Keeps a point.
    ///
    /// # Errors
    /// [`Error::PointNotKept`] if the system refuses; what was kept before stays.
    pub fn keep(&self, machine: &Machine, point: &SweepPoint) -> Result<(), Error> {
        let machine = machine.as_counted();
        let path = self.place(&machine)?;
        let saved = Saved {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trace_hash: self.trace_hash.clone(),
            part: self.part,
            machine,
            point: point.clone(),
        };
        let text = serde_json::to_vec(&saved).map_err(json)?;
        let unfinished = self.path.join(UNFINISHED);
        let written = fs::write(&unfinished, &text).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|source| {
            // What cannot be removed now is removed by the run that goes on.
            let _ = fs::remove_file(&unfinished);
            Error::PointNotKept { path, source }
        })
    }

    fn place(&self, machine: &Machine) -> Result<PathBuf, Error> {
        let mut hasher = blake3::Hasher::new();
        for part in [self.trace_hash.as_str(), env!("CARGO_PKG_VERSION")] {
            hasher.update(part.as_bytes()).update(b"\n");
        }
        hasher.update(&serde_json::to_vec(&(self.part, machine)).map_err(json)?);
        let name = hasher.finalize().to_hex();
        Ok(self.path.join(format!("{PREFIX}{}{SUFFIX}", &name[..32])))
    }
}

fn has_points(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn json(error: serde_json::Error) -> Error {
    Error::Format { format: "JSON", message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_cachemodel::Counts;
    use strata_sim::Remarks;

    fn point(instructions: u64) -> SweepPoint {
        let (counts, remarks) = (Counts::default(), Remarks::default());
        SweepPoint { instructions, rep_iterations: 0, exits: 0, counts, remarks }
    }

    fn open(path: &Path, hash: &str) -> SweepFolder {
        SweepFolder::open(path, hash.to_owned(), true).unwrap()
    }

    #[test]
    fn a_point_is_found_again_under_its_trace_and_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::load("vee07").unwrap();
        let other = machine.with_overrides([("tags", "vpid")]).unwrap();
        open(folder.path(), "a").keep(&machine, &point(7)).unwrap();
        let again = open(folder.path(), "a");
        assert_eq!(again.find(&machine).unwrap(), Some(point(7)));
        assert_eq!(again.find(&other).unwrap(), None);
        drop(again);
        assert_eq!(open(folder.path(), "b").find(&machine).unwrap(), None);
    }

    #[test]
    fn points_of_another_part_of_the_trace_are_others() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::load("vee07").unwrap();
        let part = |warm_up| open(folder.path(), "a").of_part(5, Some(9), warm_up);
        part(1).keep(&machine, &point(7)).unwrap();
        assert_eq!(part(1).find(&machine).unwrap(), Some(point(7)));
        assert_eq!(part(2).find(&machine).unwrap(), None);
        assert_eq!(open(folder.path(), "a").find(&machine).unwrap(), None);
    }

    #[test]
    fn a_machine_of_another_name_is_the_same_point() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::load("vee07").unwrap();
        let renamed = machine.with_overrides([("name", "x"), ("description", "y")]).unwrap();
        let sweep = open(folder.path(), "a");
        sweep.keep(&machine, &point(7)).unwrap();
        assert_eq!(sweep.find(&renamed).unwrap(), Some(point(7)));
    }

    #[test]
    fn two_runs_do_not_share_a_folder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), "a");
        let second = SweepFolder::open(folder.path(), "a".to_owned(), true);
        assert!(matches!(second, Err(Error::InUse { .. })));
        drop(first);
        open(folder.path(), "a");
    }

    #[test]
    fn a_folder_with_points_is_taken_only_to_go_on_in_it() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), "a").keep(&Machine::load("vee07").unwrap(), &point(7)).unwrap();
        let anew = SweepFolder::open(folder.path(), "a".to_owned(), false).unwrap_err();
        assert!(anew.to_string().contains("--resume"), "{anew}");
    }

    #[test]
    fn what_a_killed_run_was_writing_is_removed_and_points_stay() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::load("vee07").unwrap();
        open(folder.path(), "a").keep(&machine, &point(7)).unwrap();
        let unfinished = folder.path().join(UNFINISHED);
        fs::write(&unfinished, "{\"schema\":1,").unwrap();
        let again = open(folder.path(), "a");
        assert!(!unfinished.exists());
        assert_eq!(again.find(&machine).unwrap(), Some(point(7)));
    }

    #[test]
    fn a_changed_file_is_named_and_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::load("vee07").unwrap();
        let sweep = open(folder.path(), "a");
        sweep.keep(&machine, &point(7)).unwrap();
        let path = sweep.place(&machine.as_counted()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for changed in [
            text[..text.len() / 2].to_owned(),
            text.replace("\"trace_hash\":\"a\"", "\"trace_hash\":\"b\""),
            text.replacen(env!("CARGO_PKG_VERSION"), "0.0.0", 1),
            text.replacen("\"hits\":0", "\"hits\":1", 1),
        ] {
            assert_ne!(changed, text);
            fs::write(&path, changed).unwrap();
            let error = sweep.find(&machine).unwrap_err().to_string();
            assert!(error.contains("point-") && error.contains("remove"), "{error}");
        }
    }
}
