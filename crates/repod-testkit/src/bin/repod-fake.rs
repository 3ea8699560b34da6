//! Stands in for `opencode` in the benchmark: it is brought up like the real one, but answers at
//! once, so that what is in front of it can be measured. One thread, plain bytes, no checks.
//!
//! `GET /fake/emit?to=gateway&count=C&every_ms=M` sends C events to the readers of `/global/event`
//! that authenticate (a gateway), `to=direct` to those that don't; it is answered when all are sent.
//! Each event carries the time of its sending in nanoseconds since 1970.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};

const VERSION: &str = "1.18.33";
/// Larger heads end their connection.
const HEAD_MAX: usize = 64 * 1024;

/// Whoever reads events, and whether it authenticates.
type Readers = Arc<Mutex<Vec<(bool, Arc<TcpStream>)>>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout();
    if args.iter().any(|arg| arg == "--version") {
        return code(&writeln!(out, "{VERSION}"));
    }
    let port = args.iter().position(|arg| arg == "--port").and_then(|at| args.get(at + 1));
    let port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    code(&runtime.and_then(|runtime| runtime.block_on(serve(port))))
}

fn code(result: &io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut out = io::stdout();
    writeln!(out, "opencode server listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    let readers = Readers::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let readers = Arc::clone(&readers);
        tokio::spawn(async move {
            // Whatever breaks a connection ends it alone.
            let _ = connection(Arc::new(stream), &readers).await;
        });
    }
}

async fn connection(stream: Arc<TcpStream>, readers: &Readers) -> io::Result<()> {
    let mut heard = Vec::new();
    loop {
        let Some((head, length)) = request(&heard) else {
            if heard.len() > HEAD_MAX || read(&stream, &mut heard).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let authenticates = head.to_ascii_lowercase().contains("\nauthorization:");
        heard.drain(..length);
        let path = target.split('?').next().unwrap_or_default();
        match path {
            "/global/event" => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    transfer-encoding: chunked\r\n\r\n";
                send(&stream, head.as_bytes()).await?;
                let first = r#"{"payload":{"type":"server.connected","properties":{}}}"#;
                send(&stream, chunk(first).as_bytes()).await?;
                lock(readers).push((authenticates, Arc::clone(&stream)));
                // Nothing more is said on it; its end is waited for.
                while read(&stream, &mut heard).await? > 0 {}
                lock(readers).retain(|(_, reader)| !Arc::ptr_eq(reader, &stream));
                return Ok(());
            }
            "/fake/emit" => emit(&target, readers).await,
            _ => {}
        }
        let body = match path {
            "/global/health" => format!(r#"{{"healthy":true,"version":"{VERSION}"}}"#),
            "/path" => r#"{"home":"/home/u","state":"/home/u/.local/state/opencode","config":"/home/u/.config/opencode","worktree":"/src/web","directory":"/src/web"}"#.to_owned(),
            "/session/status" | "/fake/emit" => "{}".to_owned(),
            _ => "[]".to_owned(),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        send(&stream, answer.as_bytes()).await?;
    }
}

/// The head of the request at the begin of these bytes, and the length of all of it.
fn request(heard: &[u8]) -> Option<(&str, usize)> {
    let end = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&heard[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let all = end + length.unwrap_or(0);
    (heard.len() >= all).then_some((head, all))
}

async fn read(stream: &TcpStream, heard: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(heard) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn emit(target: &str, readers: &Readers) {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let value =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let number = |name| value(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(1);
    let to_gateway = value("to") == Some("gateway");
    let every = Duration::from_millis(number("every_ms"));
    for n in 0..number("count") {
        let to: Vec<_> = lock(readers)
            .iter()
            .filter(|(authenticates, _)| *authenticates == to_gateway)
            .map(|(_, stream)| Arc::clone(stream))
            .collect();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let event = chunk(&format!(
            r#"{{"directory":"/src/web","project":"p","payload":{{"id":"evt_{at}","type":"message.part.delta","properties":{{"sessionID":"ses_1","messageID":"msg_1","partID":"prt_1","field":"text","delta":"and so on","n":{n},"at":{at}}}}}}}"#
        ));
        for stream in to {
            // A reader that takes nothing is none.
            let _ = stream.try_write(event.as_bytes());
        }
        tokio::time::sleep(every).await;
    }
}

fn chunk(event: &str) -> String {
    let event = format!("data: {event}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
