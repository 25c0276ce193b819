//! A page for programs on the loopback interface: a request line is read, a text is answered. One connection at a time, each
//! bounded in time and size; nothing that is sent changes anything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::error::{Error, Result};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a request that are read.
const REQUEST: usize = 8 << 10;

/// What is answered.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    /// `/metrics`.
    pub metrics: String,
    /// `/healthz`; empty: not well.
    pub health: String,
    /// Until when `/healthz` holds: whoever has not renewed it by then hangs.
    pub until: Option<Instant>,
}

/// The pages, for whoever renews them.
pub type Shared = Arc<Mutex<Pages>>;

/// Listens at a loopback address, in a thread of its own. Gives the address, with the port that was free where 0 was asked
/// for.
///
/// # Errors
/// Where the address can't be had.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that listens, on loopback alone"
)]
pub fn listen(address: SocketAddr, pages: Shared) -> Result<SocketAddr> {
    let failed = |error: std::io::Error| {
        Error::io(format!("listen at `{address}`"), &error).hint("choose another port in monitor.listen")
    };
    if !address.ip().is_loopback() {
        return Err(Error::denied(format!(
            "`{address}` is not on the loopback interface"
        )));
    }
    let listener = TcpListener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    std::thread::Builder::new()
        .name("listener".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no matter of ours.
                let _ = answer(stream, &pages);
            }
        })
        .map_err(|error| Error::io("start the thread that listens", &error))?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, pages: &Shared) -> std::io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            read => request.extend_from_slice(piece.get(..read).unwrap_or_default()),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let pages = pages.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let text = "text/plain; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => (
            "200 OK",
            "text/plain; version=0.0.4; charset=utf-8",
            pages.metrics,
        ),
        ("GET" | "HEAD", "/healthz") if pages.until.is_some_and(|until| until > Instant::now()) => {
            ("200 OK", text, pages.health)
        }
        ("GET" | "HEAD", "/healthz") => (
            "503 Service Unavailable",
            text,
            "no judgement was made in time\n".to_owned(),
        ),
        ("GET" | "HEAD", _) => ("404 Not Found", text, "/metrics or /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", text, "only GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}
