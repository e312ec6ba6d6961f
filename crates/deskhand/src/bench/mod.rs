//! `deskhand bench`: what things cost, as JSON lines.

use clap::Args;

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Only the benches whose name contains this.
    pub name: Option<String>,
}

pub fn run(_args: &BenchArgs) -> anyhow::Result<bool> {
    Ok(true)
}
