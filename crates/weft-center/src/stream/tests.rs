//! The words of a stream's end.

use super::*;

#[test]
fn a_message_of_a_status_is_printable_ascii() {
    assert_eq!(
        percent_encoded("50 % of \"ü\"\n"),
        "50 %25 of \"%C3%BC\"%0A"
    );
}
