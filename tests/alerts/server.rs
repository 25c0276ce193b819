//! A mail server on loopback: STARTTLS with a certificate of its own, a login, and answers as it is told.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it was given.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub login: Option<String>,
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
}

/// How it behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// TLS from the first byte.
    pub implicit: bool,
    /// STARTTLS is not offered.
    pub plain: bool,
}

struct Inside {
    manner: Manner,
    config: Arc<ServerConfig>,
    mails: Mutex<Vec<Mail>>,
    /// What is said to the next mails; 250 when it is used up.
    answers: Mutex<Vec<&'static str>>,
    /// Everything that came without protection.
    in_the_clear: Mutex<String>,
}

/// The server; its threads end with their connections.
pub struct Server {
    pub port: u16,
    /// The certificate that vouches for it.
    pub authority: String,
    inside: Arc<Inside>,
}

/// TLS for 127.0.0.1, and the certificate that vouches for it.
pub fn tls() -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    (Arc::new(config), authority.pem())
}

impl Server {
    pub fn start(manner: Manner, answers: &[&'static str]) -> Self {
        let (config, authority) = tls();
        let inside = Arc::new(Inside {
            manner,
            config,
            mails: Mutex::default(),
            answers: Mutex::new(answers.to_vec()),
            in_the_clear: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::clone(&inside);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if Arc::strong_count(&shared) == 1 {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self {
            port,
            authority,
            inside,
        }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.inside.mails.lock().unwrap().clone()
    }

    pub fn in_the_clear(&self) -> String {
        self.inside.in_the_clear.lock().unwrap().clone()
    }
}

impl Inside {
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        if !self.manner.implicit {
            stream.write_all(b"220 test\r\n").ok()?;
            loop {
                let line = plain_line(&mut stream)?;
                self.in_the_clear.lock().unwrap().push_str(&line);
                let answer: &[u8] = match line.split_whitespace().next()? {
                    "EHLO" if self.manner.plain => b"250-test\r\n250 AUTH PLAIN LOGIN\r\n",
                    "EHLO" => b"250-test\r\n250 STARTTLS\r\n",
                    "STARTTLS" => {
                        stream.write_all(b"220 go on\r\n").ok()?;
                        break;
                    }
                    "QUIT" => return None,
                    _ => b"530 STARTTLS first\r\n",
                };
                stream.write_all(answer).ok()?;
            }
        }
        let connection = ServerConnection::new(Arc::clone(&self.config)).ok()?;
        let mut stream = StreamOwned::new(connection, stream);
        if self.manner.implicit {
            stream.write_all(b"220 test\r\n").ok()?;
        }
        self.converse(&mut BufReader::new(stream))
    }

    fn converse<S: Read + Write>(&self, stream: &mut BufReader<S>) -> Option<()> {
        let mut mail = Mail::default();
        loop {
            let line = line(stream)?;
            let (word, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
            let answer = match word {
                "EHLO" => "250-test\r\n250 AUTH PLAIN",
                "AUTH" => {
                    let bytes = base64::engine::general_purpose::STANDARD
                        .decode(rest.strip_prefix("PLAIN ")?)
                        .ok()?;
                    mail.login = Some(String::from_utf8(bytes).ok()?.replace('\0', "/"));
                    "235 welcome"
                }
                "MAIL" => {
                    rest.clone_into(&mut mail.from);
                    "250 ok"
                }
                "RCPT" => {
                    mail.to.push(rest.to_owned());
                    "250 ok"
                }
                "DATA" => {
                    stream.get_mut().write_all(b"354 go on\r\n").ok()?;
                    mail.text = data(stream)?;
                    self.mails.lock().unwrap().push(std::mem::take(&mut mail));
                    let mut answers = self.answers.lock().unwrap();
                    if answers.is_empty() {
                        "250 taken"
                    } else {
                        answers.remove(0)
                    }
                }
                "QUIT" => return None,
                _ => "250 ok",
            };
            stream
                .get_mut()
                .write_all(format!("{answer}\r\n").as_bytes())
                .ok()?;
        }
    }
}

/// A line, byte by byte, so that nothing of what comes after STARTTLS is taken.
fn plain_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    String::from_utf8(line).ok()
}

fn line<S: Read>(stream: &mut BufReader<S>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(count) if count > 0 => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

fn data<S: Read>(stream: &mut BufReader<S>) -> Option<String> {
    let mut text = String::new();
    loop {
        let line = line(stream)?;
        if line == "." {
            return Some(text);
        }
        text.push_str(&line);
        text.push('\n');
    }
}
