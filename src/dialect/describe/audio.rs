//! The header before the audio of a binary frame.

use bytes::Bytes;

use crate::scenario::units::nearest;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A number; true: another number says that the frame is no audio.
    Number(u32, bool),
    TsMs,
    Seq,
    Chunk,
    Len,
}

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    bytes: usize,
    little: bool,
    holds: Holds,
}

/// What the fields say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) ts_ms: u32,
    pub(super) seq: u32,
    pub(super) chunk: u32,
}

/// The fields before a payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header(Vec<Field>);

impl Header {
    /// True when it is the same for every frame of one payload.
    pub(super) fn is_of_the_run(&self) -> bool {
        self.0.iter().all(|f| matches!(f.holds, Holds::Number(..) | Holds::Len))
    }

    pub(super) fn push(&mut self, field: Field) {
        self.0.push(field);
    }

    /// Puts a payload behind it.
    pub(super) fn wrap(&self, payload: &Bytes, n: Numbers) -> Bytes {
        if self.0.is_empty() {
            return payload.clone();
        }
        let mut out = Vec::with_capacity(self.len() + payload.len());
        for f in &self.0 {
            let value = match f.holds {
                Holds::Number(n, _) => n,
                Holds::TsMs => n.ts_ms,
                Holds::Seq => n.seq,
                Holds::Chunk => n.chunk,
                Holds::Len => payload.len() as u32,
            };
            if f.little {
                out.extend_from_slice(value.to_le_bytes().get(..f.bytes).unwrap_or_default());
            } else {
                out.extend_from_slice(value.to_be_bytes().get(4 - f.bytes..).unwrap_or_default());
            }
        }
        out.extend_from_slice(payload);
        out.into()
    }

    fn len(&self) -> usize {
        self.0.iter().map(|f| f.bytes).sum()
    }

    /// The payload behind it; `None`: the frame is no audio.
    pub(super) fn unwrap(&self, frame: &Bytes) -> Result<Option<Bytes>, String> {
        let size = self.len();
        let Some(payload) = frame.len().checked_sub(size) else {
            return Err(format!(
                "a binary frame of {} bytes, where a header of {size} was expected",
                frame.len()
            ));
        };
        let (mut at, mut end) = (0, frame.len());
        for f in &self.0 {
            let bytes = frame.get(at..at + f.bytes).unwrap_or_default();
            let join = |n: u32, b: &u8| n << 8 | u32::from(*b);
            let value = if f.little { bytes.iter().rev().fold(0, join) } else { bytes.iter().fold(0, join) };
            at += f.bytes;
            match f.holds {
                Holds::Number(n, true) if n != value => return Ok(None),
                Holds::Len => {
                    let len = value as usize;
                    if len > payload {
                        return Err(format!(
                            "the header of a binary frame announces {len} bytes, and {payload} follow"
                        ));
                    }
                    end = size + len;
                }
                _ => {}
            }
        }
        Ok(Some(frame.slice(size..end)))
    }
}

/// Reads `u16=len`.
pub(super) fn field(text: &str) -> Result<Field, String> {
    const HELP: &str = "expected `u8`, `u16` or `u32` (`le` behind it for little-endian), `=` (`==` to check it), and a number, `ts_ms`, `seq`, `chunk` or `len`";
    let Some((kind, value)) = text.split_once('=') else {
        return Err(HELP.to_owned());
    };
    let (kind, value) = (kind.trim(), value.trim());
    let (checked, value) = value.strip_prefix('=').map_or((false, value), |v| (true, v.trim()));
    let (size, little) = kind.strip_suffix("le").map_or((kind, false), |k| (k, true));
    let bytes = match size {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        _ => return Err(HELP.to_owned()),
    };
    let holds = match value {
        "ts_ms" => Holds::TsMs,
        "seq" => Holds::Seq,
        "chunk" => Holds::Chunk,
        "len" => Holds::Len,
        number => match number.parse::<u32>() {
            Ok(n) if bytes == 4 || u64::from(n) < 1 << (8 * bytes) => Holds::Number(n, checked),
            Ok(_) => return Err(format!("{number} does not fit into a {size}")),
            Err(_) => {
                return Err(match nearest(number, ["ts_ms", "seq", "chunk", "len"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => HELP.to_owned(),
                });
            }
        },
    };
    Ok(Field { bytes, little, holds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(fields: &[&str]) -> Header {
        Header(fields.iter().map(|f| field(f).unwrap()).collect())
    }

    #[test]
    fn headers_as_xiaozhi_writes_them() {
        let payload = Bytes::from_static(&[9, 8, 7]);
        let v2 = header(&["u16=2", "u16==0", "u32=0", "u32=ts_ms", "u32=len"]);
        let frame = v2.wrap(&payload, Numbers { ts_ms: 0x0102, ..Numbers::default() });
        assert_eq!(&frame[..], [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 9, 8, 7]);
        assert_eq!(v2.unwrap(&frame), Ok(Some(payload.clone())));
        let v3 = header(&["u8=0", "u8=0", "u16=len"]);
        assert_eq!(&v3.wrap(&payload, Numbers::default())[..], [0, 0, 0, 3, 9, 8, 7]);
        assert!(v3.is_of_the_run() && !v2.is_of_the_run());
        let json = header(&["u16=2", "u16=1"]).wrap(&payload, Numbers::default());
        assert_eq!(header(&["u16=2", "u16==0"]).unwrap(&json), Ok(None), "not audio");
        assert!(
            v3.unwrap(&Bytes::from_static(&[0, 0])).is_err()
                && v3.unwrap(&Bytes::from_static(&[0, 0, 0, 9])).is_err()
        );
    }

    #[test]
    fn what_is_no_field_is_said() {
        for (text, why) in [
            ("u16", "expected"),
            ("u7=1", "expected"),
            ("u8=256", "fit"),
            ("u16=lem", "`len`"),
            ("u16le=-1", "expected"),
        ] {
            assert!(field(text).unwrap_err().contains(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_wrapped_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..50), little: bool, junk in prop::collection::vec(any::<u8>(), 0..20)) {
            let le = if little { "le" } else { "" };
            let h = header(&[&format!("u32{le}=seq"), &format!("u16{le}=len"), "u8==7"]);
            let payload = Bytes::from(bytes);
            prop_assert_eq!(h.unwrap(&h.wrap(&payload, Numbers { seq: 5, ..Numbers::default() })), Ok(Some(payload)));
            let _ = h.unwrap(&Bytes::from(junk));
        }
    }
}
