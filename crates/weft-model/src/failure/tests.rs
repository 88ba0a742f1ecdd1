//! The table of codes is closed and without contradictions.

use super::*;
use std::collections::HashSet;

#[test]
fn every_code_has_its_own_text_and_number() {
    let texts: HashSet<_> = Code::ALL.iter().map(|code| code.text()).collect();
    let numbers: HashSet<_> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(texts.len(), Code::ALL.len());
    assert_eq!(numbers.len(), Code::ALL.len());
}

#[test]
fn a_code_is_found_again_by_its_text() {
    for code in Code::ALL {
        assert_eq!(Code::from_text(code.text()), Some(*code));
    }
    assert_eq!(Code::from_text("no such code"), None);
}

#[test]
fn a_failure_reads_as_a_sentence_with_its_number() {
    let failure = Failure::with(Code::NoInstance, "service \"orders\"");
    assert_eq!(
        failure.to_string(),
        "the service has no instance: service \"orders\" (WFT-1201)"
    );
}
