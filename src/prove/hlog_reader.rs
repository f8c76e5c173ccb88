//! Reads HdrHistogram interval logs without HdrHistogram: written from the format's description alone, so that a mistake
//! of the library that wrote the log is not made again by the one that reads it.
//!
//! ```text
//! [Tag=name,]start,width,max,base64
//! base64  ─▶ 0x1c849314, length, zlib ─▶ 0x1c849313, payload length, offset, digits, lowest, highest, ratio, counts
//! counts  ─▶ ZigZag LEB128 (at most 9 bytes): n ≥ 0 a count, n < 0 that many empty slots
//! slot i  ─▶ 2^k slots at a resolution of 1, then half as many at 2, at 4, …     (k from the digits)
//! ```

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;

const COMPRESSED: u32 = 0x1c84_9314;
const PLAIN: u32 = 0x1c84_9313;

/// Largest histogram that is unpacked: more than any log of this program holds.
const LARGEST: u64 = 64 << 20;

/// The samples of one tag: how many in each slot, by the slot's lowest value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Samples(BTreeMap<u64, Slot>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    highest: u64,
    count: u64,
}

impl Samples {
    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|s| s.count).sum()
    }

    /// The highest value of the slot in which the sample of that rank lies (from 1).
    fn at_rank(&self, rank: u64) -> Option<u64> {
        let mut seen = 0;
        self.0
            .values()
            .find(|s| {
                seen += s.count;
                seen >= rank
            })
            .map(|s| s.highest)
    }

    /// The value that the share `q` of the samples does not exceed.
    pub(super) fn quantile(&self, q: f64) -> Option<u64> {
        self.at_rank(((q * self.count() as f64 - 1e-9).ceil() as u64).max(1))
    }

    fn add(&mut self, lowest: u64, highest: u64, count: u64) {
        let slot = self.0.entry(lowest).or_default();
        slot.highest = highest;
        slot.count += count;
    }
}

/// Reads a log; intervals of the same tag are added up.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Samples>, String> {
    let mut tags = BTreeMap::<String, Samples>::new();
    for (n, line) in text.lines().enumerate() {
        // Comments, and the legend.
        if line.starts_with('#') || line.starts_with('"') || line.is_empty() {
            continue;
        }
        let (tag, rest) = match line.strip_prefix("Tag=") {
            Some(rest) => rest.split_once(',').unwrap_or((rest, "")),
            None => ("", line),
        };
        let encoded =
            rest.splitn(4, ',').nth(3).ok_or_else(|| format!("line {}: not four columns", n + 1))?;
        let samples = tags.entry(tag.to_owned()).or_default();
        histogram(encoded, samples).map_err(|e| format!("line {}: {e}", n + 1))?;
    }
    Ok(tags)
}

/// Adds a histogram.
fn histogram(encoded: &str, samples: &mut Samples) -> Result<(), String> {
    let bytes = BASE64.decode(encoded.trim()).map_err(|e| format!("not base64: {e}"))?;
    let mut outer = Bytes(&bytes);
    if outer.u32()? != COMPRESSED {
        return Err("not a compressed histogram of version 2".to_owned());
    }
    let length = outer.u32()? as usize;
    let packed = outer.0.get(..length).ok_or("shorter than it says")?;
    let mut plain = Vec::new();
    ZlibDecoder::new(packed).take(LARGEST).read_to_end(&mut plain).map_err(|e| format!("not zlib: {e}"))?;
    let mut inner = Bytes(&plain);
    if inner.u32()? != PLAIN {
        return Err("not a histogram of version 2".to_owned());
    }
    let length = inner.u32()? as usize;
    let offset = inner.u32()?;
    let digits = inner.u32()?;
    let (lowest, _highest, ratio) = (inner.u64()?, inner.u64()?, f64::from_bits(inner.u64()?));
    if offset != 0 || (ratio - 1.0).abs() > f64::EPSILON || !(1..=5).contains(&digits) {
        return Err(format!("offset {offset}, ratio {ratio}, {digits} digits: none of ours"));
    }
    let layout = Layout::new(digits, lowest);
    let mut counts = Bytes(inner.0.get(..length).ok_or("its counts are shorter than it says")?);
    let mut slot = 0_u64;
    while !counts.0.is_empty() {
        let n = counts.zigzag()?;
        match u64::try_from(n) {
            Ok(count) => {
                if count > 0 {
                    let (low, high) = layout.values(slot).ok_or("a slot beyond all values")?;
                    samples.add(low, high, count);
                }
                slot += 1;
            }
            Err(_) => slot = slot.checked_add(n.unsigned_abs()).ok_or("a slot beyond all values")?,
        }
    }
    Ok(())
}

/// Which values share a slot.
struct Layout {
    /// log₂ of the number of slots at the finest resolution.
    bits: u32,
    /// log₂ of the finest resolution.
    unit: u32,
}

impl Layout {
    fn new(digits: u32, lowest: u64) -> Self {
        // Enough slots to tell values apart up to 2 · 10^digits.
        let bits = (2 * 10_u64.pow(digits)).next_power_of_two().trailing_zeros();
        Self { bits, unit: lowest.max(1).ilog2() }
    }

    /// The lowest and the highest value of a slot.
    fn values(&self, slot: u64) -> Option<(u64, u64)> {
        let half = 1_u64 << (self.bits - 1);
        let (shift, within) = if slot < 2 * half { (0, slot) } else { (slot / half - 1, half + slot % half) };
        let shift = u32::try_from(shift).ok()?.checked_add(self.unit).filter(|s| s + self.bits <= 63)?;
        let low = within << shift;
        Some((low, low + ((1_u64 << shift) - 1)))
    }
}

/// Big-endian bytes, taken one after the other.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_be_bytes)
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for n in 0..9 {
            let [byte] = self.take()?;
            // The ninth byte has no mark of its own: all eight bits count.
            if n == 8 {
                value |= u64::from(byte) << 56;
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    use super::*;
    use crate::report::HlogWriter;
    use crate::time::Micros;

    fn round_trip(intervals: &[Vec<u64>]) -> (Histogram<u64>, Samples) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = HlogWriter::create(dir.path(), SystemTime::UNIX_EPOCH).unwrap();
        let mut all = Histogram::<u64>::new(3).unwrap();
        for (n, values) in intervals.iter().enumerate() {
            let mut h = Histogram::<u64>::new(3).unwrap();
            values.iter().for_each(|&v| h.record(v).unwrap());
            all.add(&h).unwrap();
            log.write("ttfa", Micros::from_secs(n as i64), Micros::from_secs(1), &h).unwrap();
        }
        log.finish().unwrap();
        let text = std::fs::read_to_string(dir.path().join("histograms.hlog")).unwrap();
        (all, read(&text).unwrap().remove("ttfa").unwrap_or_default())
    }

    proptest! {
        #[test]
        fn what_the_library_writes_is_read_back_without_it(
            intervals in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![0..3_000_u64, 0..100_000_000_u64, 0..80_000_000_000_u64], 0..60),
                1..4,
            ),
        ) {
            let (library, ours) = round_trip(&intervals);
            prop_assert_eq!(ours.count(), library.len());
            let mut all: Vec<u64> = intervals.concat();
            all.sort_unstable();
            for q in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let rank = ((q * all.len() as f64 - 1e-9).ceil() as usize).max(1);
                let exact = all.get(rank - 1).copied();
                let ours = ours.quantile(q).filter(|_| !all.is_empty());
                prop_assert_eq!(ours, exact.map(|v| library.highest_equivalent(v)), "{}", q);
            }
        }

        #[test]
        fn no_log_panics(text in "(Tag=[a-z]{0,3},)?[0-9.,]{0,12}[A-Za-z0-9+/=]{0,60}\n?") {
            let _ = read(&text);
        }

        #[test]
        fn no_histogram_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            use std::io::Write as _;
            let mut inner = PLAIN.to_be_bytes().to_vec();
            inner.extend(bytes);
            let mut zip = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zip.write_all(&inner).unwrap();
            let packed = zip.finish().unwrap();
            let mut outer = COMPRESSED.to_be_bytes().to_vec();
            outer.extend((packed.len() as u32).to_be_bytes());
            outer.extend(packed);
            let _ = histogram(&BASE64.encode(outer), &mut Samples::default());
        }
    }

    #[test]
    fn slots_are_those_of_the_description() {
        let three = Layout::new(3, 1);
        assert_eq!(three.bits, 11, "2,048 slots tell 0 to 2,047 apart");
        for (slot, values) in [
            (0, (0, 0)),
            (2_047, (2_047, 2_047)),
            (2_048, (2_048, 2_049)),
            (3_071, (4_094, 4_095)),
            (3_072, (4_096, 4_099)),
        ] {
            assert_eq!(three.values(slot), Some(values), "{slot}");
        }
        assert_eq!(three.values(u64::MAX), None);
    }
}
