//! pipecat's protobuf frames: what is read can be written, and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use voxload::dialect::codec::Envelope;
use voxload::transport::Frame;

fuzz_target!(|data: &[u8]| {
    let mut codec = Envelope::Pipecat.codec(0);
    let Ok(decoded) = codec.decode(&Frame::Binary(Bytes::copy_from_slice(data))) else { return };
    let kind = decoded.value.as_object().and_then(|o| o.keys().next().cloned());
    let Some(kind) = kind else { return };
    let again = codec.encode(&decoded.value, decoded.audio.as_deref()).and_then(|f| codec.decode(&f));
    // Numbers in the JSON inside may be rounded; everything else comes back as it was.
    assert!(again.as_ref().is_ok_and(|a| kind == "message" || *a == decoded), "{decoded:?} {again:?}");
});
