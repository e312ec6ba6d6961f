use super::*;
use crate::cli::Setting;
use remote::target::Quality;
use sessions::{NamedSecret, SecretRef};

struct Given {
    toml: &'static str,
    environment: Vec<(&'static str, &'static str)>,
    set: Vec<&'static str>,
}

fn file(toml: &'static str) -> Given {
    Given { toml, environment: Vec::new(), set: Vec::new() }
}

fn load(given: &Given) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, given.toml).unwrap();
    let set = given.set.iter().map(|text| text.parse::<Setting>().unwrap()).collect();
    let args = ConnectionArgs { config: Some(path), set, ..Default::default() };
    let variables = given.environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Config::load_from(&args, Settings::default(), variables).map_err(|problems| problems.to_string())
}

const KEY: &str = "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=";

#[test]
fn a_file_gives_server_and_targets() {
    let loaded = load(&file(
        "[server]\naddress = \"hbbs.example\"\n\
         [targets.office]\naddress = \"123456789\"\ntags = [\"win\"]\nquality = \"best\"\n\
         password_file = \"/run/secrets/office\"\ncodec = \"vp9\"\n",
    ))
    .unwrap();
    assert_eq!(loaded.config.server.as_ref().unwrap().address, "hbbs.example");
    let targets = loaded.config.targets();
    let target = &targets[0].target;
    assert_eq!((target.name.as_str(), target.quality), ("office", Quality::Best));
    assert_eq!(target.codec, Some(remote::VideoCodec::Vp9));
    assert_eq!(targets[0].password, Some(SecretRef::File("/run/secrets/office".into())));
}

#[test]
fn the_later_layer_wins_and_the_others_stay() {
    let loaded = load(&Given {
        toml: "[http]\nlisten = \"127.0.0.1:1\"\nconnections = 5\ndrain_seconds = 7\n",
        environment: vec![("DESKHAND_HTTP__LISTEN", "127.0.0.1:2"), ("DESKHAND_HTTP__CONNECTIONS", "6")],
        set: vec!["http.listen=127.0.0.1:3"],
    })
    .unwrap();
    let http = &loaded.config.http;
    assert_eq!((http.listen.port(), http.connections, http.drain_seconds), (3, 6, 7));
    assert_eq!(loaded.origin("http.listen").to_string(), "--set http.listen");
    assert_eq!(loaded.origin("http.connections").to_string(), "$DESKHAND_HTTP__CONNECTIONS");
    assert!(loaded.origin("http.drain_seconds").to_string().ends_with("config.toml:4"));
    assert_eq!(loaded.origin("http.public_url"), Origin::Default);
}

#[test]
fn another_server_of_the_command_line_does_not_keep_the_files_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, format!("[server]\naddress = \"a\"\nkey = \"{KEY}\"\n")).unwrap();
    let args = ConnectionArgs { config: Some(path), server: Some("b".into()), ..Default::default() };
    let server = Config::load_from(&args, Settings::default(), []).unwrap().config.server.unwrap();
    assert_eq!((server.address.as_str(), server.key), ("b", None));
}

#[test]
fn every_problem_is_told_with_its_place_and_what_to_do() {
    let told = load(&Given {
        toml: "[server]\nadress = \"hbbs.example\"\n\n\
               [targets.office]\naddress = \"1 2 3\"\nquality = \"bets\"\nfps = 0\n\n\
               [targets.lab]\npassword = \"hunter2\"\n\n\
               [[policy.rules]]\ntargets = \"tag:a and\"\nclasses = [\"root\"]\nverdict = \"deny\"\n\n\
               [http]\ntls_cert = \"/c\"\npublic_url = \"example.com/x\"\n\
               [log]\nfilter = \"client=loud\"\n",
        environment: vec![("DESKHAND_METRICS__ENABLED", "true"), ("DESKHAND_RENDEZVOUS__PORT", "high")],
        set: vec!["mcp.toolsets=dekstop", "sessions.limit=0"],
    })
    .unwrap_err();
    for part in [
        "config.toml:2: server.adress: there is no such key; did you mean address?",
        "config.toml:1: server: address is missing",
        "config.toml:5: targets.office.address:",
        "config.toml:6: targets.office.quality: \"bets\" is none of: low, balanced, best; did you mean best?",
        "config.toml:7: targets.office.fps: expected a whole number from 1 to 120",
        "config.toml:10: targets.lab.password: a secret does not belong here",
        "config.toml:9: targets.lab: address is missing",
        "config.toml:13: policy.rules.0.targets:",
        "config.toml:14: policy.rules.0.classes: there is no class \"root\"",
        "config.toml:18: http.tls_cert: tls_key is missing",
        "config.toml:19: http.public_url: write https://HOST",
        "config.toml:21: log.filter:",
        "$DESKHAND_METRICS__ENABLED: metrics.enabled: there is no such key; did you mean enable?",
        "$DESKHAND_RENDEZVOUS__PORT: rendezvous.port: expected a whole number, found text",
        "--set mcp.toolsets: mcp.toolsets: there is no toolset \"dekstop\"",
        "--set sessions.limit: sessions.limit: expected a whole number from 1",
    ] {
        assert!(told.contains(part), "{part}\nin\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.starts_with("16 problems"), "{told}");
}

#[test]
fn files_that_are_missing_or_no_toml_are_told() {
    let told = load(&file("[server\n")).unwrap_err();
    assert!(told.contains("config.toml:1: this is no TOML"), "{told}");
    let args = ConnectionArgs { config: Some("/nonexistent/c.toml".into()), ..Default::default() };
    let told = Config::load_from(&args, Settings::default(), []).unwrap_err().to_string();
    assert_eq!(told, "/nonexistent/c.toml: there is no configuration file of this name");
}

#[test]
fn a_password_comes_from_a_file_a_folder_or_the_environment() {
    let loaded = load(&Given {
        toml: "[server]\naddress = \"a\"\n[secrets]\na = \"/s/a\"\n\
               [targets.a]\naddress = \"123456789\"\npassword = \"secret://a\"\n\
               [targets.b]\naddress = \"123456789\"\n",
        environment: vec![("DESKHAND_TARGETS__B__PASSWORD", "12345")],
        set: Vec::new(),
    })
    .unwrap();
    let targets = loaded.config.targets();
    assert_eq!(targets[0].password, Some(SecretRef::File("/s/a".into())));
    assert_eq!(targets[1].password, Some(SecretRef::parse("12345")));
    let shown = show(&loaded);
    assert!(shown.contains("password = \"[redacted]\"  # $DESKHAND_TARGETS__B__PASSWORD"), "{shown}");
    assert!(shown.contains("password = \"secret://a\""), "{shown}");
    assert!(!shown.contains("12345\""), "{shown}");

    let told = load(&Given {
        toml: "[targets.a]\naddress = \"10.0.0.1\"\n",
        environment: Vec::new(),
        set: vec!["targets.a.password=hunter2"],
    })
    .unwrap_err();
    assert!(told.contains("a secret does not belong here") && !told.contains("hunter2"), "{told}");
}

#[test]
fn secrets_are_files_or_credentials_and_may_be_bound_to_targets() {
    let loaded = load(&file(
        "[secrets]\npin = \"/run/secrets/pin\"\ncredential = \"secret://kiosk\"\n\
         [secrets.bound]\nfile = \"/run/secrets/b\"\ntargets = [\"kiosk\"]\n",
    ))
    .unwrap();
    let named = loaded.config.secret_source().named;
    let free = |reference| NamedSecret { reference, targets: Vec::new() };
    assert_eq!(named["pin"], free(SecretRef::File("/run/secrets/pin".into())));
    assert_eq!(named["credential"], free(SecretRef::Named("kiosk".into())));
    let reference = SecretRef::File("/run/secrets/b".into());
    assert_eq!(named["bound"], NamedSecret { reference, targets: vec!["kiosk".into()] });
    let told = load(&file("[secrets.a]\nfile = \"x\"\ntarget = \"y\"\n")).unwrap_err();
    assert!(
        told.contains("config.toml:3: secrets.a.target: there is no such key; did you mean targets?"),
        "{told}"
    );
    assert!(told.contains("secrets.a: targets is missing"), "{told}");
    let told =
        load(&file("[targets.a]\naddress = \"10.0.0.1\"\npassword = \"secret://none\"\n")).unwrap_err();
    assert!(told.contains("\"none\" is not in [secrets]"), "{told}");
}

#[test]
fn what_is_shown_can_be_read_again_and_means_the_same() {
    let given = file(
        "[server]\naddress = \"a\"\n[targets.\"the.lab\"]\naddress = \"10.0.0.1:21118\"\ntags = [\"x\", \"y\"]\n\
         description = \"says \\\"hi\\\"\"\n[[policy.rules]]\ntargets = \"all\"\nclasses = [\"execute\"]\n\
         verdict = \"ask\"\n",
    );
    let loaded = load(&given).unwrap();
    let shown = show(&loaded);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shown.toml");
    std::fs::write(&path, &shown).unwrap();
    let args = ConnectionArgs { config: Some(path), ..Default::default() };
    let again = Config::load_from(&args, Settings::default(), []).unwrap_or_else(|e| panic!("{e}\n{shown}"));
    assert_eq!(again.config, loaded.config);
}

#[test]
fn the_example_changes_nothing_and_all_its_keys_can_be_used() {
    let example = example();
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = folder.path().join("example.toml");
        std::fs::write(&path, text).unwrap();
        let args = ConnectionArgs { config: Some(path), ..Default::default() };
        Config::load_from(&args, Settings::default(), [])
    };
    assert_eq!(read(&example).unwrap().config, Config::default());

    // Keys and headers without their comment sign; what is left of the comments is none of either.
    let is_key = |line: &str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let used: String = example
        .lines()
        .filter_map(|line| line.strip_prefix("# ").filter(|line| is_key(line)))
        // The two ways to give a password exclude each other.
        .filter(|line| !line.starts_with("password ="))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = read(&used).unwrap_or_else(|problems| panic!("{problems}\n{used}")).config;
    assert_eq!(config.server.unwrap().key.as_deref(), Some(KEY));
    assert_eq!(config.targets["office"].fps, Some(30));
    assert_eq!(config.policy.rules.len(), 1);
    assert_eq!(config.http.public_url.as_deref(), Some("https://deskhand.example.com"));
}
