//! Opus packets without a codec: what a packet holds and how long it plays (RFC 6716 §3), and several packets in one
//! message.
//!
//! ```text
//! up to 120 ms:  one packet, as libopus's repacketizer makes it    TOC │ lengths │ frame frame frame
//! beyond:        self-delimited packets, the last one standard     TOC FC 00 │ lengths │ frames ▸ … ▸ TOC │ … │ frames
//! ```
//!
//! A self-delimited packet (RFC 6716, Appendix B) says how long its last frame is; apart from that it looks like a
//! standard packet, and most messages could be read as either. So a reader needs a rule. Every packet of ours but the
//! last is written in the one form that encoders do not write: code 3, VBR, *with* the padding flag and *zero* bytes
//! of padding. A message is a sequence when its first packet has that form and all of it parses as a sequence;
//! otherwise it is one standard packet. Readers that follow Appendix B need not know the rule.
//!
//! Everything here reads outside data: every length is checked, nothing panics.

use crate::time::Micros;

/// Longest playing time of one packet (RFC 6716, requirement R5).
pub const MAX_PACKET: Micros = Micros::from_millis(120);
/// Largest frame (RFC 6716, requirement R2).
pub const MAX_FRAME_BYTES: usize = 1275;
/// Most frames in a packet: 48 of 2.5 ms.
const MAX_FRAMES: usize = 48;
/// The bits of the TOC byte that all frames of a packet share: configuration and stereo.
const SHARED: u8 = 0b1111_1100;
/// Frame count byte: VBR flag, padding flag, number of frames.
const VBR: u8 = 0b1000_0000;
const PADDED: u8 = 0b0100_0000;
const COUNT: u8 = 0b0011_1111;

/// How a packet breaks the rules of RFC 6716.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// R1.
    #[error("an Opus packet has at least one byte")]
    Empty,
    /// A length, count or padding byte is missing, or frames are announced that are not there.
    #[error("the Opus packet is cut short: it announces more bytes than it has")]
    Short,
    /// R2.
    #[error("a frame of {0} bytes, more than the 1275 that Opus allows")]
    FrameTooLarge(usize),
    /// R3, R6.
    #[error("{bytes} bytes cannot be {frames} frames of the same size")]
    Uneven {
        /// Bytes there are.
        bytes: usize,
        /// Frames that are to share them.
        frames: usize,
    },
    /// R5.
    #[error("a packet of no frames")]
    NoFrames,
    /// R5.
    #[error("a packet of {0}, longer than the 120 ms that Opus allows")]
    TooLong(Micros),
}

/// Playing time of one frame, from the TOC byte (RFC 6716, table 2).
pub const fn frame_duration(toc: u8) -> Micros {
    let config = toc >> 3;
    Micros(match (config, config & 3) {
        // SILK: 10, 20, 40, 60 ms.
        (0..12, 0) => 10_000,
        (0..12, 1) => 20_000,
        (0..12, 2) => 40_000,
        (0..12, _) => 60_000,
        // Hybrid: 10, 20 ms.
        (12..16, 0 | 2) => 10_000,
        (12..16, _) => 20_000,
        // CELT: 2.5, 5, 10, 20 ms.
        (_, n) => 2_500 << n,
    })
}

/// How a packet ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// With the message.
    Standard,
    /// Where its own lengths say (Appendix B).
    Delimited,
}

/// Where the frames of one packet are.
struct Packet {
    toc: u8,
    count: usize,
    /// `(start, length)` of each frame.
    frames: [(usize, usize); MAX_FRAMES],
    /// Bytes of the whole packet.
    len: usize,
}

impl Packet {
    fn duration(&self) -> Micros {
        frame_duration(self.toc) * self.count as i64
    }

    fn frames<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.frames[..self.count]
            .iter()
            .map(move |&(start, len)| data.get(start..start + len).unwrap_or_default())
    }
}

/// A frame length of one or two bytes at `*at` (RFC 6716 §3.2.1).
fn read_length(data: &[u8], at: &mut usize) -> Result<usize, PacketError> {
    let byte = |i: usize| data.get(i).copied().map(usize::from).ok_or(PacketError::Short);
    let first = byte(*at)?;
    if first < 252 {
        *at += 1;
        return Ok(first);
    }
    let second = byte(*at + 1)?;
    *at += 2;
    Ok(first + 4 * second)
}

fn write_length(len: usize, out: &mut Vec<u8>) {
    if len < 252 {
        out.push(len as u8);
    } else {
        let first = 252 + (len & 3);
        out.extend([first as u8, ((len - first) >> 2) as u8]);
    }
}

/// Reads the packet at the start of `data`: with [`Framing::Standard`] it must fill it.
fn parse(data: &[u8], framing: Framing) -> Result<Packet, PacketError> {
    let &toc = data.first().ok_or(PacketError::Empty)?;
    let mut at = 1;
    let mut padding = 0;
    let (count, vbr) = match toc & 3 {
        0 => (1, false),
        1 => (2, false),
        2 => (2, true),
        _ => {
            let &flags = data.get(1).ok_or(PacketError::Short)?;
            at = 2;
            if flags & PADDED != 0 {
                loop {
                    let &n = data.get(at).ok_or(PacketError::Short)?;
                    at += 1;
                    padding += usize::from(n.min(254));
                    if n < 255 {
                        break;
                    }
                }
            }
            (usize::from(flags & COUNT), flags & VBR != 0)
        }
    };
    if count == 0 {
        return Err(PacketError::NoFrames);
    }
    let duration = frame_duration(toc) * count as i64;
    if duration > MAX_PACKET {
        return Err(PacketError::TooLong(duration));
    }
    // The shortest frame is 2.5 ms, so the limit above keeps the count within the array.
    let mut frames = [(0, 0); MAX_FRAMES];
    let lengths = &mut frames[..count];
    if vbr {
        for (_, len) in &mut lengths[..count - 1] {
            *len = read_length(data, &mut at)?;
        }
    }
    let known: usize = lengths.iter().map(|&(_, len)| len).sum();
    match framing {
        Framing::Delimited => {
            let len = read_length(data, &mut at)?;
            let own = if vbr { &mut lengths[count - 1..] } else { lengths };
            for (_, l) in own {
                *l = len;
            }
        }
        Framing::Standard => {
            let rest = data.len().checked_sub(at + padding + known).ok_or(PacketError::Short)?;
            if vbr {
                lengths[count - 1].1 = rest;
            } else if rest.is_multiple_of(count) {
                for (_, l) in lengths {
                    *l = rest / count;
                }
            } else {
                return Err(PacketError::Uneven { bytes: rest, frames: count });
            }
        }
    }
    for (start, len) in &mut frames[..count] {
        if *len > MAX_FRAME_BYTES {
            return Err(PacketError::FrameTooLarge(*len));
        }
        *start = at;
        at += *len;
    }
    let len = at + padding;
    if len > data.len() {
        return Err(PacketError::Short);
    }
    Ok(Packet { toc, count, frames, len })
}

/// True for the form that every packet of a sequence but the last has.
fn is_marked(data: &[u8]) -> bool {
    matches!(data, [toc, flags, 0, ..] if toc & 3 == 3 && flags & (VBR | PADDED) == VBR | PADDED)
}

/// Calls `each` for every packet of a message, in order, with the bytes that the packet's frames refer to.
fn walk(message: &[u8], each: &mut dyn FnMut(&Packet, &[u8])) -> Result<(), PacketError> {
    if is_marked(message) && walk_sequence(message, &mut |_, _| ()).is_ok() {
        return walk_sequence(message, each);
    }
    each(&parse(message, Framing::Standard)?, message);
    Ok(())
}

fn walk_sequence(message: &[u8], each: &mut dyn FnMut(&Packet, &[u8])) -> Result<(), PacketError> {
    let mut rest = message;
    while is_marked(rest) {
        // The last packet of a sequence is standard; one of another encoder could look marked.
        match parse(rest, Framing::Delimited) {
            Ok(packet) if packet.len < rest.len() => {
                each(&packet, rest);
                rest = &rest[packet.len..];
            }
            _ => break,
        }
    }
    each(&parse(rest, Framing::Standard)?, rest);
    Ok(())
}

/// Playing time of a message, without decoding it.
pub fn duration(message: &[u8]) -> Result<Micros, PacketError> {
    let mut total = Micros::ZERO;
    walk(message, &mut |packet, _| total += packet.duration())?;
    Ok(total)
}

/// Calls `each` with every packet of a message in standard form, ready for any Opus decoder.
pub fn for_each_packet(message: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), PacketError> {
    walk(message, &mut |packet, data| {
        if packet.len == data.len() {
            return each(data);
        }
        let frames: Vec<&[u8]> = packet.frames(data).collect();
        let mut standard = Vec::with_capacity(packet.len);
        write_standard(packet.toc, &frames, &mut standard);
        each(&standard);
    })
}

/// The frames of a message as packets of one frame each: for decoders that cannot take more.
pub fn split(message: &[u8]) -> Result<Vec<Vec<u8>>, PacketError> {
    let mut singles = Vec::new();
    walk(message, &mut |packet, data| {
        for frame in packet.frames(data) {
            let mut single = Vec::with_capacity(frame.len() + 1);
            single.push(packet.toc & SHARED);
            single.extend_from_slice(frame);
            singles.push(single);
        }
    })?;
    Ok(singles)
}

/// Packs Opus packets into one message: frames that share a configuration share a packet, up to 120 ms.
pub fn pack<P: AsRef<[u8]>>(packets: &[P]) -> Result<Vec<u8>, PacketError> {
    if let [only] = packets
        && !is_marked(only.as_ref())
    {
        parse(only.as_ref(), Framing::Standard)?;
        return Ok(only.as_ref().to_vec());
    }
    // Runs of frames that can share a packet.
    let mut runs: Vec<(u8, Vec<&[u8]>)> = Vec::new();
    for data in packets.iter().map(AsRef::as_ref) {
        let packet = parse(data, Framing::Standard)?;
        for &(start, len) in &packet.frames[..packet.count] {
            let frame = data.get(start..start + len).unwrap_or_default();
            let most = MAX_PACKET.0 / frame_duration(packet.toc).0;
            match runs.last_mut() {
                Some((toc, frames)) if (*toc ^ packet.toc) & SHARED == 0 && (frames.len() as i64) < most => {
                    frames.push(frame);
                }
                _ => runs.push((packet.toc, vec![frame])),
            }
        }
    }
    let Some(((toc, frames), before)) = runs.split_last() else {
        return Err(PacketError::Empty);
    };
    let mut out = Vec::with_capacity(packets.iter().map(|p| p.as_ref().len() + 3).sum());
    for (toc, frames) in before {
        out.extend([toc | 3, VBR | PADDED | frames.len() as u8, 0]);
        frames.iter().for_each(|f| write_length(f.len(), &mut out));
        frames.iter().for_each(|f| out.extend_from_slice(f));
    }
    write_standard(*toc, frames, &mut out);
    Ok(out)
}

/// One standard packet, in the shortest form. There is at least one frame.
fn write_standard(toc: u8, frames: &[&[u8]], out: &mut Vec<u8>) {
    let same = frames.windows(2).all(|w| w[0].len() == w[1].len());
    let (code, vbr) = match frames.len() {
        1 => (0, false),
        2 if same => (1, false),
        2 => (2, true),
        _ => (3, !same),
    };
    out.push((toc & SHARED) | code);
    if code == 3 {
        out.push(frames.len() as u8 | if vbr { VBR } else { 0 });
    }
    if vbr && let Some((_, but_last)) = frames.split_last() {
        but_last.iter().for_each(|f| write_length(f.len(), out));
    }
    frames.iter().for_each(|f| out.extend_from_slice(f));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SILK wideband, 20 ms, mono.
    const WB20: u8 = 9 << 3;

    #[test]
    fn every_configuration_has_its_duration() {
        let silk = [10_000, 20_000, 40_000, 60_000];
        let hybrid = [10_000, 20_000];
        let celt = [2_500, 5_000, 10_000, 20_000];
        let table = [&silk[..], &silk, &silk, &hybrid, &hybrid, &celt, &celt, &celt, &celt].concat();
        assert_eq!(table.len(), 32);
        for (config, us) in table.into_iter().enumerate() {
            assert_eq!(frame_duration((config as u8) << 3 | 0b111), Micros(us), "config {config}");
        }
    }

    #[test]
    fn packets_of_each_code() {
        let ms = |message: &[u8]| duration(message).map(|d| d.0 / 1000);
        assert_eq!(ms(&[WB20]), Ok(20), "code 0, an empty frame: DTX");
        assert_eq!(ms(&[WB20, 1, 2, 3]), Ok(20));
        assert_eq!(ms(&[WB20 | 1, 1, 2, 3, 4]), Ok(40));
        assert_eq!(ms(&[WB20 | 2, 1, 9, 8, 7]), Ok(40));
        assert_eq!(ms(&[WB20 | 3, 3, 1, 1, 2, 2, 3, 3]), Ok(60));
        assert_eq!(ms(&[WB20 | 3, VBR | 3, 1, 0, 1, 3, 3]), Ok(60));
        assert_eq!(ms(&[WB20 | 3, PADDED | 2, 3, 1, 2, 0, 0, 0]), Ok(40), "padding");
        let mut long = vec![WB20 | 3, PADDED | 1, 255, 1];
        long.resize(4 + 2 + 255, 0);
        assert_eq!(split(&long).unwrap(), [[WB20, 0, 0]], "254 and 1 bytes of padding");
    }

    #[test]
    fn packets_that_break_a_rule() {
        let wrong: [(&[u8], PacketError); 12] = [
            (&[], PacketError::Empty),
            (&[WB20 | 1, 1, 2, 3], PacketError::Uneven { bytes: 3, frames: 2 }),
            (&[WB20 | 2], PacketError::Short),
            (&[WB20 | 2, 4, 1, 2], PacketError::Short),
            (&[WB20 | 2, 252], PacketError::Short),
            (&[WB20 | 3], PacketError::Short),
            (&[WB20 | 3, 0], PacketError::NoFrames),
            (&[WB20 | 3, 7, 1, 1, 1, 1, 1, 1, 1], PacketError::TooLong(Micros(140_000))),
            (&[WB20 | 3, 2, 1, 2, 3], PacketError::Uneven { bytes: 3, frames: 2 }),
            (&[WB20 | 3, VBR | 3, 1], PacketError::Short),
            (&[WB20 | 3, PADDED | 1, 255], PacketError::Short),
            (&[WB20 | 3, PADDED | 1, 9, 1, 2], PacketError::Short),
        ];
        for (message, error) in wrong {
            assert_eq!(duration(message), Err(error), "{message:02x?}");
        }
        let mut large = vec![0; 1 + MAX_FRAME_BYTES];
        large[0] = WB20;
        assert_eq!(duration(&large), Ok(Micros(20_000)));
        large.push(0);
        assert_eq!(duration(&large), Err(PacketError::FrameTooLarge(1276)));
    }

    #[test]
    fn packs_in_the_shortest_form() {
        let p = |b: &[u8]| [&[WB20], b].concat();
        assert_eq!(pack(&[p(&[1, 2])]).unwrap(), [WB20, 1, 2]);
        assert_eq!(pack(&[p(&[1]), p(&[2])]).unwrap(), [WB20 | 1, 1, 2]);
        assert_eq!(pack(&[p(&[1]), p(&[2, 3])]).unwrap(), [WB20 | 2, 1, 1, 2, 3]);
        assert_eq!(pack(&[p(&[1]), p(&[2]), p(&[3])]).unwrap(), [WB20 | 3, 3, 1, 2, 3]);
        assert_eq!(pack(&[p(&[1]), p(&[]), p(&[3, 4])]).unwrap(), [WB20 | 3, VBR | 3, 1, 0, 1, 3, 4]);
        // Seven frames of 20 ms: six in a self-delimited packet, one in a standard one.
        let seven: Vec<_> = (1..=7).map(|n| p(&[n])).collect();
        assert_eq!(
            pack(&seven).unwrap(),
            [WB20 | 3, VBR | PADDED | 6, 0, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, WB20, 7]
        );
        // A change of configuration begins a new packet.
        assert_eq!(
            pack(&[p(&[1]), vec![WB20 + 8, 2]]).unwrap(),
            [WB20 | 3, VBR | PADDED | 1, 0, 1, 1, WB20 + 8, 2]
        );
        assert_eq!(pack::<Vec<u8>>(&[]), Err(PacketError::Empty));
        assert_eq!(pack(&[Vec::new()]), Err(PacketError::Empty));
    }

    #[test]
    fn one_padded_packet_is_not_taken_for_a_sequence() {
        let message = [WB20 | 3, VBR | PADDED | 2, 0, 1, 7, 8, 9];
        assert_eq!(split(&message).unwrap(), [vec![WB20, 7], vec![WB20, 8, 9]]);
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out(
            configs in prop::collection::vec(prop::sample::select(vec![0_u8, 9, 11, 13, 16, 19, 31]), 1..3),
            frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..60),
        ) {
            let mut config = 0;
            let singles: Vec<Vec<u8>> = frames
                .into_iter()
                .enumerate()
                .map(|(i, (frame, switch))| {
                    // Changes of configuration are rare, as in life.
                    config = if i % 10 == 9 && switch { config + 1 } else { config };
                    [vec![configs[config % configs.len()] << 3], frame].concat()
                })
                .collect();
            let message = pack(&singles).unwrap();
            let sum = singles.iter().map(|p| frame_duration(p[0]).0).sum();
            prop_assert_eq!(duration(&message), Ok(Micros(sum)));
            prop_assert_eq!(split(&message).unwrap(), singles.clone());
            // The packets in standard form pack to the same message again, and none exceeds the limit.
            let mut packets = Vec::new();
            for_each_packet(&message, |p| packets.push(p.to_vec())).unwrap();
            for p in &packets {
                prop_assert!(!is_marked(p) && duration(p).unwrap() <= MAX_PACKET);
            }
            prop_assert_eq!(pack(&packets).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_read_or_refused(message in prop::collection::vec(any::<u8>(), 0..3000), marked in any::<bool>()) {
            let mut message = message;
            if marked && message.len() > 3 {
                message[0] |= 3;
                message[1] |= VBR | PADDED;
                message[2] = 0;
            }
            let mut packets = 0;
            match (duration(&message), split(&message)) {
                (Ok(total), Ok(singles)) => {
                    prop_assert_eq!(total.0, singles.iter().map(|p| frame_duration(p[0]).0).sum::<i64>());
                    prop_assert!(singles.iter().map(|p| p.len() - 1).sum::<usize>() <= message.len());
                    prop_assert!(for_each_packet(&message, |_| packets += 1).is_ok() && packets > 0);
                }
                (Err(a), Err(b)) => prop_assert_eq!(a, b),
                (a, b) => prop_assert!(false, "{:?} {:?}", a, b),
            }
        }

        #[test]
        fn lengths_read_back(len in 0..=MAX_FRAME_BYTES) {
            let mut bytes = Vec::new();
            write_length(len, &mut bytes);
            let mut at = 0;
            prop_assert_eq!(read_length(&bytes, &mut at), Ok(len));
            prop_assert_eq!(at, bytes.len());
        }
    }
}
