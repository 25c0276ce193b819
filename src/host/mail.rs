//! Mail: handed to one server, which is the one that the configuration names.

use std::time::Duration;

use lettre::message::Message;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain first, then always TLS.
    Upgraded,
    /// TLS from the first byte.
    Whole,
    /// None.
    None,
}

/// A mail server.
pub struct Server<'a> {
    /// Its name; its certificate must be for it.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User and password.
    pub login: Option<(&'a str, &'a str)>,
    /// Certificates (PEM) that alone vouch for it; `None`: those that everybody trusts.
    pub certificates: Option<&'a [u8]>,
    /// How long each step of the conversation may take.
    pub timeout: Duration,
}

/// Why the server did not take a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why, for people.
    pub why: String,
    /// Whether it answered.
    pub answered: bool,
}

impl Failure {
    fn of(error: &lettre::transport::smtp::Error) -> Self {
        // The cause says more than the kind of failure.
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            let message = error.to_string();
            if !why.contains(&message) {
                why = format!("{why}: {message}");
            }
            cause = error.source();
        }
        Self {
            why,
            answered: error.is_transient() || error.is_permanent(),
        }
    }
}

/// Hands a mail over; gives what the server answered.
///
/// # Errors
/// What the server or the system said.
pub fn send(server: &Server<'_>, letter: &Message) -> Result<String, Failure> {
    let mut builder = SmtpTransport::builder_dangerous(server.host)
        .port(server.port)
        .timeout(Some(server.timeout))
        .tls(protection(server)?);
    if let Some((user, password)) = server.login {
        builder = builder.credentials(Credentials::new(user.to_owned(), password.to_owned()));
    }
    let answer = builder
        .build()
        .send(letter)
        .map_err(|error| Failure::of(&error))?;
    let message: Vec<&str> = answer.message().collect();
    Ok(format!("SMTP {} {}", answer.code(), message.join(" ")))
}

fn protection(server: &Server<'_>) -> Result<Tls, Failure> {
    if server.security == Security::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(server.host.to_owned());
    if let Some(pem) = server.certificates {
        let certificate = Certificate::from_pem(pem).map_err(|_| Failure {
            why: "`ca_file` holds no certificate in PEM form".to_owned(),
            answered: false,
        })?;
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate);
    }
    let parameters = parameters.build().map_err(|error| Failure::of(&error))?;
    Ok(match server.security {
        Security::Whole => Tls::Wrapper(parameters),
        _ => Tls::Required(parameters),
    })
}
