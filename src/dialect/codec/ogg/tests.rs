use proptest::prelude::*;

use super::super::vectors::{OPUSENC, bytes};
use super::*;

const OPUSENC_HEAD: Head = Head { channels: 1, pre_skip: 312, input_rate: 24_000, gain: 0 };

fn packets(d: &mut Demuxer, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut packets = Vec::new();
    d.push(bytes, &mut packets).map(|()| packets)
}

/// Playing time in samples at 48 kHz.
fn samples(packets: &[Vec<u8>]) -> u64 {
    packets.iter().map(|p| packet::duration(p).unwrap().to_samples(GRANULE_RATE)).sum()
}

#[test]
fn a_file_of_opusenc_is_read() {
    let file = bytes(OPUSENC);
    let mut d = Demuxer::default();
    let packets = packets(&mut d, &file).unwrap();
    assert_eq!((d.head(), d.lost()), (Some(OPUSENC_HEAD), 0));
    // 0.2 s and what the decoder needs beyond, in frames of 20 ms; the last granule says where the sound ends.
    assert_eq!((packets.len(), samples(&packets)), (11, 11 * 960));
    assert_eq!(packets[0].len(), 17);
}

#[test]
fn the_first_page_is_that_of_opusenc() {
    let ours = Muxer::new(77, OPUSENC_HEAD).push(&[0x48, 1]).unwrap();
    assert_eq!(ours[..47], bytes(OPUSENC)[..47]);
}

#[test]
fn granules_count_at_48_khz_whatever_the_rate() {
    let mut m = Muxer::new(5, MONO_24K);
    let first = m.push(&[0x48, 1]).unwrap();
    let second = m.push(&[0x48, 2]).unwrap();
    let granule = |page: &[u8]| u64::from_le_bytes(page[6..14].try_into().unwrap());
    assert_eq!(first[5], FIRST);
    // SILK, 20 ms.
    assert_eq!(granule(&first[first.len() - HEADER - 3..]), 960);
    assert_eq!((granule(&second), second[18]), (1_920, 3));
}

#[test]
fn a_packet_of_many_pages_comes_back() {
    // 48 frames of 1275 bytes (code 3, constant size), 2.5 ms each: the largest there is. Two of them, one message, need two
    // pages, and the second begins in one and ends in the other.
    let mut packet = vec![0b1000_0011, 48];
    packet.extend((0..48 * 1275).map(|i| (i % 251) as u8));
    let message = packet::pack(&[&packet, &packet]).unwrap();
    let mut sent = Vec::new();
    packet::for_each_packet(&message, |p| sent.push(p.to_vec())).unwrap();
    let stream = Muxer::new(1, MONO_24K).push(&message).unwrap();
    assert_eq!((sent.len(), stream.windows(4).filter(|w| w == CAPTURE).count()), (2, 4));
    assert_eq!(packets(&mut Demuxer::default(), &stream), Ok(sent));

    // One packet of more than a page, of which a first page and a second are all.
    let (mut m, mut out) = (Muxer::new(1, MONO_24K), Vec::new());
    m.begin(&mut out);
    let headers = out.len();
    let begin = Page { lengths: vec![255; SEGMENTS], body: vec![7; 255 * SEGMENTS], ..Page::default() };
    m.flush(&begin, 0, &mut out);
    let second = out.len();
    let end = Page { lengths: vec![255, 0, 2], body: vec![7; 257], continued: true, ends: true };
    m.flush(&end, 0, &mut out);
    assert_eq!(out[headers + 6..headers + 14], [0xFF; 8], "no packet ends in it");
    let both = packets(&mut Demuxer::default(), &out).unwrap();
    assert_eq!(both.iter().map(Vec::len).collect::<Vec<_>>(), [255 * 256, 2]);
    // Without its beginning the first is lost, and said to be.
    let mut d = Demuxer::default();
    d.push(&out[..headers], &mut Vec::new()).unwrap();
    assert_eq!(packets(&mut d, &out[second..]), Ok(vec![vec![7, 7]]));
    assert_eq!(d.lost(), 1);
}

#[test]
fn damage_is_said_once_and_the_rest_is_read() {
    let mut m = Muxer::new(1, MONO_24K);
    let pages: Vec<Vec<u8>> = (0..4).map(|n| m.push(&[0x48, n]).unwrap()).collect();
    let mut d = Demuxer::default();
    let mut stream = pages.concat();
    let second = pages[0].len();
    stream[second + HEADER + 1] ^= 1;
    let mut got = Vec::new();
    insta::assert_snapshot!(d.push(&stream, &mut got).unwrap_err(), @"the CRC of Ogg page 3 is 6ef2c590, and the page says bceb044c");
    assert_eq!(got, [[0x48, 0], [0x48, 2], [0x48, 3]]);
    assert_eq!(d.lost(), 1);
    insta::assert_snapshot!(d.push(b"noise", &mut got).unwrap_err(), @"bytes that are not the beginning of an Ogg page");
    assert_eq!(packets(&mut d, &m.push(&[0x48, 9]).unwrap()), Ok(vec![vec![0x48, 9]]));
}

#[test]
fn other_streams_are_passed_over_and_a_new_one_is_read() {
    let (mut first, mut second) = (Muxer::new(1, MONO_24K), Muxer::new(2, MONO_24K));
    let mut d = Demuxer::default();
    let mut all = packets(&mut d, &first.push(&[0x48, 1]).unwrap()).unwrap();
    // Vorbis, beside it: its first page, and one more.
    let mut vorbis = Vec::new();
    let mut other = Muxer::new(3, MONO_24K);
    let page = |body: &[u8]| Page { lengths: vec![7], body: body.to_vec(), continued: false, ends: true };
    other.flush(&page(b"\x01vorbis"), FIRST, &mut vorbis);
    other.flush(&page(b"\x03vorbis"), 0, &mut vorbis);
    all.extend(packets(&mut d, &vorbis).unwrap());
    all.extend(packets(&mut d, &first.push(&[0x48, 2]).unwrap()).unwrap());
    all.extend(packets(&mut d, &second.push(&[0x48, 3]).unwrap()).unwrap());
    all.extend(packets(&mut d, &first.push(&[0x48, 4]).unwrap()).unwrap());
    assert_eq!((all, d.lost()), (vec![vec![0x48, 1], vec![0x48, 2], vec![0x48, 3]], 0));
    insta::assert_snapshot!(packets(&mut Demuxer::default(), &vorbis).unwrap_err(), @"an Ogg stream that is not Opus");
    let later = first.push(&[0x48, 5]).unwrap();
    insta::assert_snapshot!(packets(&mut Demuxer::default(), &later).unwrap_err(), @"Ogg page 5 of a stream whose beginning did not come");
}

proptest! {
    #[test]
    fn a_stream_cut_anywhere_is_the_same_stream(
        sizes in prop::collection::vec(0..1275_usize, 1..30),
        cuts in prop::collection::vec(1..400_usize, 1..50),
    ) {
        let mut m = Muxer::new(9, MONO_24K);
        let sent: Vec<Vec<u8>> = sizes.iter().map(|&n| std::iter::once(0x48).chain((0..n).map(|i| i as u8)).collect()).collect();
        let stream: Vec<u8> = sent.iter().flat_map(|p| m.push(p).unwrap()).collect();
        let (mut d, mut got, mut rest, mut cuts) = (Demuxer::default(), Vec::new(), &stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            d.push(piece, &mut got).unwrap();
            rest = more;
        }
        prop_assert_eq!((got, d.lost()), (sent, 0));
    }

    #[test]
    fn anything_is_read_in_bounded_memory(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut file = bytes(OPUSENC);
        for (at, byte) in flips {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let (mut d, mut got) = (Demuxer::default(), Vec::new());
        for piece in pieces.iter().chain(std::iter::once(&file)).chain(&pieces) {
            let _ = d.push(piece, &mut got);
            prop_assert!(d.held.len() < HEADER + SEGMENTS + 255 * SEGMENTS);
            prop_assert!(d.partial.as_ref().is_none_or(|p| p.len() <= MOST_PACKET));
        }
    }
}
