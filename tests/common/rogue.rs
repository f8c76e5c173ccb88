//! A server that misbehaves as told: raw sockets, its own few lines of WebSocket, a thread per connection.
//!
//! Devices are told apart by the path of the upgrade request, so that one run can treat each of them differently:
//! the target is `ws://127.0.0.1:PORT/toy/{device}`. Device 0 knocks before the run: it is always treated well.

use std::io::{self, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use voxload::measure::findings::ListenDrops;

/// Samples per second of everything this server says and hears.
const RATE: u32 = 16_000;

/// Audio per message.
const CHUNK: Duration = Duration::from_millis(60);

/// Opcodes of RFC 6455, section 11.8.
pub const TEXT: u8 = 1;
/// See [`TEXT`].
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
/// See [`TEXT`].
pub const PING: u8 = 9;
const PONG: u8 = 10;

/// A listening server. Dropping it closes the port; connections end by themselves.
pub struct Rogue {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Rogue {
    /// Answers every connection with `script`, on a thread of its own; its errors are how connections end.
    pub fn start(script: impl Fn(Call) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::listening(|_| (), || (), script)
    }

    /// Likewise on a listener that is prepared, with something to do between two connections.
    fn listening(
        prepare: impl FnOnce(&TcpListener),
        mut between: impl FnMut() + Send + 'static,
        script: impl Fn(Call) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        prepare(&listener);
        let (stopped, heads) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
        let rogue = Self { address: listener.local_addr().unwrap(), stopped, heads };
        let (stopped, heads) = (Arc::clone(&rogue.stopped), Arc::clone(&rogue.heads));
        let (script, number) = (Arc::new(script), AtomicU32::new(0));
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let number = number.fetch_add(1, Ordering::SeqCst);
                let (script, heads) = (Arc::clone(&script), Arc::clone(&heads));
                std::thread::spawn(move || {
                    tcp.set_nodelay(true).unwrap();
                    tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    let _ = script(Call { tcp, number, heads });
                });
                between();
            }
        });
        rogue
    }

    /// Treats every device well, in the end: after the one that knocks, nobody is accepted until the accept queue has
    /// overflowed. It holds two.
    pub fn reluctant() -> Self {
        let overflows = || ListenDrops::now().unwrap().overflows;
        let held = Arc::<AtomicBool>::default();
        Self::listening(
            |listener| rustix::net::listen(listener, 1).unwrap(),
            move || {
                if held.swap(true, Ordering::SeqCst) {
                    return;
                }
                let before = overflows();
                while overflows() == before {
                    std::thread::sleep(Duration::from_millis(5));
                }
            },
            |call| call.upgrade()?.serve(),
        )
    }

    /// Treats devices as `script` says, except device 0, which is treated well.
    pub fn for_toys(script: impl Fn(&mut Toy) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::start(move |call| {
            let mut toy = call.upgrade()?;
            if toy.device == 0 { toy.serve() } else { script(&mut toy) }
        })
    }

    /// Where devices find it.
    pub fn url(&self) -> String {
        format!("ws://{}/toy/{{device}}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The heads of all upgrade requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Closes the port.
    pub fn stop(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            // The listener looks up when somebody comes.
            let _ = TcpStream::connect(self.address);
        }
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A connection that has just been accepted.
pub struct Call {
    /// The connection.
    pub tcp: TcpStream,
    /// Connections before it.
    pub number: u32,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Call {
    /// Reads the upgrade request; its head, and the number of the device.
    pub fn request(&mut self) -> io::Result<(String, u32)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.tcp.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.heads.lock().unwrap().push(head.clone());
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let device = path
            .split('?')
            .next()
            .and_then(|p| p.rsplit('/').next())
            .and_then(|d| d.parse().ok())
            .unwrap_or(0);
        Ok((head, device))
    }

    /// Answers the request with an HTTP status.
    pub fn refuse(mut self, status: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        // In one piece: the client looks at what comes with the head.
        let answer =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        self.tcp.write_all(answer.as_bytes())?;
        self.linger()
    }

    /// Answers the request with something, and ends the connection.
    pub fn write(mut self, answer: &str) -> io::Result<()> {
        self.tcp.write_all(answer.as_bytes())
    }

    /// Waits until the peer has gone, so that unread bytes do not reset the connection.
    pub fn linger(mut self) -> io::Result<()> {
        io::copy(&mut self.tcp, &mut io::sink()).map(drop)
    }

    /// Passes everything on to another server.
    pub fn relay(self, port: u16) -> io::Result<()> {
        let other = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        let (mut from, mut to) = (self.tcp.try_clone()?, other.try_clone()?);
        let there = std::thread::spawn(move || {
            let copied = io::copy(&mut from, &mut to);
            to.shutdown(Shutdown::Write).and(copied)
        });
        let (mut from, mut to) = (other, self.tcp);
        io::copy(&mut from, &mut to)?;
        to.shutdown(Shutdown::Write)?;
        there.join().map_err(|_| Error::other("the other way failed"))?.map(drop)
    }

    /// Reads the request and agrees to it.
    pub fn upgrade(mut self) -> io::Result<Toy> {
        let (head, device) = self.request()?;
        self.agree(&head, device)
    }

    /// Agrees to a request that has been read.
    pub fn agree(mut self, head: &str, device: u32) -> io::Result<Toy> {
        let key = head
            .lines()
            .find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case("sec-websocket-key")));
        let accept = derive_accept_key(key.map_or("", |(_, key)| key.trim()).as_bytes());
        write!(
            self.tcp,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )?;
        Ok(Toy {
            device,
            tcp: BufReader::new(self.tcp),
            base64: false,
            vad: false,
            plain: false,
            mute: false,
            turns: 0,
        })
    }
}

/// An open WebSocket to a device.
pub struct Toy {
    /// Which device it is.
    pub device: u32,
    /// The connection; bytes go out past the buffer.
    tcp: BufReader<TcpStream>,
    base64: bool,
    vad: bool,
    plain: bool,
    /// Answer no pings.
    pub mute: bool,
    turns: u32,
}

impl Toy {
    /// Answers every turn well, until the device leaves.
    pub fn serve(&mut self) -> io::Result<()> {
        loop {
            let turn = self.turn()?;
            self.reply(turn)?;
        }
    }

    /// Listens until the user has finished speaking; the turn's number.
    pub fn turn(&mut self) -> io::Result<u32> {
        let (mut loud, mut quiet) = (false, 0);
        loop {
            let (opcode, payload) = self.read()?;
            let ended = if opcode == BINARY {
                let audible =
                    payload.chunks_exact(2).any(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 1_000);
                quiet = if audible { 0 } else { quiet + 1 };
                loud |= audible;
                // A third of a second.
                self.vad && loud && quiet >= 5
            } else if payload == b"end_stream" {
                self.plain = true;
                true
            } else {
                let message: Value = serde_json::from_slice(&payload).unwrap_or_default();
                message["type"] == "audio_end"
            };
            if ended {
                self.turns += 1;
                return Ok(self.turns - 1);
            }
        }
    }

    /// Listens to the first of what the user says.
    pub fn first_words(&mut self) -> io::Result<()> {
        while self.read()?.0 != BINARY {}
        Ok(())
    }

    /// A good reply: some text and 300 ms of sound.
    pub fn reply(&mut self, turn: u32) -> io::Result<()> {
        if self.plain {
            return self.frame(BINARY, &tone(5).concat());
        }
        self.json(&json!({"type": "transcript_final", "turn": turn, "text": "yes"}))?;
        self.json(&json!({"type": "llm_token", "turn": turn, "text": "No."}))?;
        tone(5).iter().try_for_each(|chunk| self.audio(turn, chunk))?;
        self.done(turn)
    }

    /// The beginning of a reply: 120 ms of sound.
    pub fn begin_reply(&mut self, turn: u32) -> io::Result<()> {
        tone(2).iter().try_for_each(|chunk| self.audio(turn, chunk))
    }

    /// The end of a reply.
    pub fn done(&mut self, turn: u32) -> io::Result<()> {
        self.json(&json!({"type": "turn_end", "turn": turn}))
    }

    /// Audio, as agreed.
    pub fn audio(&mut self, turn: u32, payload: &[u8]) -> io::Result<()> {
        if self.base64 {
            let audio = BASE64.encode(payload);
            self.json(&json!({"type": "tts_audio_chunk", "turn": turn, "audio": audio}))
        } else {
            self.frame(BINARY, payload)
        }
    }

    /// A message.
    pub fn json(&mut self, message: &Value) -> io::Result<()> {
        self.text(&message.to_string())
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.frame(TEXT, text.as_bytes())
    }

    /// A final frame without a mask.
    pub fn frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            short @ ..126 => bytes.push(short as u8),
            long @ 126..65_536 => {
                bytes.push(126);
                bytes.extend_from_slice(&(long as u16).to_be_bytes());
            }
            huge => {
                bytes.push(127);
                bytes.extend_from_slice(&(huge as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        self.write(&bytes)
    }

    /// Bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.get_mut().write_all(bytes)
    }

    /// Bytes as they are, then nothing until the device leaves.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes)?;
        self.listen()
    }

    /// Says nothing more; hears everything until the device leaves.
    pub fn listen(&mut self) -> io::Result<()> {
        loop {
            self.read()?;
        }
    }

    /// Says goodbye, and waits for the device to leave.
    pub fn close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.frame(CLOSE, &payload)?;
        self.listen()
    }

    /// Says goodbye without a code.
    pub fn close_without_code(&mut self) -> io::Result<()> {
        self.frame(CLOSE, &[])?;
        self.listen()
    }

    /// Ends the connection at once, with a TCP reset.
    pub fn reset(&mut self) -> io::Result<()> {
        rustix::net::sockopt::set_socket_linger(self.tcp.get_ref(), Some(Duration::ZERO))?;
        Err(ErrorKind::ConnectionReset.into())
    }

    /// One frame of the device; pings have been answered.
    fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let mut head = [0; 2];
            self.tcp.read_exact(&mut head)?;
            let length = match head[1] & 0x7f {
                126 => u64::from(u16::from_be_bytes(self.bytes()?)),
                127 => u64::from_be_bytes(self.bytes()?),
                short => u64::from(short),
            };
            let mask: [u8; 4] = self.bytes()?;
            let mut payload = vec![0; usize::try_from(length).map_err(Error::other)?];
            self.tcp.read_exact(&mut payload)?;
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, m)| *byte ^= m);
            match head[0] & 0x0f {
                CLOSE => return Err(ErrorKind::ConnectionAborted.into()),
                PING if self.mute => {}
                PING => self.frame(PONG, &payload)?,
                opcode => {
                    if opcode == TEXT {
                        self.opened(&payload);
                    }
                    return Ok((opcode, payload));
                }
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.tcp.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// What was agreed when the session was opened.
    fn opened(&mut self, payload: &[u8]) {
        let message: Value = serde_json::from_slice(payload).unwrap_or_default();
        if message["type"] == "session_start" {
            self.base64 = message["audio"]["encoding"] == "base64";
            self.vad = message["turn_detection"] == "server";
        }
    }
}

/// PCM16 of a tone, in messages of 60 ms.
pub fn tone(messages: usize) -> Vec<Vec<u8>> {
    let sample = |i: usize| (8_000.0 * (i as f32 * 0.15).sin()) as i16;
    pcm(messages, sample)
}

/// PCM16 of silence, likewise.
pub fn silence(messages: usize) -> Vec<Vec<u8>> {
    pcm(messages, |_| 0)
}

fn pcm(messages: usize, sample: impl Fn(usize) -> i16) -> Vec<Vec<u8>> {
    let samples = (RATE as u128 * CHUNK.as_millis() / 1_000) as usize;
    let message = |m: usize| (m * samples..(m + 1) * samples).flat_map(|i| sample(i).to_le_bytes()).collect();
    (0..messages).map(message).collect()
}
