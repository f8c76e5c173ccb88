//! Ogg Opus as a stream of bytes (RFC 3533, RFC 7845): packets to pages, and pages that arrive in pieces to packets.
//!
//! ```text
//! page: OggS 0 │ flags │ i64 granule │ u32 serial │ u32 sequence │ u32 CRC │ n │ n lengths │ packets      little endian
//! stream: OpusHead on a page of its own │ OpusTags on a page of its own │ audio, granules in samples at 48 kHz
//! ```
//!
//! Written here because the stream is live: pages go out as soon as there is a packet, and come in cut anywhere, from a peer that
//! need not be well. A damaged page is an error once, and reading goes on at the next page; a reader never holds more than a page
//! and a packet.

use crate::audio::codec::packet;
use crate::time::Micros;

/// First bytes of a page.
const CAPTURE: &[u8; 4] = b"OggS";
/// Bytes before the lengths.
const HEADER: usize = 27;
/// Where the CRC is.
const CRC: std::ops::Range<usize> = 22..26;
/// Most lengths in a page.
const SEGMENTS: usize = 255;
/// Largest packet that is read: 120 ms at Opus's highest rate, with room.
const MOST_PACKET: usize = 64 * 1024;
/// Samples a second that granules count, whatever the audio's rate (RFC 7845, section 4).
const GRANULE_RATE: u32 = 48_000;

/// The page begins within a packet.
const CONTINUED: u8 = 1;
/// The stream begins.
const FIRST: u8 = 2;
/// The granule of a page in which no packet ends.
const NO_GRANULE: u64 = u64::MAX;

const HEAD_MAGIC: &[u8; 8] = b"OpusHead";
const TAGS_MAGIC: &[u8; 8] = b"OpusTags";

/// What a stream says of itself in its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Channels of the output.
    pub channels: u8,
    /// Samples at 48 kHz that a player drops at the beginning.
    pub pre_skip: u16,
    /// Rate of what was encoded: for information.
    pub input_rate: u32,
    /// Gain that a player applies, in 1/256 dB.
    pub gain: i16,
}

/// What Kyutai's servers take and give. Nothing is dropped at the beginning: every packet is sound of its own time.
pub const MONO_24K: Head = Head { channels: 1, pre_skip: 0, input_rate: 24_000, gain: 0 };

impl Head {
    fn packet(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(19);
        out.extend_from_slice(HEAD_MAGIC);
        out.extend([1, self.channels]);
        out.extend(self.pre_skip.to_le_bytes());
        out.extend(self.input_rate.to_le_bytes());
        out.extend(self.gain.to_le_bytes());
        // Mapping family 0: one or two channels, in Opus's own order.
        out.push(0);
        out
    }

    fn parse(packet: &[u8]) -> Result<Self, String> {
        let [version, channels, s0, s1, r0, r1, r2, r3, g0, g1, _, ..] =
            *packet.strip_prefix(HEAD_MAGIC).ok_or("an Ogg stream that is not Opus")?
        else {
            return Err("an OpusHead that is cut short".to_owned());
        };
        // Versions of the same major number are compatible (RFC 7845, section 5.1).
        if version & 0xF0 != 0 || channels == 0 {
            return Err(format!("an OpusHead of version {version} with {channels} channels"));
        }
        Ok(Self {
            channels,
            pre_skip: u16::from_le_bytes([s0, s1]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            gain: i16::from_le_bytes([g0, g1]),
        })
    }
}

/// CRC-32 of Ogg: polynomial 0x04c11db7, highest bit first, no inversion.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = ((i as u32) << 24, 0);
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000_0000 == 0 { 0 } else { 0x04c1_1db7 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |crc, &b| (crc << 8) ^ TABLE[usize::from((crc >> 24) as u8 ^ b)])
}

/// The CRC of a page, whose own place counts as zeros.
fn page_crc(page: &[u8]) -> u32 {
    let part = |range| page.get(range).unwrap_or_default();
    let before = crc(crc(0, part(0..CRC.start)), &[0; 4]);
    crc(before, part(CRC.end..page.len()))
}

/// Writes a stream.
#[derive(Clone, Debug)]
pub struct Muxer {
    serial: u32,
    head: Head,
    sequence: u32,
    /// Samples at 48 kHz so far.
    granule: u64,
}

/// A page under way.
#[derive(Default)]
struct Page {
    lengths: Vec<u8>,
    body: Vec<u8>,
    /// Begins within a packet.
    continued: bool,
    /// A packet ends in it.
    ends: bool,
}

impl Muxer {
    /// A stream that has not begun. Streams that share a file need different serials; those of devices need not.
    pub const fn new(serial: u32, head: Head) -> Self {
        Self { serial, head, sequence: 0, granule: 0 }
    }

    /// The pages that carry an Opus message, with the stream's own headers before the first.
    pub fn push(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut packets = Vec::new();
        packet::for_each_packet(message, |p| {
            // It has been read as a packet just before.
            packets.push((p.to_vec(), packet::duration(p).unwrap_or(Micros::ZERO)));
        })
        .map_err(|e| e.to_string())?;
        let mut out = Vec::with_capacity(message.len() + 128);
        self.begin(&mut out);
        let mut page = Page::default();
        for (packet, duration) in packets {
            let mut rest = &packet[..];
            loop {
                if page.lengths.len() == SEGMENTS {
                    self.flush(&page, 0, &mut out);
                    page = Page { continued: rest.len() < packet.len(), ..Page::default() };
                }
                let (segment, more) = rest.split_at(rest.len().min(255));
                page.lengths.push(segment.len() as u8);
                page.body.extend_from_slice(segment);
                rest = more;
                // A packet ends with a segment of less than 255 bytes, if need be of none.
                if segment.len() < 255 {
                    break;
                }
            }
            page.ends = true;
            self.granule += duration.to_samples(GRANULE_RATE);
        }
        self.flush(&page, 0, &mut out);
        Ok(out)
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.sequence > 0 {
            return;
        }
        let mut tags = TAGS_MAGIC.to_vec();
        let vendor = concat!("voxload ", env!("CARGO_PKG_VERSION"));
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor.as_bytes());
        tags.extend(0_u32.to_le_bytes());
        for (packet, flags) in [(self.head.packet(), FIRST), (tags, 0)] {
            // Both are far shorter than a segment.
            let page = Page { lengths: vec![packet.len() as u8], body: packet, continued: false, ends: true };
            self.flush(&page, flags, out);
        }
    }

    fn flush(&mut self, page: &Page, flags: u8, out: &mut Vec<u8>) {
        let start = out.len();
        let granule = if page.ends { self.granule } else { NO_GRANULE };
        out.extend_from_slice(CAPTURE);
        out.extend([0, flags | if page.continued { CONTINUED } else { 0 }]);
        out.extend(granule.to_le_bytes());
        out.extend(self.serial.to_le_bytes());
        out.extend(self.sequence.to_le_bytes());
        out.extend([0; 4]);
        out.push(page.lengths.len() as u8);
        out.extend_from_slice(&page.lengths);
        out.extend_from_slice(&page.body);
        let crc = page_crc(&out[start..]);
        out[start + CRC.start..start + CRC.end].copy_from_slice(&crc.to_le_bytes());
        // A stream of four billion pages has lasted for years.
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// Which packet comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Head,
    Tags,
    Audio,
}

/// Reads a stream, cut anywhere.
#[derive(Clone, Debug, Default)]
pub struct Demuxer {
    /// The beginning of a page that is not here in whole.
    held: Vec<u8>,
    /// The stream that is read; streams beside it are passed over.
    serial: Option<u32>,
    head: Option<Head>,
    stage: Stage,
    /// The beginning of a packet that goes on in the next page.
    partial: Option<Vec<u8>>,
    /// The number of the next page.
    next: u32,
    lost: u64,
}

impl Demuxer {
    /// What the stream said of itself, once it has.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Gaps: pages that are missing, and packets whose end never came.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes the next bytes, and appends the audio packets that are whole now. `Err`: the first thing that was wrong; what
    /// was not damaged is in `packets` all the same, and reading goes on.
    pub fn push(&mut self, bytes: &[u8], packets: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let (mut rest, mut result) = (&held[..], Ok(()));
        while !rest.is_empty() {
            match self.page(rest, packets) {
                Ok(0) => break,
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(e) => {
                    result = result.and(Err(e));
                    rest = next_capture(rest);
                }
            }
        }
        self.held = rest.to_vec();
        result
    }

    /// Reads the page at the start of `data`, and returns its length: 0 when its end is not here.
    fn page(&mut self, data: &[u8], packets: &mut Vec<Vec<u8>>) -> Result<usize, String> {
        let known = data.len().min(CAPTURE.len());
        if data[..known] != CAPTURE[..known] {
            return Err("bytes that are not the beginning of an Ogg page".to_owned());
        }
        let Some((header, rest)) = data.split_at_checked(HEADER) else { return Ok(0) };
        if header[4] != 0 {
            return Err(format!("an Ogg page of version {}; there is only 0", header[4]));
        }
        let count = usize::from(header[26]);
        let Some((lengths, rest)) = rest.split_at_checked(count) else { return Ok(0) };
        let size = lengths.iter().map(|&n| usize::from(n)).sum();
        let Some(body) = rest.get(..size) else { return Ok(0) };
        let len = HEADER + count + size;
        let word =
            |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (serial, sequence, said) = (word(14), word(18), word(CRC.start));
        let crc = page_crc(&data[..len]);
        if crc != said {
            return Err(format!("the CRC of Ogg page {sequence} is {crc:08x}, and the page says {said:08x}"));
        }
        self.accept(header[5], serial, sequence, lengths, body, packets)?;
        Ok(len)
    }

    /// Takes a page that is undamaged.
    fn accept(
        &mut self,
        flags: u8,
        serial: u32,
        sequence: u32,
        lengths: &[u8],
        body: &[u8],
        packets: &mut Vec<Vec<u8>>,
    ) -> Result<(), String> {
        if flags & FIRST != 0 {
            // A stream of something else beside the one that is read does not matter.
            if self.serial.is_some() && !body.starts_with(HEAD_MAGIC) {
                return Ok(());
            }
            *self = Self { lost: self.lost, serial: Some(serial), next: sequence, ..Self::default() };
        } else if self.serial.is_none() {
            return Err(format!("Ogg page {sequence} of a stream whose beginning did not come"));
        } else if self.serial != Some(serial) {
            return Ok(());
        }
        let goes_on = flags & CONTINUED != 0;
        if sequence != self.next || (self.partial.is_some() && !goes_on) {
            self.lost += 1;
            self.partial = None;
        }
        self.next = sequence.wrapping_add(1);
        // The end of a packet whose beginning is not here.
        let mut orphan = goes_on && self.partial.is_none();
        let mut packet = self.partial.take().unwrap_or_default();
        let (mut rest, mut open) = (body, goes_on);
        for &len in lengths {
            let (segment, more) = rest.split_at_checked(len.into()).unwrap_or((rest, &[]));
            rest = more;
            // Tags may hold pictures, and nobody looks at them.
            if !orphan && self.stage != Stage::Tags {
                packet.extend_from_slice(segment);
            }
            if packet.len() > MOST_PACKET {
                packet = Vec::new();
                orphan = true;
                self.lost += 1;
            }
            open = len == u8::MAX;
            if !open {
                let whole = std::mem::take(&mut packet);
                if !std::mem::take(&mut orphan) {
                    self.packet(whole, packets)?;
                }
            }
        }
        self.partial = (open && !orphan).then_some(packet);
        Ok(())
    }

    fn packet(&mut self, packet: Vec<u8>, packets: &mut Vec<Vec<u8>>) -> Result<(), String> {
        match self.stage {
            Stage::Head => {
                let head = Head::parse(&packet);
                if head.is_err() {
                    self.serial = None;
                }
                self.head = Some(head?);
                self.stage = Stage::Tags;
            }
            Stage::Tags => self.stage = Stage::Audio,
            // A packet of no bytes is no Opus packet, and stands for nothing.
            Stage::Audio if packet.is_empty() => {}
            Stage::Audio => packets.push(packet),
        }
        Ok(())
    }
}

/// From the next place at which a page may begin; never the first byte.
fn next_capture(data: &[u8]) -> &[u8] {
    let begins = |at: &usize| {
        let here = &data[*at..];
        let known = here.len().min(CAPTURE.len());
        here[..known] == CAPTURE[..known]
    };
    let at = (1..data.len()).find(begins).unwrap_or(data.len());
    &data[at..]
}

#[cfg(test)]
mod tests;
