//! Frames of the hand-written dialects, as a device and as the reference server read them. The first byte chooses.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use voxload::audio::{AudioFormat, Codec};
use voxload::dialect::{Dialect, Encoding, SessionSetup};
use voxload::transport::Frame;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let dialect = &Dialect::NATIVE[usize::from(choice >> 1) % Dialect::NATIVE.len()];
    let format = AudioFormat { codec: Codec::Opus, sample_rate: 16_000 };
    let setup = Arc::new(SessionSetup {
        up: format,
        down: format,
        encoding: if choice & 0x80 == 0 { Encoding::Binary } else { Encoding::Base64 },
        vad: false,
        locale: "en-US".into(),
        voice: "default".into(),
        ..SessionSetup::default()
    });
    let mut device = dialect.device(&setup, 0);
    let mut server = dialect.server();
    let (mut meanings, mut requests) = (Vec::new(), Vec::new());
    // Several messages, so that what is remembered of the earlier ones is there for the later ones.
    for message in rest.split(|&b| b == 0xFF) {
        let frame = match str::from_utf8(message) {
            Ok(text) if choice & 1 == 0 => Frame::text(text),
            _ => Frame::Binary(Bytes::copy_from_slice(message)),
        };
        device.read(&frame, &mut meanings);
        server.read(&frame, &mut requests);
    }
});
