//! The fuzz targets of `fuzz/`, bounded: their seeds, the seeds with random cuts, swaps and insertions, and random
//! bytes. The same few cases at every run; with `PROPTEST_CASES`, that many new ones.

#[path = "../fuzz/targets.rs"]
mod targets;

use proptest::prelude::*;
use proptest::sample::Index;

use self::targets::{ALL, Target};
use crate::properties::config;

/// One change of a seed.
#[derive(Debug, Clone)]
enum Change {
    Put(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    /// A piece of another seed.
    Splice(Index, Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\n\r\0:#{}[]\"'\\.,-*&? =/$".to_vec())
    ];
    prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (any::<Index>(), prop::collection::vec(byte, 1..6)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), 1..12_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<Index>(), any::<Index>(), 1..40_usize)
            .prop_map(|(at, from, length)| Change::Splice(at, from, length)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change], seeds: &[&str]) -> Vec<u8> {
    for change in changes {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match change {
            Change::Put(index, byte) => {
                let at = at(index);
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Change::Insert(index, new) => {
                let at = at(index);
                bytes.splice(at..at, new.iter().copied());
            }
            Change::Remove(index, length) => {
                let at = at(index);
                bytes.drain(at..bytes.len().min(at + length));
            }
            Change::Repeat(index, length) => {
                let at = at(index);
                let piece = bytes[at..bytes.len().min(at + length)].repeat(3);
                bytes.splice(at..at, piece);
            }
            Change::Splice(index, from, length) => {
                let at = at(index);
                let other = seeds[from.index(seeds.len())].as_bytes();
                let start = from.index(other.len());
                let piece = &other[start..other.len().min(start + length)];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

fn named(name: &str) -> &'static Target {
    ALL.iter().find(|target| target.name == name).unwrap()
}

macro_rules! fuzzed {
    ($($name:ident),* $(,)?) => {
        #[test]
        fn every_target_is_run_here() {
            let here = [$(stringify!($name)),*];
            assert!(ALL.iter().map(|target| target.name).eq(here), "{here:?}");
            for target in ALL {
                let file = format!("{}/fuzz/fuzz_targets/{}.rs", env!("CARGO_MANIFEST_DIR"), target.name);
                assert!(std::path::Path::new(&file).exists(), "{file}");
            }
        }

        proptest! {
            #![proptest_config(config(400))]
            $(
                #[test]
                fn $name(
                    seed in any::<Index>(),
                    changes in prop::collection::vec(change(), 0..8),
                    noise in prop::option::weighted(0.1, prop::collection::vec(any::<u8>(), 0..200)),
                ) {
                    let target = named(stringify!($name));
                    let begin = target.seeds[seed.index(target.seeds.len())].as_bytes().to_vec();
                    let bytes = noise.unwrap_or_else(|| changed(begin, &changes, target.seeds));
                    (target.run)(&bytes);
                }
            )*
        }
    };
}

fuzzed!(
    story_header,
    flags_edit,
    env_edit,
    json_edit,
    yaml_edit,
    lines_edit,
    manifest,
    audit_record,
    plan_file,
    configuration,
    glob,
    redaction,
    log_line,
);
