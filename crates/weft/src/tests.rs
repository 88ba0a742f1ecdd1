//! Tests of the command line as a whole.

use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_verb_a_person_uses_shows_an_example() {
    for verb in Arguments::command().get_subcommands() {
        if verb.is_hide_set() {
            continue;
        }
        let help = verb
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            help.contains("Example"),
            "weft {} --help has no example",
            verb.get_name()
        );
    }
}
