//! Opus packets without decoding them: length, splitting, packing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::audio::codec::packet;

fuzz_target!(|message: &[u8]| {
    let Ok(duration) = packet::duration(message) else {
        assert!(packet::split(message).is_err());
        return;
    };
    let mut packets = Vec::new();
    let walked = packet::for_each_packet(message, |p| packets.push(p.to_vec()));
    assert!(walked.is_ok());
    let total: i64 = packets.iter().map(|p| packet::duration(p).map_or(0, |d| d.0)).sum();
    assert_eq!(total, duration.0);
    let frames = packet::split(message).unwrap_or_default();
    let packed = packet::pack(&frames).unwrap_or_default();
    assert_eq!(packet::duration(&packed), Ok(duration));
});
