//! A session: how soon the first picture comes, what a screenshot costs, what decoding costs, and what a
//! session at rest does.

mod decode;
mod desktop;
mod live;
mod screenshot;

use super::compare::{Bench, Budget};
use super::{BenchError, Options, Row, system};
use screenshot::{BARE_JPEG, BARE_PNG};

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
        Budget::ratio("decode h264, 1920x1080", decode::BARE, DECODING),
        Budget::at_most(live::IDLE_CPU, 0.2),
        Budget::at_most(live::IDLE_SESSION, 15.0),
        Budget::at_most(live::IDLE_GATEWAY, 30.0),
    ],
};

/// Runs the cases and gives one row for each figure and comparison.
pub(crate) fn run(options: &Options, emit: &mut dyn FnMut(Row)) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Runtime::new().map_err(system("starting a runtime"))?;
    live::run(&runtime, options, emit)?;
    screenshot::run(&runtime, options, emit)?;
    decode::run(options, emit)
}

/// The processes that are measured: `host PASSWORD`, and `gateway [ADDRESS PASSWORD]`. Returns when the
/// parent lets go of it.
pub(crate) fn serve(args: &[String]) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Runtime::new().map_err(system("starting a runtime"))?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["host", password] => live::serve_host(&runtime, password),
        ["gateway", address, password] => live::serve_gateway(&runtime, Some((address, password))),
        ["gateway"] => live::serve_gateway(&runtime, None),
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
        for budget in BENCH.budgets {
            assert!(cases.iter().any(|case| case == budget.case), "{budget:?}");
        }
    }
}
