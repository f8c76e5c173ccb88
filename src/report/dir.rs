//! The folder of a run's reports, made before the run so that a bad path fails at once.
//!
//! ```text
//! reports/quickstart-20260131T120000Z/    one folder a run
//! reports/latest ─▶ quickstart-…          relative link to the newest
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};

/// The link to the newest folder.
const LATEST: &str = "latest";

/// Longest scenario name in a folder's name.
const NAME_LENGTH: usize = 64;

/// Runs of the same scenario within the same second that get folders of their own.
const SAME_SECOND: u32 = 10_000;

/// Makes the folder of a run: `plan_dir` if given, else `<root>/<name>-<UTC time>`, unique even within a second.
///
/// `<root>/latest` then points at it, unless `plan_dir` lies outside of `root`.
pub fn create_dir(
    plan_dir: Option<&Path>,
    root: &Path,
    name: &str,
    started: SystemTime,
) -> Result<PathBuf, String> {
    let dir = match plan_dir {
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|e| cannot_create(dir, &e))?;
            dir.to_owned()
        }
        None => create_unique(root, name, started)?,
    };
    // A link that cannot be made costs convenience, not results: some file systems have none.
    if let Some(target) = inside(&dir, root) {
        let _ = link_latest(root, &target, started);
    }
    Ok(dir)
}

/// An instant as `2026-01-31T12:00:00Z`.
pub fn rfc3339(t: SystemTime) -> String {
    DateTime::<Utc>::from(t).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn create_unique(root: &Path, name: &str, started: SystemTime) -> Result<PathBuf, String> {
    fs::create_dir_all(root).map_err(|e| cannot_create(root, &e))?;
    let stem = format!("{}-{}", folder_name(name), DateTime::<Utc>::from(started).format("%Y%m%dT%H%M%SZ"));
    for n in 1..=SAME_SECOND {
        let dir = root.join(if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(cannot_create(&dir, &e)),
        }
    }
    Err(format!(
        "cannot create a report folder: {} and {SAME_SECOND} numbered ones exist already; choose another with --report-dir",
        root.join(stem).display()
    ))
}

fn cannot_create(dir: &Path, e: &std::io::Error) -> String {
    format!("cannot create the report folder {}: {e}; choose another with --report-dir", dir.display())
}

/// The name as part of a path: letters, digits, `.`, `_` and `-`.
pub(crate) fn folder_name(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().take(NAME_LENGTH) {
        let c = if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        if !(c == '-' && text.ends_with('-')) {
            text.push(c);
        }
    }
    let text = text.trim_matches(['-', '.']);
    if text.is_empty() { "run".to_owned() } else { text.to_owned() }
}

/// `dir` relative to `root`, when it lies inside.
fn inside(dir: &Path, root: &Path) -> Option<PathBuf> {
    let (dir, root) = (dir.canonicalize().ok()?, root.canonicalize().ok()?);
    let relative = dir.strip_prefix(root).ok()?;
    (relative.components().next().is_some() && relative != Path::new(LATEST)).then(|| relative.to_owned())
}

/// Points `latest` at `target`: a new link is moved over the old one, so that it exists at every instant.
fn link_latest(root: &Path, target: &Path, started: SystemTime) -> std::io::Result<()> {
    let nanos = started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let temporary = root.join(format!(".{LATEST}-{}-{nanos}", std::process::id()));
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(&temporary, root.join(LATEST)).inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800)
    }

    #[test]
    fn runs_of_one_second_get_folders_of_their_own_and_latest_is_the_newest() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("reports");
        let a = create_dir(None, &root, "quick start/1", noon()).unwrap();
        let b = create_dir(None, &root, "quick start/1", noon()).unwrap();
        assert_eq!(a, root.join("quick-start-1-20260131T120000Z"));
        assert_eq!(b, root.join("quick-start-1-20260131T120000Z-2"));
        assert_eq!(
            fs::read_link(root.join("latest")).unwrap(),
            Path::new("quick-start-1-20260131T120000Z-2")
        );
        let left: Vec<_> = fs::read_dir(&root).unwrap().collect();
        assert_eq!(left.len(), 3, "two folders and the link");
    }

    #[test]
    fn an_explicit_folder_moves_latest_only_from_inside() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("reports");
        let run = create_dir(None, &root, "a", noon()).unwrap();
        let outside = create_dir(Some(&base.path().join("x/y")), &root, "a", noon()).unwrap();
        assert!(outside.is_dir());
        assert_eq!(root.join("latest").canonicalize().unwrap(), run.canonicalize().unwrap());
        let inside = create_dir(Some(&root.join("ci/one")), &root, "a", noon()).unwrap();
        assert_eq!(fs::read_link(root.join("latest")).unwrap(), Path::new("ci/one"));
        assert!(inside.is_dir());
    }

    #[test]
    fn a_bad_path_is_named() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let e = create_dir(Some(&file.join("x")), base.path(), "a", noon()).unwrap_err();
        assert!(e.contains("file/x") && e.contains("--report-dir"), "{e}");
        let e = create_dir(None, &file, "a", noon()).unwrap_err();
        assert!(e.contains("/file:"), "{e}");
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        assert_eq!(folder_name("../../etc"), "etc");
        assert_eq!(folder_name("..."), "run");
        assert_eq!(folder_name("Żółw 🐢 v1.2"), "w-v1.2");
        assert_eq!(folder_name(&"a".repeat(300)).len(), NAME_LENGTH);
    }

    #[test]
    fn instants_are_utc() {
        assert_eq!(rfc3339(noon()), "2026-01-31T12:00:00Z");
    }
}
