//! `result.json`: written first and whole or not at all; read with an explanation when it is something else.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::result::{RunResult, SCHEMA_VERSION};

/// The name of the file in a report folder.
pub const FILE: &str = "result.json";

/// Writes the document next to its place, to disk, then moves it there: who reads it never sees half of it.
pub fn write(result: &RunResult, path: &Path) -> Result<(), String> {
    let temporary = path.with_extension(format!("json.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = BufWriter::new(File::create(&temporary)?);
        serde_json::to_writer_pretty(&mut file, result)?;
        file.write_all(b"\n")?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|e| {
        let _ = fs::remove_file(&temporary);
        format!("cannot write {}: {e}", path.display())
    })
}

/// Reads the result at `path`, a file or a report folder. Returns the file's own path too.
pub fn read(path: &Path) -> Result<(RunResult, PathBuf), String> {
    let file = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|e| {
        format!(
            "cannot read {}: {e}; expected the {FILE} of a run, or its folder, for example reports/latest",
            file.display()
        )
    })?;
    let result = parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok((result, file))
}

/// Just enough of the document to know what it is.
#[derive(Deserialize)]
struct Header {
    schema_version: Option<u32>,
    voxload_version: Option<String>,
}

fn parse(text: &str) -> Result<RunResult, String> {
    let header: Header =
        serde_json::from_str(text).map_err(|e| format!("not the result of a run: {e}; expected a {FILE}"))?;
    match header.schema_version {
        Some(SCHEMA_VERSION) => serde_json::from_str(text).map_err(|e| format!("damaged: {e}")),
        Some(other) => Err(format!(
            "its layout is version {other}, written by voxload {}; this voxload {} reads version {SCHEMA_VERSION}: \
             use the voxload that wrote it",
            header.voxload_version.as_deref().unwrap_or("of an unknown version"),
            env!("CARGO_PKG_VERSION")
        )),
        None => Err(format!("not the result of a run: it has no schema_version; expected a {FILE}")),
    }
}

/// The JSON Schema of the document, as in `docs/schema/result.json`.
pub fn schema() -> String {
    schema_of::<RunResult>()
}

/// The JSON Schema of a document, as pretty-printed text.
pub(crate) fn schema_of<T: schemars::JsonSchema>() -> String {
    // Values of JSON are always printable.
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(T)).unwrap_or_default();
    text.push('\n');
    text
}

/// Just enough of any other document to know what it is.
#[derive(Deserialize)]
struct Mark {
    schema_version: Option<u32>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Reads a document other than a run's, a file or the folder that holds `name`. `what` it is called by, the version of its
/// layout, and a key by which it is known.
pub(crate) fn read_other<T: DeserializeOwned>(
    path: &Path,
    name: &str,
    (what, version, key): (&str, u32, &str),
) -> Result<T, String> {
    let file = if path.is_dir() { path.join(name) } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
    parse_other(&text, (what, version, key)).map_err(|e| format!("{}: {e}", file.display()))
}

fn parse_other<T: DeserializeOwned>(
    text: &str,
    (what, version, key): (&str, u32, &str),
) -> Result<T, String> {
    let mark: Mark = serde_json::from_str(text).map_err(|e| format!("not a {what}: {e}"))?;
    match mark.schema_version {
        Some(v) if v == version && mark.rest.contains_key(key) => {
            serde_json::from_str(text).map_err(|e| format!("damaged: {e}"))
        }
        Some(v) if mark.rest.contains_key(key) => {
            Err(format!("its layout is version {v}, and this voxload reads version {version}"))
        }
        _ => Err(format!("not a {what}: it has no schema_version or {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_explained() {
        for (text, says) in [
            ("", "not the result of a run"),
            ("[1]", "not the result of a run"),
            ("{\"a\": 1}", "has no schema_version"),
            (
                "{\"schema_version\": 9, \"voxload_version\": \"7.0.0\"}",
                "layout is version 9, written by voxload 7.0.0",
            ),
            ("{\"schema_version\": 1}", "damaged: missing field"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(says), "{text}: {e}");
        }
    }

    #[test]
    fn other_documents_are_explained() {
        let parse = |text| parse_other::<Vec<u8>>(text, ("capacity", 1, "sentence"));
        for (text, says) in [
            ("", "not a capacity"),
            ("{\"schema_version\": 1}", "no schema_version or sentence"),
            ("{\"schema_version\": 9, \"sentence\": \"x\"}", "layout is version 9"),
            ("{\"schema_version\": 1, \"sentence\": \"x\"}", "damaged: "),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(says), "{text}: {e}");
        }
        let nowhere =
            read_other::<Vec<u8>>(Path::new("/nowhere/x.json"), "x.json", ("capacity", 1, "sentence"));
        assert!(nowhere.unwrap_err().contains("cannot read /nowhere/x.json"));
    }
}
