//! Feeds the oracles with mutated input for some time: `deskhand-fuzz [--seconds N] [--seed N] [TARGET …]`.
//!
//! It needs no other toolchain. With cargo-fuzz, `tests/fuzz` does the same guided by coverage. An input
//! that fails is kept in `tests/fuzz/artifacts/TARGET/`; once its cause is gone, it belongs in
//! `tests/fuzz/corpus/TARGET/`, where `make test` replays it.

use deskhand_tests::mutate::Mutator;
use deskhand_tests::oracle::{ORACLES, Oracle, oracle};
use deskhand_tests::{corpus, root};
use sha2::{Digest as _, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

struct Options {
    seconds: u64,
    seed: u64,
    targets: Vec<&'static Oracle>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seconds: 60, seed: 0, targets: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{argument} wants a number, not {text:?}"))
        };
        match argument.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            name => options.targets.push(oracle(name).ok_or_else(|| {
                let names: Vec<&str> = ORACLES.iter().map(|oracle| oracle.name).collect();
                format!("no target {name:?}; there are {}", names.join(", "))
            })?),
        }
    }
    if options.targets.is_empty() {
        options.targets = ORACLES.iter().collect();
    }
    Ok(options)
}

/// Keeps an input that failed.
fn keep(oracle: &Oracle, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = root().join("fuzz/artifacts").join(oracle.name);
    std::fs::create_dir_all(&folder)?;
    let name: String = Sha256::digest(input).iter().take(8).map(|b| format!("{b:02x}")).collect();
    let path = folder.join(name);
    std::fs::write(&path, input)?;
    Ok(path)
}

/// Whether the oracle held for `time`.
#[expect(clippy::print_stdout, reason = "a command that reports to the person who called it")]
fn run(oracle: &Oracle, time: Duration, seed: u64) -> std::io::Result<bool> {
    let known: Vec<Vec<u8>> = corpus(oracle.name).into_iter().map(|(_, input)| input).collect();
    let seeds = [(oracle.seeds)(), known].concat();
    let (start, mut inputs) = (Instant::now(), 0u64);
    let mut mutator = Mutator::new(seed, seeds.clone());
    let fresh = std::iter::repeat_with(|| mutator.input());
    for input in seeds.into_iter().chain(fresh) {
        if catch_unwind(AssertUnwindSafe(|| (oracle.check)(&input))).is_err() {
            println!("{:12} FAILED after {inputs} inputs: {}", oracle.name, keep(oracle, &input)?.display());
            return Ok(false);
        }
        inputs += 1;
        if inputs.is_multiple_of(64) && start.elapsed() >= time {
            break;
        }
    }
    println!("{:12} {inputs} inputs in {:.1} s", oracle.name, start.elapsed().as_secs_f64());
    Ok(true)
}

#[expect(clippy::print_stderr, reason = "a command that reports to the person who called it")]
fn main() -> ExitCode {
    let verdict = options().and_then(|options| {
        let time = Duration::from_secs(options.seconds);
        let mut held = true;
        for target in options.targets {
            held &= run(target, time, options.seed).map_err(|e| e.to_string())?;
        }
        Ok(held)
    });
    match verdict {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("deskhand-fuzz: {e}");
            ExitCode::from(2)
        }
    }
}
