//! Finding runs: a `result.json`, the folder of a run, or a folder that holds several.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::record::{AGAINST, BASE, MANIFEST};
use crate::report::{RunResult, json};

/// Folders are searched so many levels deep.
const DEPTH: u32 = 2;

/// A run that was found.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its `result.json`.
    pub file: PathBuf,
    /// The document.
    pub result: RunResult,
}

/// The runs of one side.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where they were looked for.
    pub path: PathBuf,
    /// By the time at which they began.
    pub runs: Vec<Run>,
}

/// Reads every run below a path.
pub fn collect(path: &Path) -> Result<Found, String> {
    let mut root = path.to_owned();
    if path.join(MANIFEST).is_file() {
        if path.join(AGAINST).is_dir() {
            return Err(format!(
                "{0} holds two sides: compare them with `voxload compare {0}`, or name one: {0}/{BASE}, {0}/{AGAINST}",
                path.display()
            ));
        }
        root = path.join(BASE);
    }
    let mut files = BTreeSet::new();
    if root.is_dir() {
        search(&root, DEPTH, &mut files)?;
    } else {
        files.insert(root);
    }
    if files.is_empty() {
        return Err(format!(
            "{} holds no run; expected the {} of a run, its folder, or a folder with the folders of several runs",
            path.display(),
            json::FILE
        ));
    }
    let read = |file: PathBuf| json::read(&file).map(|(result, file)| Run { file, result });
    let mut runs = files.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by(|a, b| a.result.started_at.cmp(&b.result.started_at));
    Ok(Found { path: path.to_owned(), runs })
}

/// Adds the runs in a folder: its own, or those of the folders in it. Links such as `latest` are not followed.
fn search(dir: &Path, depth: u32, files: &mut BTreeSet<PathBuf>) -> Result<(), String> {
    let own = dir.join(json::FILE);
    if own.is_file() {
        files.insert(own);
        return Ok(());
    }
    let cannot = |e: std::io::Error| format!("cannot read {}: {e}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if depth > 0 && entry.file_type().map_err(cannot)?.is_dir() {
            search(&entry.path(), depth - 1, files)?;
        }
    }
    Ok(())
}

/// A run that is on both sides.
pub(super) fn shared(base: &Found, new: &Found) -> Option<PathBuf> {
    let real = |r: &Run| r.file.canonicalize().unwrap_or_else(|_| r.file.clone());
    let theirs: BTreeSet<PathBuf> = base.runs.iter().map(real).collect();
    new.runs.iter().map(real).find(|f| theirs.contains(f))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::compare::sample::write_run;

    #[test]
    fn files_folders_and_folders_of_folders() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        for n in 1..=3 {
            write_run(&home.join(format!("many/run-{n}")), 300.0, n);
        }
        std::os::unix::fs::symlink("run-1", home.join("many/latest")).unwrap();
        assert_eq!(collect(&home.join("many")).unwrap().runs.len(), 3, "links are not followed");
        assert_eq!(collect(&home.join("many/run-1")).unwrap().runs.len(), 1);
        assert_eq!(collect(&home.join("many/run-1/result.json")).unwrap().runs.len(), 1);
        assert_eq!(collect(home).unwrap().runs.len(), 3);
        assert_eq!(
            shared(&collect(home).unwrap(), &collect(&home.join("many/latest")).unwrap()),
            Some(home.join("many/run-1/result.json").canonicalize().unwrap())
        );
    }

    #[test]
    fn what_is_no_run_is_explained() {
        let home = tempfile::tempdir().unwrap();
        let e = collect(home.path()).unwrap_err();
        assert!(e.contains("holds no run"), "{e}");
        let e = collect(&home.path().join("gone")).unwrap_err();
        assert!(e.contains("cannot read"), "{e}");
        fs::write(home.path().join("result.json"), "{}").unwrap();
        assert!(collect(home.path()).unwrap_err().contains("schema_version"));
    }

    #[test]
    fn a_recorded_baseline_with_two_sides_has_to_be_named() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        write_run(&home.join("base/run-01"), 300.0, 1);
        fs::write(home.join(MANIFEST), "{}").unwrap();
        assert_eq!(collect(home).unwrap().runs.len(), 1);
        write_run(&home.join("against/run-01"), 300.0, 1);
        assert!(collect(home).unwrap_err().contains("two sides"));
        assert_eq!(collect(&home.join("against")).unwrap().runs.len(), 1);
    }
}
