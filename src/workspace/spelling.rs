//! Paths as text that leads back to them. A name need not be UTF-8, and text must be: each byte that is none is written
//! as a NUL, which no path holds, and two hexadecimal digits.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The text of a path; the path itself where it is UTF-8.
#[must_use]
pub fn spelled(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\0{byte:02x}").expect("a string takes all");
        }
    }
    text
}

/// The path of a text; nothing where a NUL stands for no byte that UTF-8 lacks.
#[must_use]
pub fn read(text: &str) -> Option<PathBuf> {
    let mut parts = text.split('\0');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        // What begins with `+` would be read as a number too; and nobody may spell a slash in disguise.
        let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| *byte >= 0x80)?;
        bytes.push(byte);
        bytes.extend(rest.as_bytes());
    }
    Some(OsString::from_vec(bytes).into())
}

/// The text of a path for people: what no character stands for is shown as a replacement character.
#[must_use]
pub fn for_people(text: &str) -> String {
    read(text).map_or_else(|| text.to_owned(), |path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_utf8_is_spelled_and_read_again() {
        for bytes in [
            b"a/b.txt" as &[u8],
            b"\xff\xfename",
            "\u{fffd}é".as_bytes(),
            b"e\xcc",
            b"",
        ] {
            let path = Path::new(std::ffi::OsStr::from_bytes(bytes));
            assert_eq!(read(&spelled(path)).as_deref(), Some(path));
        }
        assert_eq!(spelled(Path::new("é")), "é");
    }

    #[test]
    fn no_other_byte_can_be_spelled() {
        for text in ["a\0b", "a\0", "\x002e\x002e\x002f", "\0+f", "\0f", "\0é"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
