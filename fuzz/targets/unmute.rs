//! Unmute's messages: JSON with base64 of an Ogg stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::dialect::codec::Envelope;
use voxload::transport::Frame;

fuzz_target!(|text: &str| {
    let mut codec = Envelope::Unmute.codec(0);
    for message in text.lines() {
        if let Ok(decoded) = codec.decode(&Frame::text(message)) {
            let _ = codec.encode(&decoded.value, decoded.audio.as_deref());
        }
    }
});
