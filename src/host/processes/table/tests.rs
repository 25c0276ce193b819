//! The table of processes, and one of its lines.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_name_with_anything_in_it_does_not_shift_the_fields(name in "[ -~\n]{0,15}", parent in 0..=i32::MAX, session in 0..=i32::MAX, ticks in any::<u64>()) {
        let line = format!("7 ({name}) S {parent} 1 {session} 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 {ticks} 900 42 1");
        let stat = Stat::parse(line.as_bytes()).expect("a line as the kernel writes it");
        prop_assert_eq!(stat.name.as_str(), name.as_str());
        prop_assert_eq!((stat.parent, stat.session), (parent, session));
        prop_assert_eq!((stat.started_ticks, stat.resident_pages), (ticks, 42));
        prop_assert!(stat.is_alive() && !stat.is_kernel());
    }
}

#[test]
fn borrowed_rights_are_not_the_users_own() {
    let parse =
        |line: &str| Owner::parse(&Status::of(line.as_bytes())).expect("a line as the kernel writes it");
    assert!(parse("Name:\tx\nUid:\t7\t7\t7\t7\n").is_wholly(7));
    assert!(!parse("Uid:\t7\t0\t0\t0\n").is_wholly(7));
    assert!(!parse("Uid:\t7\t0\t0\t0\n").is_wholly(0));
    assert_eq!(Owner::parse(&Status::of(b"Uid:\t7\n")), None);
}

#[test]
fn this_process_is_its_own_and_its_parent_is_above() {
    let table = Table::open().expect("a proc file system");
    let own = i32::try_from(std::process::id()).expect("a pid fits");
    let seen = Seen::open(own).expect("we are here");
    let stat = seen.stat().expect("we have a state");
    assert!(table.is_own(own) && table.is_above(stat.parent) && table.is_above(1));
    let age = SystemTime::now()
        .duration_since(table.time(stat.started_ticks))
        .expect("we started before now");
    assert!(age < Duration::from_hours(24), "{age:?}");
}
