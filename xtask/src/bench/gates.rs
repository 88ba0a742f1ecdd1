//! Instructions and allocations per call, counted by valgrind.

/// How to run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// One JSON object as last line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs.
pub(crate) fn run(_options: &Options) -> Result<bool, String> {
    Err("bench gates is not there yet".to_owned())
}
