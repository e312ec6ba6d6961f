//! Whose code we ship: the licences and sources of `deny.toml`, held without cargo-deny being installed.

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};
use deskhand_tests::repository;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use std::collections::BTreeSet;

fn deny() -> Figment {
    Figment::from(Toml::file(repository().join("deny.toml")))
}

/// Everything that can be part of the program on the platforms of `deny.toml`.
fn metadata() -> Metadata {
    let targets: Vec<String> = deny().extract_inner("graph.targets").expect("graph.targets");
    let mut options = vec!["--locked".to_owned()];
    options.extend(targets.into_iter().flat_map(|target| ["--filter-platform".into(), target]));
    let mut command = MetadataCommand::new();
    command
        .manifest_path(repository().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(options);
    command.exec().expect("cargo metadata")
}

fn foreign(metadata: &Metadata) -> Vec<&Package> {
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let used: BTreeSet<_> = nodes.iter().map(|node| &node.id).collect();
    metadata.packages.iter().filter(|p| used.contains(&p.id) && p.source.is_some()).collect()
}

/// Whether an SPDX expression can be met with the licences that `allowed` accepts. `/` is the old way to
/// write OR.
fn permits(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let verdict = any_of(&mut rest, allowed);
    verdict && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut verdict = all_of(rest, allowed);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        verdict |= all_of(rest, allowed);
    }
    verdict
}

fn all_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut verdict = one(rest, allowed);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        verdict &= one(rest, allowed);
    }
    verdict
}

fn one(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let verdict = any_of(rest, allowed);
            let [")", after @ ..] = *rest else { return false };
            *rest = after;
            verdict
        }
        [licence, "WITH", exception, after @ ..] => {
            *rest = after;
            allowed(&format!("{licence} WITH {exception}"))
        }
        [licence, after @ ..] => {
            *rest = after;
            allowed(licence)
        }
        [] => false,
    }
}

#[test]
fn licence_expressions_mean_what_spdx_says() {
    let allowed = |licence: &str| ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].contains(&licence);
    for met in [
        "MIT",
        "GPL-2.0 OR MIT",
        "GPL-2.0/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
        "GPL-2.0 AND Apache-2.0 OR MIT",
    ] {
        assert!(permits(met, &allowed), "{met}");
    }
    for unmet in [
        "",
        "Apache-2.0",
        "MIT AND GPL-2.0",
        "GPL-2.0 WITH LLVM-exception",
        "(MIT OR GPL-2.0",
        "MIT GPL-2.0",
        "(GPL-2.0 OR Apache-2.0) AND MIT",
    ] {
        assert!(!permits(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_deny_toml_allows() {
    let list: Vec<String> = deny().extract_inner("licenses.allow").expect("licenses.allow");
    let allowed = |licence: &str| list.iter().any(|a| a == licence);
    let metadata = metadata();
    let packages = foreign(&metadata);
    assert!(packages.len() > 100, "only {} packages were found", packages.len());
    let unmet: Vec<String> = packages
        .iter()
        .filter(|p| !p.license.as_deref().is_some_and(|expression| permits(expression, &allowed)))
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.license))
        .collect();
    assert!(unmet.is_empty(), "{unmet:#?}");
}

#[test]
fn every_dependency_comes_from_the_registry_and_none_is_banned() {
    let registries: Vec<String> =
        deny().extract_inner("sources.allow-registry").expect("sources.allow-registry");
    let banned: Vec<figment::value::Dict> = deny().extract_inner("bans.deny").expect("bans.deny");
    let banned: Vec<&str> = banned.iter().filter_map(|ban| ban["crate"].as_str()).collect();
    assert!(!banned.is_empty());
    let metadata = metadata();
    for package in foreign(&metadata) {
        let source = &package.source.as_ref().expect("foreign packages have one").repr;
        let known = registries.iter().any(|registry| *source == format!("registry+{registry}"));
        assert!(known, "{} comes from {source}", package.name);
        assert!(!banned.contains(&package.name.as_str()), "{} is banned", package.name);
    }
}
