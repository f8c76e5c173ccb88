//! Ogg Opus streams. Pages get the CRC that they should have, unless the first byte is odd; the rest of it says how the stream is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voxload::dialect::codec::ogg::Demuxer;

fn crc(page: &[u8]) -> u32 {
    page.iter().fold(0, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b) << 24, |crc, _| {
            (crc << 1) ^ if crc & 0x8000_0000 == 0 { 0 } else { 0x04c1_1db7 }
        })
    })
}

/// Makes the CRCs right of the pages that follow one another from the beginning.
fn mend(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(page) = stream.get_mut(at..).filter(|p| p.len() >= 27 && p.starts_with(b"OggS")) {
        let count = usize::from(page[26]);
        let Some(size) = page.get(27..27 + count).map(|l| l.iter().map(|&n| usize::from(n)).sum::<usize>())
        else {
            return;
        };
        let len = 27 + count + size;
        let Some(page) = page.get_mut(..len) else { return };
        page[22..26].fill(0);
        let crc = crc(page).to_le_bytes();
        page[22..26].copy_from_slice(&crc);
        at += len;
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, rest)) = data.split_first() else { return };
    let mut stream = rest.to_vec();
    if choice & 1 == 0 {
        mend(&mut stream);
    }
    let read = |piece: usize| {
        let (mut demuxer, mut packets) = (Demuxer::default(), Vec::new());
        for piece in stream.chunks(piece) {
            let _ = demuxer.push(piece, &mut packets);
        }
        (packets, demuxer.head(), demuxer.lost())
    };
    // However it is cut, it is the same stream.
    assert_eq!(read(usize::from(choice >> 1) + 1), read(usize::MAX));
});
