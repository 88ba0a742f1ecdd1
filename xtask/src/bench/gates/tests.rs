//! Tests of reading valgrind, and of the committed gates.

use super::{Case, Counted, GATES, margin, read_gates};

#[test]
fn counts_are_read_from_what_valgrind_writes() {
    let callgrind = "events: Ir\nfn=(1)\n0 5\ntotals: 12345678\n";
    assert_eq!(Counted::Instructions.count(callgrind), Some(12_345_678));
    let memcheck = "==7== HEAP SUMMARY:\n==7==   total heap usage: 1,234 allocs, 1,200 frees, 9 bytes allocated\n";
    assert_eq!(Counted::Allocations.count(memcheck), Some(1234));
    assert_eq!(Counted::Allocations.count("nothing"), None);
}

#[test]
fn a_gate_is_the_measurement_and_five_percent() {
    assert!((margin(10_000.0, Counted::Instructions) - 10_500.0).abs() < 1e-6);
    assert!((margin(0.0, Counted::Allocations) - 0.05).abs() < 1e-6);
}

#[test]
fn committed_gates_are_rows_that_exist() {
    let gates = read_gates(&crate::command::root().join(GATES)).unwrap();
    let known: Vec<String> = Case::ALL
        .iter()
        .flat_map(|case| Counted::ALL.map(|counted| format!("{} {}", case.name(), counted.name())))
        .collect();
    for name in gates.keys() {
        assert!(known.contains(name), "\"{name}\" is no row of bench gates");
    }
}
