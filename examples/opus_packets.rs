//! Writes what devices send, and what `ropus` decodes from it, for another implementation to compare:
//! `cargo run --example opus_packets -- DIR`, then `scripts/opus_interop.py DIR`.
//!
//! Each case is two files: `NAME.packets` (every packet as a little-endian `u32` length and its bytes, in standard
//! form) and `NAME.pcm` (16 bit, little endian). NAME begins with the sample rate.

use std::fs;
use std::path::Path;

use voxload::audio::codec::{opus, packet, pcm};
use voxload::audio::{self, AudioFormat, Codec, CodecSettings, Decoder, Library};
use voxload::scenario::{EndOfTurn, Flush};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: opus_packets DIR")?;
    let dir = Path::new(&dir);
    fs::create_dir_all(dir)?;
    let mut cases = 0;
    let sounds = Library::load(&["hello".into(), "yes".into()], Path::new(".")).map_err(|e| e.join("\n"))?;
    for sound in &sounds {
        for rate in opus::RATES {
            for frame in opus::FRAMES {
                for (bitrate, frames, dtx) in
                    [(16_000, 1, false), (24_000, 5, false), (64_000, 2, false), (24_000, 1, true)]
                {
                    let settings = CodecSettings {
                        format: AudioFormat { codec: Codec::Opus, sample_rate: rate },
                        bitrate,
                        frame,
                        chunk: frame * frames,
                        complexity: 5,
                        dtx,
                    };
                    let clip = audio::encode(sound, &settings, EndOfTurn::Vad, Flush::Frame)?;
                    let mut decoder = Decoder::new(settings.format)?;
                    let (mut packets, mut samples, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
                    for chunk in clip.speech.iter().chain(clip.silence.iter()) {
                        decoder.decode(&chunk.payload, &mut samples)?;
                        packet::for_each_packet(&chunk.payload, |p| {
                            packets.extend((p.len() as u32).to_le_bytes());
                            packets.extend_from_slice(p);
                        })?;
                    }
                    pcm::encode(&samples, &mut bytes);
                    let name = format!(
                        "{rate}-{}-{}us-x{frames}-{bitrate}{}",
                        sound.id,
                        frame.0,
                        if dtx { "-dtx" } else { "" }
                    );
                    fs::write(dir.join(format!("{name}.packets")), packets)?;
                    fs::write(dir.join(format!("{name}.pcm")), bytes)?;
                    cases += 1;
                }
            }
        }
    }
    println!("{cases} cases written to {}", dir.display());
    Ok(())
}
