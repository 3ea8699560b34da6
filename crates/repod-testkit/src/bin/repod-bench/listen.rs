//! Readers of an event stream, as many as wanted in one thread: what is measured is the way to them.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the next event may take.
const BOUND: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Readers {
    epoll: OwnedFd,
    readers: Vec<(TcpStream, Vec<u8>)>,
}

impl Readers {
    /// Connects them, each with its head and first event read.
    pub(crate) fn open(count: usize, port: u16, opens: &str) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll");
        let readers = (0..count).map(|n| {
            let stream = open(port, opens);
            epoll::add(&epoll, &stream, EventData::new_u64(n as u64), EventFlags::IN)
                .expect("a socket");
            (stream, Vec::new())
        });
        let readers = readers.collect();
        Self { epoll, readers }
    }

    /// Waits until everybody has got this many events. For each event, how long after its sending
    /// the last reader had it.
    pub(crate) fn collect(&mut self, count: usize) -> Vec<Duration> {
        let mut last = vec![Duration::ZERO; count];
        let mut missing = count * self.readers.len();
        let mut buffer = vec![0; 256 * 1024];
        let bound = rustix::event::Timespec::try_from(BOUND).expect("a short time");
        while missing > 0 {
            let mut events = Vec::with_capacity(256);
            let spare = rustix::buffer::spare_capacity(&mut events);
            let got = epoll::wait(&self.epoll, spare, Some(&bound)).expect("an epoll");
            assert!(got > 0, "{missing} events did not come");
            for event in events {
                let at = usize::try_from(event.data.u64()).expect("an index");
                let (stream, rest) = &mut self.readers[at];
                let length = match stream.read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    other => other.expect("a stream that goes on"),
                };
                assert!(length > 0, "a stream ended");
                let now = SystemTime::now();
                rest.extend_from_slice(&buffer[..length]);
                for (n, at) in take_events(rest) {
                    let sent = UNIX_EPOCH + Duration::from_nanos(at);
                    let took = now.duration_since(sent).unwrap_or_default();
                    let last = &mut last[usize::try_from(n).expect("an index")];
                    *last = took.max(*last);
                    missing -= 1;
                }
            }
        }
        last
    }
}

fn open(port: u16, opens: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(BOUND)).expect("a socket");
    let opens = if opens.is_empty() { String::new() } else { format!("{opens}\r\n") };
    let head = format!("GET /global/event HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{opens}\r\n");
    stream.write_all(head.as_bytes()).expect("it listens");
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&heard).contains("server.connected") {
        let length = stream.read(&mut buffer).expect("it answers");
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..length]);
    }
    stream.set_nonblocking(true).expect("a socket");
    stream
}

/// The number and the time of each event that is complete; what is left stays.
fn take_events(heard: &mut Vec<u8>) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let text = std::str::from_utf8(heard).expect("ASCII");
    let mut taken = 0;
    while let Some(end) = text[taken..].find("\n\n") {
        let event = &text[taken..taken + end];
        taken += end + 2;
        if let Some((_, numbers)) = event.split_once("\"n\":")
            && let Some((n, at)) = numbers.split_once(",\"at\":")
        {
            let at = at.trim_end_matches('}');
            found.extend(n.parse().ok().zip(at.parse().ok()));
        }
    }
    heard.drain(..taken);
    found
}

/// Has the stand-in send events to those who came through the gateway, or to the others.
pub(crate) fn emit(
    port: u16,
    to: &str,
    count: usize,
    every_ms: u64,
) -> std::thread::JoinHandle<()> {
    let path = format!("/fake/emit?to={to}&count={count}&every_ms={every_ms}");
    std::thread::spawn(move || crate::stage::Kept::open(port, &path, "").ask())
}
