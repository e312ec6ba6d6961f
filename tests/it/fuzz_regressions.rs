//! The fuzz targets hold for their seeds, for every input that once failed, and for a fixed number of
//! mutated ones; and `tests/fuzz` has exactly these targets.

use deskhand_tests::mutate::Mutator;
use deskhand_tests::oracle::ORACLES;
use deskhand_tests::{corpus, root};
use std::collections::BTreeSet;

#[test]
fn every_oracle_holds_for_its_seeds_its_corpus_and_mutations_of_them() {
    for oracle in ORACLES {
        let mut inputs = (oracle.seeds)();
        inputs.extend(corpus(oracle.name).into_iter().map(|(_, input)| input));
        assert!(!inputs.is_empty(), "{} begins with nothing", oracle.name);
        let mut mutator = Mutator::new(1, inputs.clone());
        inputs.extend(std::iter::repeat_with(|| mutator.input()).take(2_000));
        for input in inputs {
            let held = std::panic::catch_unwind(|| (oracle.check)(&input));
            assert!(held.is_ok(), "{} fails for {input:02x?}", oracle.name);
        }
    }
}

#[test]
fn every_oracle_has_its_fuzz_target_and_no_corpus_is_without_one() {
    let ours: BTreeSet<String> = ORACLES.iter().map(|oracle| oracle.name.to_owned()).collect();
    let names = |folder: &str| -> BTreeSet<String> {
        let folder = root().join("fuzz").join(folder);
        let Ok(entries) = std::fs::read_dir(folder) else { return BTreeSet::new() };
        entries.map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names("fuzz_targets"), ours);
    assert!(names("corpus").is_subset(&ours), "{:?}", names("corpus"));
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in ours {
        let source = std::fs::read_to_string(root().join(format!("fuzz/fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{source}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
