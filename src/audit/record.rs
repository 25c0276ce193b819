//! One record as a line: how it is written, and how it is checked without taking all of it apart.
//!
//! A line reads `<front>,"hash":"<64 digits>"}`. The hash is the BLAKE3 of the bytes of `<front>}`: of the line as it
//! stands, not of what it means, so that no other spelling of the same JSON passes.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// The longest line that is written or read, in bytes.
pub const LINE_LIMIT: usize = 4 << 20;

/// A hash, as bytes.
pub type Hash = [u8; 32];

/// The hash before the first record.
pub const ORIGIN: Hash = [0; 32];

/// How every record begins.
const FRONT: &str = "{\"v\":1,\"seq\":";

/// `,"hash":"`, 64 digits, `"}`.
const SEAL: usize = 9 + 64 + 2;

/// `,"prev":"`, 64 digits, `"`.
const LINK: usize = 9 + 64 + 1;

/// A record whose bytes are what they were when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'line> {
    /// What stands at its beginning.
    pub front: Front<'line>,
    /// The hash of the record before.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
}

impl Sealed<'_> {
    /// Its own hash, in hexadecimal.
    #[must_use]
    pub fn hex_hash(&self) -> String {
        hex(&self.hash)
    }
}

/// The fields that every record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front<'line> {
    /// Its number.
    pub seq: u64,
    /// When, RFC 3339 UTC.
    pub ts: &'line str,
    /// Identity of the log.
    pub log: &'line str,
    /// The run.
    pub run: &'line str,
    /// What happened.
    pub event: &'line str,
}

/// The line of a record that has no `hash` yet, with its line feed, and the hash.
#[must_use]
pub fn seal(record: Map<String, Value>) -> (String, Hash) {
    let mut line = Value::Object(record).to_string();
    let hash = *blake3::hash(line.as_bytes()).as_bytes();
    line.pop();
    line.push_str(",\"hash\":\"");
    line.push_str(&hex(&hash));
    line.push_str("\"}\n");
    (line, hash)
}

/// A hash in hexadecimal.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    blake3::Hash::from(*hash).to_hex().to_string()
}

/// A hash from 64 lower-case hexadecimal digits.
#[must_use]
pub fn unhex(text: &str) -> Option<Hash> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    blake3::Hash::from_hex(text)
        .ok()
        .filter(|_| lower)
        .map(|hash| *hash.as_bytes())
}

/// The record of a line (without its line feed), if its bytes are what its hash was made of.
#[must_use]
pub fn check(line: &[u8]) -> Option<Sealed<'_>> {
    if line.len() > LINE_LIMIT || !looks_sealed(line) {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?;
    let cut = text.len().checked_sub(SEAL)?;
    let (body, sealed) = text.split_at_checked(cut)?;
    let claimed = sealed.strip_prefix(",\"hash\":\"")?.strip_suffix("\"}")?;
    let (_, link) = body.split_at_checked(body.len().checked_sub(LINK)?)?;
    let prev = link.strip_prefix(",\"prev\":\"")?.strip_suffix('"')?;
    let front = front(body)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(body.as_bytes());
    hasher.update(b"}");
    let hash = hasher.finalize();
    if hash.to_hex().as_str() != claimed {
        return None;
    }
    // A right hash on what no reader can read is no record either.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(Sealed {
        front,
        prev: unhex(prev)?,
        hash: *hash.as_bytes(),
    })
}

/// Whether a line ends as records do; a cheap look before its bytes are hashed.
#[must_use]
pub fn looks_sealed(line: &[u8]) -> bool {
    let Some(cut) = line.len().checked_sub(SEAL + LINK) else {
        return false;
    };
    let end = line.get(cut..).unwrap_or_default();
    end.starts_with(b",\"prev\":\"")
        && end
            .get(LINK..)
            .is_some_and(|seal| seal.starts_with(b",\"hash\":\""))
        && line.starts_with(FRONT.as_bytes())
}

/// The fields at the beginning of a line, without a look at the rest.
#[must_use]
pub fn front(text: &str) -> Option<Front<'_>> {
    let (seq, rest) = claimed_seq(text)?;
    let (ts, rest) = plain(rest.strip_prefix(",\"ts\":\"")?)?;
    let (log, rest) = plain(rest.strip_prefix(",\"log\":\"")?)?;
    let (run, rest) = plain(rest.strip_prefix(",\"run\":\"")?)?;
    let (event, _) = plain(rest.strip_prefix(",\"event\":\"")?)?;
    Some(Front {
        seq,
        ts,
        log,
        run,
        event,
    })
}

/// The number that a line claims to have, sound or not, and what follows it.
#[must_use]
pub fn claimed_seq(text: &str) -> Option<(u64, &str)> {
    let rest = text.strip_prefix(FRONT)?;
    let end = rest.find(',')?;
    let (digits, rest) = rest.split_at_checked(end)?;
    let canonical = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    // Far below the largest number, so that sums of such numbers are numbers too.
    let seq = digits.parse().ok().filter(|seq| *seq < 1 << 53)?;
    canonical.then_some((seq, rest))
}

/// Where records may begin inside a line: the line feed before them was lost.
pub fn beginnings(line: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let front = FRONT.as_bytes();
    line.windows(front.len())
        .enumerate()
        .skip(1)
        .filter(move |(_, window)| *window == front)
        .map(|(at, _)| at)
}

/// A string up to its closing quote. What the program itself makes up holds no escapes.
fn plain(rest: &str) -> Option<(&str, &str)> {
    let end = rest.find('"')?;
    let (text, rest) = rest.split_at_checked(end)?;
    if text.is_empty() || text.contains('\\') {
        return None;
    }
    Some((text, rest.get(1..)?))
}
