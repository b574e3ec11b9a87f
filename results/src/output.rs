//! Writing results: a file as a whole or not at all, and folders that know which files are theirs.

use crate::error::Error;
use crate::result_table::{Table, check_parquet};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use tempfile::NamedTempFile;

/// The list of a result folder's own files, one name on a line.
pub const FILE_LIST: &str = "strata-files.txt";

/// Writes `path` in one step: it is there whole or, after an error, as it was before.
///
/// # Errors
/// [`Error::Exists`] for an existing file unless `replace`, [`Error::Unwritable`] if the system
/// refuses.
pub fn write_file(path: &Path, contents: &[u8], replace: bool) -> Result<(), Error> {
    if is_special(path) {
        return fs::write(path, contents).map_err(unwritable(path));
    }
    // What a link points to is replaced, not the link.
    let target = fs::canonicalize(path);
    let path = target.as_deref().unwrap_or(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let file = temporary(folder, path, contents)?;
    if replace { persist(file, path) } else { persist_new(file, path) }
}

/// The same with contents that are made piece by piece.
///
/// # Errors
/// As [`write_file`], and those of `contents`.
pub fn write_file_with(
    path: &Path,
    replace: bool,
    contents: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Error> {
    let fill = |file: &mut dyn Write| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        contents(&mut file).map_err(|error| match error {
            Error::Output(source) => unwritable(path)(source),
            other => other,
        })?;
        file.flush().map_err(unwritable(path))
    };
    if is_special(path) {
        return fill(&mut fs::File::options().write(true).open(path).map_err(unwritable(path))?);
    }
    let target = fs::canonicalize(path);
    let place = target.as_deref().unwrap_or(path);
    let folder = match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = temporary(folder, place, &[])?;
    fill(&mut file)?;
    if replace { persist(file, place) } else { persist_new(file, place) }
}

/// Says early that a file may not be written, before work is spent on it.
///
/// # Errors
/// As [`write_file`].
pub fn check_writable(path: &Path, replace: bool) -> Result<(), Error> {
    if path.is_dir() {
        return Err(unwritable(path)(io::ErrorKind::IsADirectory.into()));
    }
    if !replace && !is_special(path) && path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// A device or pipe, which is written to and never replaced.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// A folder of results. Files that an earlier run wrote are replaced; no others are touched.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    /// Files of the run before.
    old: BTreeSet<String>,
    /// Written under temporary names; they get their own all at once.
    new: Vec<(String, NamedTempFile)>,
    /// It was made here, and nothing is in it yet.
    is_new: bool,
}

impl Drop for OutputFolder {
    /// An abandoned run leaves no empty folder behind.
    fn drop(&mut self) {
        self.new.clear();
        if self.is_new {
            // Fails if someone has put something there in the meantime, which is right.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

impl OutputFolder {
    /// Makes the folder if need be and finds out which of its files are ours.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for a folder that cannot be made or written, [`Error::List`] for a
    /// list of files that names others.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let is_new = !path.exists();
        fs::create_dir_all(path).map_err(unwritable(path))?;
        let list = path.join(FILE_LIST);
        let text = match fs::read_to_string(&list) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unwritable(&list)(error)),
        };
        let old: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        if let Some(entry) = old.iter().find(|entry| !is_plain(entry)) {
            return Err(Error::List { path: list, entry: entry.clone() });
        }
        let folder = OutputFolder { path: path.to_owned(), old, new: Vec::new(), is_new };
        // Whether it can be written is known now rather than after a long replay.
        temporary(path, path, &[])?;
        Ok(folder)
    }

    /// Adds a file; it appears with [`commit`](Self::commit).
    ///
    /// # Errors
    /// [`Error::Foreign`] if someone else's file has that name, [`Error::Unwritable`] if the
    /// system refuses.
    pub fn write(&mut self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        if !self.old.contains(name) && path.symlink_metadata().is_ok() {
            return Err(Error::Foreign { path, list: FILE_LIST });
        }
        let file = temporary(&self.path, &path, contents)?;
        self.new.push((name.to_owned(), file));
        Ok(())
    }

    /// Adds a table as `stem.csv`, and as `stem.parquet` where this is built with Parquet.
    ///
    /// # Errors
    /// As [`write`](Self::write), and if the table cannot be made.
    pub fn write_table<'t>(
        &mut self,
        stem: &str,
        table: impl Fn() -> Table<'t>,
    ) -> Result<(), Error> {
        self.write(&format!("{stem}.csv"), table().to_csv()?.as_bytes())?;
        if check_parquet().is_ok() {
            let mut parquet = Vec::new();
            table().write_parquet(&mut parquet)?;
            self.write(&format!("{stem}.parquet"), &parquet)?;
        }
        Ok(())
    }

    /// Puts all files in place, removes those of the run before that are no more, and lists what
    /// is there. Gives the names of the files.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if the system refuses.
    pub fn commit(mut self) -> Result<Vec<String>, Error> {
        let names: BTreeSet<String> = self.new.iter().map(|(name, _)| name.clone()).collect();
        // The list names old and new files until all are in place: a run that is killed in between
        // leaves nothing that the next one would not take for its own.
        self.list(self.old.union(&names))?;
        self.is_new = false;
        for (name, file) in self.new.drain(..) {
            persist(file, &self.path.join(name))?;
        }
        for name in self.old.difference(&names) {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(unwritable(&path)(error));
                }
                _ => {}
            }
        }
        self.list(names.iter())?;
        Ok(names.into_iter().collect())
    }

    fn list<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<(), Error> {
        let text: String = names.map(|name| format!("{name}\n")).collect();
        write_file(&self.path.join(FILE_LIST), text.as_bytes(), true)
    }
}

/// The name of a file right in its folder.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

pub(crate) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    |source| Error::Unwritable { path, source }
}

/// `contents` in a file of `folder` that vanishes unless it is renamed; `path` names it in errors.
fn temporary(folder: &Path, path: &Path, contents: &[u8]) -> Result<NamedTempFile, Error> {
    let mut file = tempfile::Builder::new()
        .prefix(".strata-")
        // Less the umask, as any other new file; the crate's own default is private.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|error| unwritable(path)(io::Error::new(error.kind(), reason(&error))))?;
    file.write_all(contents).map_err(unwritable(path))?;
    Ok(file)
}

/// What the system said, without the temporary name that the crate adds.
fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || io::Error::from(error.kind()).to_string(),
        |code| io::Error::from_raw_os_error(code).to_string(),
    )
}

fn persist(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    file.persist(path).map(drop).map_err(|failed| unwritable(path)(failed.error))
}

fn persist_new(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    file.persist_noclobber(path).map(drop).map_err(|failed| match failed.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => unwritable(path)(failed.error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_run_replaces_its_own_files_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.txt"), "mine").unwrap();
        let mut first = OutputFolder::open(folder.path()).unwrap();
        first.write("a.txt", b"1").unwrap();
        first.write("b.txt", b"1").unwrap();
        first.commit().unwrap();
        let mut second = OutputFolder::open(folder.path()).unwrap();
        second.write("b.txt", b"2").unwrap();
        second.commit().unwrap();
        assert_eq!(names(folder.path()), ["b.txt", "mine.txt", FILE_LIST]);
        assert_eq!(fs::read(folder.path().join("b.txt")).unwrap(), b"2");
        assert_eq!(fs::read(folder.path().join("mine.txt")).unwrap(), b"mine");
    }

    #[test]
    fn a_file_of_someone_else_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("layers.txt"), "mine").unwrap();
        let mut output = OutputFolder::open(folder.path()).unwrap();
        let error = output.write("layers.txt", b"ours").unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(fs::read(folder.path().join("layers.txt")).unwrap(), b"mine");
    }

    #[test]
    fn an_abandoned_run_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for place in [folder.path().to_owned(), folder.path().join("new")] {
            let mut output = OutputFolder::open(&place).unwrap();
            output.write("a.txt", b"1").unwrap();
            drop(output);
            assert_eq!(names(folder.path()), [""; 0]);
        }
    }

    #[test]
    fn a_list_that_names_files_elsewhere_is_refused() {
        for entry in ["../other.txt", "/etc/passwd", "a/b", "..", ""] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE_LIST), format!("{entry}\n")).unwrap();
            let error = OutputFolder::open(folder.path()).unwrap_err();
            assert!(matches!(error, Error::List { .. }), "{entry}: {error}");
        }
    }

    #[test]
    fn an_existing_file_is_replaced_only_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        write_file(&path, b"1", false).unwrap();
        assert!(matches!(write_file(&path, b"2", false), Err(Error::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"1");
        write_file(&path, b"2", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = OutputFolder::open(&file.join("report")).unwrap_err().to_string();
        assert!(error.contains("file/report") && error.contains("-o"), "{error}");
    }
}
