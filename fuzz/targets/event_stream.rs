//! Amazon's event stream. The first byte says how long the headers are; lengths and CRCs are made right, or nothing would get past
//! them; with a first byte of 255 the rest is a frame as it is.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use voxload::dialect::codec::Envelope;
use voxload::transport::Frame;

fuzz_target!(|data: &[u8]| {
    let Some((&headers, rest)) = data.split_first() else { return };
    let mut codec = Envelope::EventStream.codec(0);
    if headers == u8::MAX {
        let _ = codec.decode(&Frame::Binary(Bytes::copy_from_slice(rest)));
        return;
    }
    let mut frame = (rest.len() as u32 + 16).to_be_bytes().to_vec();
    frame.extend(u32::from(headers).to_be_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(rest);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    let Ok(mut decoded) = codec.decode(&Frame::Binary(frame.into())) else { return };
    let headers = &decoded.value["headers"];
    let plain = headers.get(":chunk-signature").is_none() && headers[":content-type"] != "application/json";
    if let Some(object) = decoded.value.as_object_mut() {
        object.remove("error");
    }
    // Headers without a name and of more than 32767 bytes are read and not written.
    if let Ok(frame) = codec.encode(&decoded.value, decoded.audio.as_deref()) {
        let mut again = codec.decode(&frame);
        if let Ok(object) = again.as_mut().map(|a| &mut a.value)
            && let Some(object) = object.as_object_mut()
        {
            object.remove("error");
        }
        assert!(!plain || again == Ok(decoded.clone()), "{decoded:?} {again:?}");
    }
});
