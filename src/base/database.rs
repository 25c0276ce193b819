//! The databases that the stack keeps in files: how one is known, which files belong to it, and what opens it. SQLite's
//! are Dagster's too, DuckDB's those of dbt and PyAirbyte. What a log beside a database holds is not in it yet: apart,
//! both are worth less than together.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// How much of a file tells what it is, in bytes.
pub const HEAD: u64 = 16;

/// No database is smaller, in bytes; an empty file may have a log.
pub const SMALLEST: u64 = 512;

/// A kind of database.
#[derive(Debug, PartialEq, Eq)]
pub struct Sort {
    /// Its name.
    pub name: &'static str,
    /// What stands in its file, and from which byte on.
    magic: (usize, &'static [u8]),
    /// What may stand beside its file.
    pub sides: &'static [Side],
}

/// A file or directory that belongs to a database, by its name: that of the database, and more.
#[derive(Debug, PartialEq, Eq)]
pub struct Side {
    /// What comes after the name of the database.
    pub suffix: &'static str,
    /// Whether it is a directory, not a file.
    pub is_directory: bool,
    /// Whether it may hold what was committed.
    pub holds_data: bool,
    /// Whether its name alone tells what it is, whatever the file beside it looks like: one may be encrypted.
    pub is_certain: bool,
}

const fn log(suffix: &'static str) -> Side {
    Side {
        suffix,
        is_directory: false,
        holds_data: true,
        is_certain: true,
    }
}

/// All kinds.
pub static SORTS: [Sort; 2] = [
    Sort {
        name: "DuckDB",
        magic: (8, b"DUCK"),
        sides: &[
            log(".wal"),
            log(".checkpoint.wal"),
            log(".recovery.wal"),
            Side {
                suffix: ".tmp",
                is_directory: true,
                holds_data: false,
                is_certain: false,
            },
        ],
    },
    Sort {
        name: "SQLite",
        magic: (0, b"SQLite format 3\0"),
        sides: &[
            log("-wal"),
            Side {
                suffix: "-shm",
                is_directory: false,
                holds_data: false,
                is_certain: true,
            },
            Side {
                suffix: "-journal",
                is_directory: false,
                holds_data: true,
                is_certain: false,
            },
        ],
    },
];

/// The kind of a file that begins so; at least [`HEAD`] bytes are needed.
#[must_use]
pub fn recognised(head: &[u8]) -> Option<&'static Sort> {
    SORTS.iter().find(|sort| {
        let (at, magic) = sort.magic;
        head.get(at..).is_some_and(|rest| rest.starts_with(magic))
    })
}

/// The names of databases to which something of this name may belong.
pub fn owners(name: &OsStr) -> impl Iterator<Item = (OsString, &'static Sort, &'static Side)> {
    let sides = SORTS
        .iter()
        .flat_map(|sort| sort.sides.iter().map(move |side| (sort, side)));
    sides.filter_map(move |(sort, side)| {
        let owner = name.as_bytes().strip_suffix(side.suffix.as_bytes())?;
        (!owner.is_empty()).then(|| (OsString::from_vec(owner.to_vec()), sort, side))
    })
}

/// A name with more after it.
#[must_use]
pub fn with_suffix(name: &OsStr, suffix: impl AsRef<OsStr>) -> OsString {
    let mut name = name.to_os_string();
    name.push(suffix);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_first_bytes_and_by_nothing_less() {
        let duckdb = b"\x01\x02\x03\x04\x05\x06\x07\x08DUCK\x40\0\0\0";
        let sqlite = b"SQLite format 3\0";
        assert_eq!(recognised(duckdb).unwrap().name, "DuckDB");
        assert_eq!(recognised(sqlite).unwrap().name, "SQLite");
        for other in [
            &b""[..],
            b"DUCK",
            b"SQLite format 4\0",
            &duckdb[..11],
            b"12345678DUCs",
        ] {
            assert_eq!(recognised(other), None, "{other:?}");
        }
    }

    #[test]
    fn each_side_of_the_table_leads_to_its_database() {
        for sort in &SORTS {
            for side in sort.sides {
                let name = with_suffix(OsStr::new("w.db"), side.suffix);
                let found = owners(&name).any(|(owner, of, by)| owner == "w.db" && of == sort && by == side);
                assert!(found, "{name:?}");
                assert_eq!(
                    owners(OsStr::new(side.suffix))
                        .filter(|(_, _, by)| *by == side)
                        .count(),
                    0
                );
            }
        }
    }
}
