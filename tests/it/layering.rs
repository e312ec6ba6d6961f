//! The tiers of ARCHITECTURE.md hold: dependencies go down or sideways, never up.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::BTreeMap;

/// From the bottom up.
const TIERS: &[&str] = &["leaf", "proto", "driver", "service", "edge", "app"];

/// What the pure tiers must not know.
const NOT_BELOW_DRIVERS: &[&str] = &["tokio", "axum", "rmcp", "figment", "tracing-subscriber", "socket2"];

/// Crates that speak a protocol; services and edges must not name them.
const PROTOCOLS: &[&str] = &["hbb_common", "session-proto", "rfb", "client", "vnc", "ssh", "hbbs", "host"];

fn tier(package: &Package) -> usize {
    let name = package.metadata["layer"]["tier"].as_str().unwrap_or_default();
    let place = TIERS.iter().position(|t| *t == name);
    place.unwrap_or_else(|| panic!("{} does not say its tier in [package.metadata.layer]", package.name))
}

#[test]
fn dependencies_never_go_up() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata");
    let ours: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .filter(|p| p.name.as_str() != "deskhand-tests")
        .map(|p| (p.name.as_str(), p))
        .collect();
    assert!(ours.len() >= 10, "found only {:?}", ours.keys());
    for (name, package) in &ours {
        let own = tier(package);
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            let on = dependency.name.as_str();
            assert_ne!(on, "deskhand-tests", "{name} uses the tests' harness");
            if let Some(other) = ours.get(on) {
                assert!(
                    tier(other) <= own,
                    "{name} ({}) depends on {on} ({})",
                    TIERS[own],
                    TIERS[tier(other)]
                );
                let names_a_protocol = own > 2 && TIERS[own] != "app" && PROTOCOLS.contains(&on);
                assert!(!names_a_protocol, "{name} ({}) names the protocol crate {on}", TIERS[own]);
            }
            assert!(own >= 2 || !NOT_BELOW_DRIVERS.contains(&on), "{name} ({}) depends on {on}", TIERS[own]);
        }
    }
}

#[test]
fn no_file_of_tests_is_forgotten() {
    let folder = deskhand_tests::root().join("it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{} is not run", path.display());
    }
}
