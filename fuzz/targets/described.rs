//! Frames of the dialects that are described and built in, as a device and as the reference server read them, with what
//! either says in between. The first byte chooses the dialect and its variant, the second one the mode; 0xFF parts steps,
//! and the first byte of a step says what happens.
#![no_main]

#[path = "talk.rs"]
mod talk;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voxload::dialect::describe::{BUILT_IN, Choice, Described};
use voxload::dialect::{Dialect, Encoding};

use talk::Talk;

/// Each built-in dialect, in its own variant and in each that it has, with either end of speech, and either encoding.
static ALL: LazyLock<Vec<[Dialect; 4]>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (name, text) in BUILT_IN {
        let base = Described::load(name, text, Choice::default()).expect("what is built in can be read");
        let variants = base.variants().iter().map(|v| Some(v.clone()));
        for variant in std::iter::once(None).chain(variants) {
            let of = |vad, encoding| {
                let choice =
                    Choice { variant: variant.clone(), vad, encoding: Some(encoding), ..Choice::default() };
                Dialect::from(base.choose(choice).expect("all variants were checked"))
            };
            all.push([
                of(false, Encoding::Binary),
                of(true, Encoding::Binary),
                of(false, Encoding::Base64),
                of(true, Encoding::Base64),
            ]);
        }
    }
    all
});

fuzz_target!(init: { LazyLock::force(&ALL); }, |data: &[u8]| {
    let [which, mode, rest @ ..] = data else { return };
    let dialect = &ALL[usize::from(*which) % ALL.len()][usize::from(*mode) % 4];
    let envelope = dialect.described().and_then(|d| talk::envelope(&d.text));
    let mut talk = Talk::new(dialect, envelope, usize::from(*mode >> 2));
    for step in rest.split(|&b| b == 0xFF) {
        talk.step(step);
    }
});
