//! What happened in a history.

/// What happened, over all steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) commits: u64,
    pub(super) refused: u64,
    pub(super) crashes: u64,
    pub(super) clean_stops: u64,
    pub(super) full: u64,
    pub(super) flips: u64,
    pub(super) damaged: u64,
    pub(super) restores: u64,
    /// The longest history of an object.
    pub(super) history: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.clean_stops += other.clean_stops;
        self.full += other.full;
        self.flips += other.flips;
        self.damaged += other.damaged;
        self.restores += other.restores;
        self.history = self.history.max(other.history);
    }
}
