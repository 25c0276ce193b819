//! An HTTP receiver on loopback that behaves as it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Events, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// How it answers.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// With a status and a text.
    Status(u16, &'static str),
    /// With a status, and these headers.
    Headers(u16, String),
    /// With the path that was asked for, as a status 200.
    Echo,
    /// Never.
    Hang,
    /// With bytes that are no HTTP.
    Garbage,
    /// With a body that has no end.
    Flood,
    /// By closing the connection.
    Close,
    /// When [`Receiver::release`] is called.
    Held,
}

/// What it was sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

struct Inside {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
    /// Connections that are left without an answer.
    open: Mutex<Vec<TcpStream>>,
    arrived: Mutex<Sender<()>>,
}

/// The receiver; it ends with the test.
pub struct Receiver {
    port: u16,
    inside: Arc<Inside>,
    arrivals: Mutex<Events<()>>,
}

impl Receiver {
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (arrived, arrivals) = channel();
        let inside = Arc::new(Inside {
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            open: Mutex::default(),
            arrived: Mutex::new(arrived),
        });
        let shared = Arc::clone(&inside);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The last one comes from `drop`.
                if Arc::strong_count(&shared) == 1 {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self {
            port,
            inside,
            arrivals: Mutex::new(arrivals),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn become_(&self, behaviour: Behaviour) {
        *self.inside.behaviour.lock().unwrap() = behaviour;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.inside.requests.lock().unwrap().clone()
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.requests().iter().map(Request::json).collect()
    }

    pub fn ids(&self) -> Vec<String> {
        let id = |request: &Request| request.header("x-rollback-alert-id").unwrap().to_owned();
        self.requests().iter().map(id).collect()
    }

    /// Waits for the next request; `false` where none comes in this time.
    pub fn wait(&self, patience: Duration) -> bool {
        self.arrivals.lock().unwrap().recv_timeout(patience).is_ok()
    }

    /// Answers what is held with 200.
    pub fn release(&self) {
        for mut stream in self.inside.open.lock().unwrap().drain(..) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.inside = Arc::new(Inside {
            behaviour: Mutex::new(Behaviour::Close),
            requests: Mutex::default(),
            open: Mutex::default(),
            arrived: Mutex::new(channel().0),
        });
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Inside {
    fn serve(&self, mut stream: TcpStream) {
        let Some(request) = read(&stream) else { return };
        let behaviour = self.behaviour.lock().unwrap().clone();
        let path = request.path.clone();
        self.requests.lock().unwrap().push(request);
        let answer = |status: u16, headers: &str, text: &str| {
            format!(
                "HTTP/1.1 {status} Said\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{text}",
                text.len()
            )
        };
        let bytes = match behaviour {
            Behaviour::Status(status, text) => answer(status, "", text),
            Behaviour::Headers(status, headers) if !path.ends_with("/moved") => answer(status, &headers, ""),
            Behaviour::Headers(..) => answer(200, "", "found"),
            Behaviour::Echo => answer(200, "", &path),
            Behaviour::Garbage => "\u{1}\u{2}not HTTP at all\r\n\r\n".to_owned(),
            Behaviour::Close => String::new(),
            Behaviour::Flood => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(4 << 20)),
            Behaviour::Hang | Behaviour::Held => {
                self.open.lock().unwrap().push(stream);
                let _ = self.arrived.lock().unwrap().send(());
                return;
            }
        };
        // Whoever has read enough, or was killed, closes first.
        let _ = stream.write_all(bytes.as_bytes());
        let _ = self.arrived.lock().unwrap().send(());
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}
