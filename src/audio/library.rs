//! Where sounds come from: the shipped fixtures, which are part of the binary, and WAV files by path.

use std::path::{Path, PathBuf};

use super::Sound;
use super::manifest::{Entry, FILE, Kind, Manifest, read_file};

const MANIFEST: &str = include_str!("../../fixtures/manifest.toml");

macro_rules! embed {
    ($($file:literal)*) => {
        &[$(($file, include_bytes!(concat!("../../fixtures/", $file)))),*]
    };
}

/// The files of [`MANIFEST`]; a test compares.
static FILES: &[(&str, &[u8])] = embed![
    "utterances/hello.wav"
    "utterances/dragon-story.wav"
    "utterances/why-sky.wav"
    "utterances/sing.wav"
    "utterances/dinosaur.wav"
    "utterances/knock-knock.wav"
    "utterances/bedtime.wav"
    "utterances/count.wav"
    "utterances/lost-tooth.wav"
    "utterances/yes.wav"
    "utterances/long-pause.wav"
    "utterances/cat-and-cow-in-noise.wav"
    "backchannels/cough.wav"
    "backchannels/mm-hm.wav"
    "backchannels/uh-huh.wav"
    "replies/tell-more.wav"
    "replies/dragon.wav"
    "replies/sky.wav"
    "replies/good-night.wav"
];

/// A fixture that is part of the binary.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// What is known about it.
    pub entry: Entry,
    /// The WAV file.
    pub bytes: &'static [u8],
}

/// The sounds that a scenario may name.
#[derive(Clone, Copy, Debug)]
pub struct Library;

impl Library {
    /// The shipped fixtures, in the manifest's order.
    pub fn shipped() -> Result<Vec<Shipped>, String> {
        let origin = format!("built-in {FILE}");
        Manifest::parse(MANIFEST, &origin)?
            .fixtures
            .into_iter()
            .map(|entry| {
                let bytes = FILES.iter().find(|(name, _)| *name == entry.file).map(|f| f.1);
                bytes
                    .map(|bytes| Shipped { bytes, entry })
                    .ok_or_else(|| format!("{origin}: a file is not built in"))
            })
            .collect()
    }

    /// The text of the shipped manifest.
    pub const fn manifest() -> &'static str {
        MANIFEST
    }

    /// What the reference server answers with.
    pub fn replies() -> Result<Vec<Sound>, String> {
        Self::shipped()?.iter().filter(|s| s.entry.kind == Kind::Reply).map(Shipped::sound).collect()
    }

    /// Finds and reads what a scenario names, in its order; everything that is wrong is reported at once.
    ///
    /// A name is the id of a shipped fixture; `all` for every shipped utterance (as is an empty list); the path of a
    /// WAV file, relative to `base`; a folder of WAV files; or a path whose last part has `*` or `?` in it. Where a
    /// `manifest.toml` lies beside a file, what it says of the file is used, and its `utterance`s are what a folder
    /// stands for. Otherwise speech is detected.
    pub fn load(names: &[String], base: &Path) -> Result<Vec<Sound>, Vec<String>> {
        let shipped = Self::shipped().map_err(|e| vec![e])?;
        let everything = [String::from("all")];
        let names = if names.is_empty() { &everything } else { names };
        let (mut sounds, mut errors) = (Vec::new(), Vec::new());
        for name in names {
            match resolve(name, base, &shipped) {
                Ok(found) => {
                    for result in found {
                        match result {
                            Ok(sound) => sounds.push(sound),
                            Err(e) => errors.push(e),
                        }
                    }
                }
                Err(e) => errors.push(e),
            }
        }
        if errors.is_empty() { Ok(sounds) } else { Err(errors) }
    }
}

impl Shipped {
    /// The sound.
    pub fn sound(&self) -> Result<Sound, String> {
        self.entry.sound(self.bytes).map_err(|e| format!("built-in {}: {e}", self.entry.file))
    }
}

type Found = Vec<Result<Sound, String>>;

fn resolve(name: &str, base: &Path, shipped: &[Shipped]) -> Result<Found, String> {
    if name == "all" {
        let utterances = shipped.iter().filter(|s| s.entry.kind == Kind::Utterance);
        return Ok(utterances.map(Shipped::sound).collect());
    }
    if let Some(s) = shipped.iter().find(|s| s.entry.id == name) {
        return Ok(vec![s.sound()]);
    }
    let path = base.join(name);
    if path.is_dir() {
        return folder(&path);
    }
    if name.contains(['*', '?']) {
        return pattern(&path);
    }
    if !path.exists() {
        return Err(not_found(name, &path, shipped));
    }
    let (folder, file) = split(&path);
    let manifest = Manifest::of_folder(folder)?.unwrap_or_default();
    let entry = manifest.entry(&file).cloned();
    Ok(vec![load_file(&entry.unwrap_or_else(|| Entry::unknown(&path)), &path)])
}

fn split(path: &Path) -> (&Path, String) {
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let file = path.file_name().unwrap_or_default();
    (folder, file.to_string_lossy().into_owned())
}

fn load_file(entry: &Entry, path: &Path) -> Result<Sound, String> {
    read_file(path).and_then(|bytes| entry.sound(&bytes)).map_err(|e| format!("{}: {e}", path.display()))
}

/// The utterances of a folder's manifest, or every WAV in it.
fn folder(path: &Path) -> Result<Found, String> {
    if let Some(manifest) = Manifest::of_folder(path)? {
        let utterances = manifest.fixtures.iter().filter(|e| e.kind == Kind::Utterance);
        let found: Found = utterances.map(|e| load_file(e, &path.join(&e.file))).collect();
        return if found.is_empty() {
            Err(format!("{}: its {FILE} has no utterances", path.display()))
        } else {
            Ok(found)
        };
    }
    pattern(&path.join("*.wav"))
}

/// Files of one folder by a pattern of their names, in the order of their names.
fn pattern(path: &Path) -> Result<Found, String> {
    let (folder, wanted) = split(path);
    let cannot = |e: std::io::Error| format!("{}: cannot be read: {e}", folder.display());
    let manifest = Manifest::of_folder(folder)?.unwrap_or_default();
    let mut files: Vec<PathBuf> = Vec::new();
    // An empty path is the current folder, but cannot be read as such.
    for file in std::fs::read_dir(Path::new(".").join(folder)).map_err(cannot)? {
        let file = file.map_err(cannot)?;
        if matches(&wanted.to_lowercase(), &file.file_name().to_string_lossy().to_lowercase()) {
            files.push(folder.join(file.file_name()));
        }
    }
    if files.is_empty() {
        return Err(format!("{}: no such files", path.display()));
    }
    files.sort();
    Ok(files
        .iter()
        .map(|path| {
            let entry = manifest.entry(&split(path).1).cloned();
            load_file(&entry.unwrap_or_else(|| Entry::unknown(path)), path)
        })
        .collect())
}

/// Whether a name matches a pattern: `*` is any text, `?` any one character.
fn matches(pattern: &str, name: &str) -> bool {
    // Greedy, going back to the last star: quadratic at worst.
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(&c) if c == '?' || c == n[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    i = at + 1;
                    j = from + 1;
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|&c| c == '*')
}

fn not_found(name: &str, path: &Path, shipped: &[Shipped]) -> String {
    let ids = || shipped.iter().map(|s| s.entry.id.as_str());
    let nearest = ids()
        .map(|id| (strsim::damerau_levenshtein(name, id), id))
        .min()
        .filter(|(distance, id)| *distance <= 2.max(id.len() / 3));
    let hint = nearest.map_or_else(
        || format!("the shipped ones are {}", ids().collect::<Vec<_>>().join(", ")),
        |(_, id)| format!("did you mean `{id}`?"),
    );
    format!("`{name}` is no shipped fixture, and there is no file {}: {hint}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(names: &[&str], base: &Path) -> Result<Vec<String>, Vec<String>> {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        Library::load(&names, base).map(|sounds| sounds.into_iter().map(|s| s.id).collect())
    }

    /// A folder with the shipped files in it, as `a.wav`, `b.wav`, …
    fn folder_of(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, shipped) in names.iter().zip(Library::shipped().unwrap()) {
            std::fs::write(dir.path().join(name), shipped.bytes).unwrap();
        }
        dir
    }

    #[test]
    fn the_shipped_manifest_is_true() {
        let shipped = Library::shipped().unwrap();
        assert_eq!(shipped.len(), FILES.len(), "every file built in is in the manifest");
        for s in &shipped {
            assert_eq!(s.entry.check(s.bytes), Ok(()), "{}", s.entry.file);
            assert!(s.entry.sha256.is_some() && s.entry.licence.is_some() && s.entry.transcript.is_some());
            let of_its_id = shipped.iter().filter(|o| o.entry.id == s.entry.id).count();
            assert_eq!(of_its_id, 1, "{}", s.entry.id);
        }
        let total: usize = shipped.iter().map(|s| s.bytes.len()).sum();
        assert!(total < 1_600_000, "{total} bytes in every binary");
    }

    #[test]
    fn shipped_utterances_cover_what_toys_hear() {
        let of = |kind| {
            let shipped = Library::shipped().unwrap();
            let sounds: Vec<f64> = shipped
                .iter()
                .filter(|s| s.entry.kind == kind)
                .map(|s| s.sound().unwrap())
                .map(|s| s.samples.len() as f64 / f64::from(s.sample_rate))
                .collect();
            sounds
        };
        let utterances = of(Kind::Utterance);
        assert!((8..=12).contains(&utterances.len()));
        assert!(utterances.iter().all(|s| (0.8..=4.0).contains(s)), "{utterances:?}");
        assert!(of(Kind::Backchannel).len() >= 2 && of(Kind::Reply).len() >= 4);
        assert!(of(Kind::Reply).iter().all(|s| (2.0..=6.0).contains(s)));
        assert_eq!(Library::replies().unwrap().len(), of(Kind::Reply).len());
    }

    #[test]
    fn ids_all_and_nothing() {
        let here = Path::new(".");
        let all = load(&[], here).unwrap();
        assert_eq!(all.len(), 12);
        assert_eq!(load(&["all"], here).unwrap(), all);
        assert_eq!(load(&["cough", "hello", "cough"], here).unwrap(), ["cough", "hello", "cough"]);
    }

    #[test]
    fn files_folders_and_patterns() {
        let dir = folder_of(&["b.wav", "a1.WAV", "a2.wav"]);
        std::fs::write(dir.path().join("notes.txt"), "not a sound").unwrap();
        assert_eq!(load(&["b.wav"], dir.path()).unwrap(), ["b"]);
        assert_eq!(load(&["a?.wav"], dir.path()).unwrap(), ["a1", "a2"]);
        assert_eq!(load(&["."], dir.path()).unwrap(), ["a1", "a2", "b"]);
        let absolute = dir.path().join("b.wav").display().to_string();
        assert_eq!(load(&[&absolute], Path::new("elsewhere")).unwrap(), ["b"]);
    }

    #[test]
    fn a_manifest_beside_the_files_is_used() {
        let dir = folder_of(&["a.wav", "b.wav"]);
        let manifest = "[[fixture]]\nid = \"first\"\nfile = \"a.wav\"\ntranscript = \"hi\"\nspeech_start = 7\nspeech_end = 99\n";
        std::fs::write(dir.path().join(FILE), manifest).unwrap();
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let sounds = Library::load(&names(&["a.wav", "b.wav", "."]), dir.path()).unwrap();
        assert_eq!(sounds.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["first", "b", "first"]);
        assert_eq!((sounds[0].speech_start, sounds[0].speech_end), (7, 99));
        assert_eq!(sounds[0].transcript.as_deref(), Some("hi"));
        assert!(sounds[1].speech_start > 99, "detected");
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let dir = folder_of(&["good.wav"]);
        std::fs::write(dir.path().join("song.mp3"), b"ID3\x04 and so on").unwrap();
        std::fs::write(dir.path().join("cut.wav"), &Library::shipped().unwrap()[0].bytes[..2_000]).unwrap();
        let names =
            ["good.wav", "helo", "song.mp3", "cut.wav", "no/such/folder/*.wav", "*.flac", "whatever.wav"];
        let base = dir.path().display().to_string();
        let errors = load(&names, dir.path()).unwrap_err().join("\n").replace(&base, "DIR");
        insta::assert_snapshot!(errors, @r#"
        `helo` is no shipped fixture, and there is no file DIR/helo: did you mean `hello`?
        DIR/song.mp3: is not a WAV file (no RIFF tag found); convert it, for example with `sox in.mp3 -r 16000 -c 1 out.wav`
        DIR/cut.wav: is cut short: its header announces 41519 samples a channel, 978 are there
        DIR/no/such/folder: cannot be read: No such file or directory (os error 2)
        DIR/*.flac: no such files
        `whatever.wav` is no shipped fixture, and there is no file DIR/whatever.wav: the shipped ones are hello, dragon-story, why-sky, sing, dinosaur, knock-knock, bedtime, count, lost-tooth, yes, long-pause, cat-and-cow-in-noise, cough, mm-hm, uh-huh, tell-more, dragon, sky, good-night
        "#);
    }

    #[test]
    fn a_false_manifest_is_noticed() {
        let dir = folder_of(&["a.wav"]);
        for (wrong, error) in [
            ("sha256 = \"00\"", "is not the file"),
            ("sample_rate = 8000", "has 16000 samples a second"),
            ("samples = 12", "but its manifest.toml says 12"),
            ("speech_start = 9\nspeech_end = 9", "says that speech is from 9 to 9"),
            ("speech_start = 0\nspeech_end = 99999999", "to 99999999"),
            ("speech_start = 9", "only one of"),
        ] {
            let text = format!("[[fixture]]\nid = \"a\"\nfile = \"a.wav\"\n{wrong}\n");
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let errors = load(&["a.wav"], dir.path()).unwrap_err();
            assert!(errors[0].contains(error), "{errors:?}");
        }
        let bytes = Library::shipped().unwrap()[0].bytes;
        let entry = Entry {
            speech_start: Some(3_000),
            speech_end: Some(9_000),
            ..Entry::unknown(Path::new("a.wav"))
        };
        assert!(entry.check(bytes).unwrap_err().starts_with("speech begins at"));
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, want) in [
            ("*.wav", "a.wav", true),
            ("*.wav", ".wav", true),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "axxbyybcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "", true),
            ("?", "", false),
            ("é*", "élan", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }
}
