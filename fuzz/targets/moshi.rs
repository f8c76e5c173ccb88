//! moshi-server's MessagePack: what is read can be written, and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use voxload::dialect::codec::Envelope;
use voxload::transport::Frame;

fuzz_target!(|data: &[u8]| {
    let mut codec = Envelope::Moshi.codec(0);
    let Ok(decoded) = codec.decode(&Frame::Binary(Bytes::copy_from_slice(data))) else { return };
    if let Some(audio) = &decoded.audio {
        let _ = codec.encode(&decoded.value, Some(audio));
        return;
    }
    let again = codec.encode(&decoded.value, None).and_then(|f| codec.decode(&f));
    assert_eq!(again, Ok(decoded));
});
