//! A session: how soon the first picture comes, what a screenshot costs, what decoding costs, and what a
//! session at rest does.

mod decode;
pub(crate) mod desktop;
mod live;
mod screenshot;
mod start;

use super::compare::{Bench, Budget};
use super::{BenchError, Options, Row, system};
use screenshot::{BARE_JPEG, BARE_PNG};
use std::collections::HashSet;

/// A call may take 1.3 times the encoder's time and a decoder 1.1 times its own; ratios tell it the other way
/// round.
const CALL: f64 = 0.77;
const DECODING: f64 = 0.9;

const BENCH: Bench = Bench {
    name: "session",
    budgets: &[
        Budget::at_most(live::BY_ADDRESS, 60.0),
        Budget::at_most(live::BY_ID, 60.0),
        Budget::at_most(live::RELAYED, 100.0),
        Budget::ratio("screenshot png, 1280x800", BARE_PNG, CALL),
        Budget::ratio("screenshot png, 1920x1080", BARE_PNG, CALL),
        Budget::ratio("screenshot jpeg, 1280x800", BARE_JPEG, CALL),
        Budget::ratio("screenshot jpeg, 1920x1080", BARE_JPEG, CALL),
        Budget::at_most("screenshot png, one line changed, 1280x800", 4.0),
        Budget::at_most("screenshot png, one line changed, 1920x1080", 4.0),
        Budget::at_most("screenshot unchanged, 1280x800", 1.0),
        Budget::at_most("screenshot unchanged, 1920x1080", 1.0),
        Budget::ratio("decode vp9, 1920x1080", decode::BARE, DECODING),
        Budget::ratio("decode vp8, 1920x1080", decode::BARE, DECODING),
        Budget::ratio("decode av1, 1920x1080", decode::BARE, DECODING),
        Budget::ratio("decode h264, 1920x1080", decode::BARE, DECODING),
        Budget::at_most(live::IDLE_CPU, 0.2),
        Budget::at_most(live::IDLE_SESSION, 15.0),
        Budget::at_most(live::IDLE_GATEWAY, 30.0),
        Budget::at_most(live::MANY_CPU, 20.0),
        Budget::at_most(live::MANY_MEMORY, 15.0),
        Budget::at_most(start::MCP, 50.0),
    ],
};

/// Runs the cases and gives one row for each figure and comparison.
pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Runtime::new().map_err(system("starting a runtime"))?;
    let mut measured = HashSet::new();
    let mut note = |row: Row| {
        measured.insert(row.case.clone());
        emit(row);
    };
    start::run(options, &mut note)?;
    live::run(&runtime, options, &mut note)?;
    screenshot::run(&runtime, options, &mut note)?;
    decode::run(options, &mut note)?;
    BENCH.missing(options, &measured, emit);
    Ok(())
}

/// The processes that are measured: `host PASSWORD`, and `gateway [ADDRESS PASSWORD SESSIONS]`. Returns when
/// the parent lets go of it.
pub(crate) fn serve(args: &[String]) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Runtime::new().map_err(system("starting a runtime"))?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["host", password] => live::serve_host(&runtime, password),
        ["gateway", address, password, sessions] => {
            let sessions = sessions.parse().map_err(failed)?;
            live::serve_gateway(&runtime, Some((address, password)), sessions)
        }
        ["gateway"] => live::serve_gateway(&runtime, None, 0),
        _ => Err(BenchError::Failed(format!("nothing can be served as {args:?}"))),
    }
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_budget_is_that_of_a_case() {
        let mut cases: Vec<String> = screenshot::cases().collect();
        cases.extend(decode::CASES.map(|(case, _)| case.to_owned()));
        cases.extend(live::CASES.map(str::to_owned));
        cases.push(start::MCP.to_owned());
        for budget in BENCH.budgets {
            assert!(cases.iter().any(|case| case == budget.case), "{budget:?}");
        }
    }
}
