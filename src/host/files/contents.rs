//! The bytes of files: read, hashed, written, read again. A large file is cut into pieces that several threads share;
//! BLAKE3 is a tree, so that the digests of the pieces give the digest of the whole. Nothing is mapped into memory: a
//! mapped file that somebody cuts short would kill the process.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use blake3::Hasher;
use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::crew::{hands, lock};
use super::display;
use super::look::changed_meanwhile;
use super::resolve::failure;
use crate::base::error::{Error, Result};

/// What one read asks for: small enough to stay in a processor's own cache between reading, hashing and writing.
pub(super) const BUFFER: usize = 256 << 10;

/// A piece of a large file: a power of two, as the tree of BLAKE3 wants it.
const PIECE: u64 = 4 << 20;

/// From this size on a file is shared between threads.
pub(super) const LARGE: u64 = 4 * PIECE;

/// One large file at a time is shared; who comes meanwhile works alone, which keeps all hands busy just as well.
static SHARED: Mutex<()> = Mutex::new(());

/// Hashes the first `size` bytes of an open file. `seen` gets the bytes as they are read.
///
/// # Errors
/// `Changed` for a file that is shorter; `Failed` where the system won't read.
pub(super) fn digest(
    file: &File,
    size: u64,
    path: &Path,
    buffer: &mut Vec<u8>,
    seen: &AtomicU64,
) -> Result<blake3::Hash> {
    whole(size, buffer, &|hasher, start, end, buffer| {
        hash_range(file, start, end, path, hasher, buffer, seen)
    })
}

/// Copies the first `size` bytes of `source` to `target`, an empty file, hashes them on the way and reads each part back.
/// Holes stay holes.
///
/// # Errors
/// As [`digest`]; `Failed` where the system won't write, or what it gives back is not what was written.
#[expect(clippy::disallowed_methods, reason = "the host's own copy")]
pub(super) fn copy(
    (source, path): (&File, &Path),
    (target, target_path): (&File, &Path),
    size: u64,
    buffer: &mut Vec<u8>,
    seen: &AtomicU64,
) -> Result<blake3::Hash> {
    let digest = whole(size, buffer, &|hasher, start, end, buffer| {
        copy_range(
            (source, path),
            (target, target_path),
            (start, end),
            hasher,
            buffer,
            seen,
        )
    })?;
    // A hole at the end is not written by anybody.
    target
        .set_len(size)
        .map_err(|error| writing(target_path, &error))?;
    Ok(digest)
}

/// Hashes or copies a range: the hasher, its first byte, the byte after its last, a buffer.
type Range<'a> = dyn Fn(&mut Hasher, u64, u64, &mut Vec<u8>) -> Result<()> + Sync + 'a;

fn whole(size: u64, buffer: &mut Vec<u8>, range: &Range<'_>) -> Result<blake3::Hash> {
    if size >= LARGE
        && let Ok(_alone) = SHARED.try_lock()
    {
        return in_pieces(size, range);
    }
    let mut hasher = Hasher::new();
    range(&mut hasher, 0, size, buffer)?;
    Ok(hasher.finalize())
}

fn in_pieces(size: u64, range: &Range<'_>) -> Result<blake3::Hash> {
    let count =
        usize::try_from(size.div_ceil(PIECE)).map_err(|_| Error::bug("a file has too many pieces"))?;
    let next = AtomicUsize::new(0);
    let done: Mutex<Result<Vec<(usize, ChainingValue)>>> = Mutex::new(Ok(Vec::with_capacity(count)));
    let labour = || {
        let mut buffer = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || lock(&done).is_err() {
                return;
            }
            let start = number as u64 * PIECE;
            let mut hasher = Hasher::new();
            hasher.set_input_offset(start);
            let hashed = range(&mut hasher, start, size.min(start + PIECE), &mut buffer);
            let mut done = lock(&done);
            match (hashed, done.as_mut()) {
                (Ok(()), Ok(pieces)) => pieces.push((number, hasher.finalize_non_root())),
                (Err(error), Ok(_)) => *done = Err(error),
                (_, Err(_)) => {}
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..hands().min(count) {
            scope.spawn(labour);
        }
        labour();
    });
    let mut pieces = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)?;
    pieces.sort_unstable_by_key(|(number, _)| *number);
    let values: Vec<ChainingValue> = pieces.into_iter().map(|(_, value)| value).collect();
    let (left, right) = halves(&values, size)?;
    Ok(hazmat::merge_subtrees_root(&left, &right, Mode::Hash))
}

/// The two subtrees below the top of a tree over `size` bytes, more than one piece.
fn halves(values: &[ChainingValue], size: u64) -> Result<(ChainingValue, ChainingValue)> {
    let left = hazmat::left_subtree_len(size);
    let (before, after) = usize::try_from(left / PIECE)
        .ok()
        .and_then(|at| values.split_at_checked(at))
        .ok_or_else(|| Error::bug("a piece of a file is missing"))?;
    Ok((merged(before, left)?, merged(after, size - left)?))
}

fn merged(values: &[ChainingValue], size: u64) -> Result<ChainingValue> {
    match values {
        [] => Err(Error::bug("a piece of a file is missing")),
        [only] => Ok(*only),
        _ => {
            let (left, right) = halves(values, size)?;
            Ok(hazmat::merge_subtrees_non_root(&left, &right, Mode::Hash))
        }
    }
}

fn hash_range(
    file: &File,
    start: u64,
    end: u64,
    path: &Path,
    hasher: &mut Hasher,
    buffer: &mut Vec<u8>,
    seen: &AtomicU64,
) -> Result<()> {
    let mut position = start;
    while position < end {
        let chunk = read(file, position, end, path, buffer)?;
        hasher.update(chunk);
        position += chunk.len() as u64;
        seen.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// The next bytes of a file, at least one.
fn read<'a>(file: &File, position: u64, end: u64, path: &Path, buffer: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    read_with_room(file, position, end, path, buffer).map(|(chunk, _)| chunk)
}

/// As [`read`], with room for as many bytes again.
fn read_with_room<'a>(
    file: &File,
    position: u64,
    end: u64,
    path: &Path,
    buffer: &'a mut Vec<u8>,
) -> Result<(&'a [u8], &'a mut [u8])> {
    if buffer.len() < 2 * BUFFER {
        buffer.resize(2 * BUFFER, 0);
    }
    let (buffer, room) = buffer.split_at_mut(BUFFER);
    let wanted = usize::try_from(end - position).unwrap_or(BUFFER).min(BUFFER);
    let short = || Error::bug("a buffer is too short");
    let chunk = buffer.get_mut(..wanted).ok_or_else(short)?;
    let length = loop {
        match file.read_at(chunk, position) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => {
                break read.map_err(|error| Error::io(format_args!("read `{}`", display(path)), &error))?;
            }
        }
    };
    if length == 0 {
        return Err(changed_meanwhile(path));
    }
    buffer.get(..length).zip(room.get_mut(..length)).ok_or_else(short)
}

fn copy_range(
    (source, path): (&File, &Path),
    (target, target_path): (&File, &Path),
    (start, limit): (u64, u64),
    hasher: &mut Hasher,
    buffer: &mut Vec<u8>,
    seen: &AtomicU64,
) -> Result<()> {
    let mut position = start;
    while position < limit {
        let (data, end) = next_data(source, path, position, limit)?;
        hash_zeros(hasher, data - position);
        seen.fetch_add(data - position, Ordering::Relaxed);
        position = data;
        while position < end {
            let (chunk, again) = read_with_room(source, position, end, path, buffer)?;
            hasher.update(chunk);
            target
                .write_all_at(chunk, position)
                .map_err(|error| writing(target_path, &error))?;
            target
                .read_exact_at(again, position)
                .map_err(|error| reading_back(target_path, &error))?;
            if again != chunk {
                return Err(differs(target_path));
            }
            position += chunk.len() as u64;
            seen.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }
    set_out(target, start, limit);
    Ok(())
}

/// A range is complete and sets out for the disk while the copy goes on, so that the wait at the end is short. Linux
/// begins to write what it is told it won't be asked for; where it does not, nothing is lost.
fn set_out(target: &File, start: u64, end: u64) {
    if let Some(length) = NonZeroU64::new(end.saturating_sub(start))
        && length.get() >= PIECE
    {
        let _ = rustix::fs::fadvise(target, start, Some(length), rustix::fs::Advice::DontNeed);
    }
}

/// Where the next data begins and ends, within `position..limit`.
fn next_data(source: &File, path: &Path, position: u64, limit: u64) -> Result<(u64, u64)> {
    let seeking = |error| failure("read", path, error);
    // Most files have no holes at all; the answer is then here.
    let hole = match rustix::fs::seek(source, SeekFrom::Hole(position)) {
        Ok(hole) => hole.min(limit),
        // A file system that knows no holes, or a file that was cut short, which reading tells.
        Err(Errno::NXIO | Errno::INVAL) => limit,
        Err(error) => return Err(seeking(error)),
    };
    if hole > position {
        return Ok((position, hole));
    }
    let data = match rustix::fs::seek(source, SeekFrom::Data(position)) {
        Ok(data) => data.clamp(position, limit),
        Err(Errno::NXIO) => return Ok((limit, limit)),
        Err(Errno::INVAL) => return Ok((position, limit)),
        Err(error) => return Err(seeking(error)),
    };
    let end = match rustix::fs::seek(source, SeekFrom::Hole(data)) {
        Ok(end) => end.clamp(data, limit),
        Err(Errno::NXIO | Errno::INVAL) => limit,
        Err(error) => return Err(seeking(error)),
    };
    Ok((data, end))
}

pub(super) fn writing(path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("write `{}`", display(path)), error).hint("make room on the disk, then try again")
}

pub(super) fn reading_back(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => differs(path),
        _ => Error::io(format_args!("read back `{}`", display(path)), error),
    }
}

pub(super) fn differs(path: &Path) -> Error {
    Error::failed(format!("the copy `{}` differs from its original", display(path)))
        .hint("check the disk; the original was not touched")
}

fn hash_zeros(hasher: &mut Hasher, mut length: u64) {
    static ZEROS: [u8; 1 << 14] = [0; 1 << 14];
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(ZEROS.len()).min(ZEROS.len());
        hasher.update(ZEROS.get(..part).unwrap_or(&ZEROS));
        length -= part as u64;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make what they look at")]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        for size in [
            LARGE,
            LARGE + 1,
            LARGE - 1,
            5 * PIECE,
            5 * PIECE + 1023,
            7 * PIECE - 1025,
            8 * PIECE + 1,
        ] {
            let bytes: Vec<u8> = (0..size)
                .map(|at| u8::try_from(at * 31 % 241 + at / 4096 % 7).unwrap())
                .collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let read = |hasher: &mut Hasher, start, end, buffer: &mut Vec<u8>| {
                let seen = AtomicU64::new(0);
                hash_range(&file, start, end, Path::new("file"), hasher, buffer, &seen)
            };
            assert_eq!(in_pieces(size, &read).unwrap(), blake3::hash(&bytes), "{size}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_an_error_in_every_piece() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LARGE - 1).unwrap();
        let error = digest(
            &file,
            LARGE,
            Path::new("file"),
            &mut Vec::new(),
            &AtomicU64::new(0),
        )
        .unwrap_err();
        assert_eq!(error.kind(), crate::base::error::Kind::Changed);
    }
}
