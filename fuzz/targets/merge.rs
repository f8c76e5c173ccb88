//! Records of processes, as `voxload merge` reads them: what can be merged is a result that can be shown and read again.
//!
//! NULs part the input: the record of the first process, that of the second, `links.csv` of the first. A record is JSON
//! lines, which are compressed here; an input that begins as a gzip file does is the file of the first process.
#![no_main]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use voxload::merge;
use voxload::report::terminal::{self, Style};

/// The reports of the processes: any will do, of this version.
static RESULT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = include_str!("../corpus/result/empty");
    let mut result: serde_json::Value = serde_json::from_str(text).expect("the seed is JSON");
    let cargo = include_str!("../../Cargo.toml");
    let version = cargo.lines().find_map(|l| l.strip_prefix("version = \"")?.strip_suffix('"'));
    result["voxload_version"] = version.expect("the package has a version").into();
    result["shard"] = serde_json::Value::Null;
    result["processes"] = serde_json::json!([]);
    result["verdict"]["status"] = "fail".into();
    result.to_string().into_bytes()
});

/// A folder of this process, in memory where there is such a file system.
static DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let dir = base.join(format!("voxload-fuzz-merge-{}", std::process::id()));
    for name in ["0", "1"] {
        fs::create_dir_all(dir.join(name)).expect("a temporary folder can be made");
        fs::write(dir.join(name).join("result.json"), &*RESULT).expect("a temporary file can be written");
    }
    fs::create_dir_all(dir.join("out")).expect("a temporary folder can be made");
    dir
});

/// How gzip files begin.
const GZIP: [u8; 2] = [0x1F, 0x8B];

fn compressed(record: &[u8]) -> Vec<u8> {
    if record.starts_with(&GZIP) {
        return record.to_vec();
    }
    let mut gz = GzEncoder::new(Vec::new(), Compression::none());
    gz.write_all(record).and_then(|()| gz.finish()).unwrap_or_default()
}

fuzz_target!(|data: &[u8]| {
    let parts: Vec<&[u8]> =
        if data.starts_with(&GZIP) { vec![data] } else { data.split(|&b| b == 0).collect() };
    let mut dirs = Vec::new();
    for (n, record) in parts.iter().take(2).enumerate() {
        let dir = DIR.join(n.to_string());
        fs::write(dir.join(merge::FILE), compressed(record)).expect("a temporary file can be written");
        dirs.push(dir);
    }
    let links = DIR.join("0/links.csv");
    match parts.get(2) {
        Some(csv) => fs::write(&links, csv).expect("a temporary file can be written"),
        None => drop(fs::remove_file(&links)),
    }
    let Ok(shards) = merge::open(&dirs, true) else { return };
    let Ok(merged) = merge::join(shards, &DIR.join("out"), "voxload merge a b".to_owned()) else { return };
    let _ = terminal::summary(&merged.result, &[], Style::default());
    let text = serde_json::to_string(&merged.result).expect("a result can be written");
    let again = serde_json::from_str::<voxload::report::RunResult>(&text);
    assert!(again.is_ok(), "{:?}", again.err());
});
