//! The configuration file: defaults < file < environment < flags.

use crate::cli::ConnectionArgs;
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use remote::target::Quality;
use remote::{Target, VideoCodec};
use serde::Deserialize;
use sessions::{NamedSecret, SecretRef, TargetEntry};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The rendezvous server for peers named by id alone.
    pub(crate) server: Option<ServerSection>,
    /// Machines by the names that people and models use.
    pub(crate) targets: BTreeMap<String, TargetSection>,
    /// Secrets that `type_text` may type by name.
    pub(crate) secrets: BTreeMap<String, SecretSection>,
    pub(crate) mcp: McpSection,
}

/// Where a secret is: a file whose first line it is, or `secret://NAME` for a credential of systemd.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum SecretSection {
    Anywhere(String),
    Bound(BoundSecret),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoundSecret {
    pub(crate) file: String,
    /// The targets where it may be typed.
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerSection {
    /// `host` or `host:port`, or a `ws://` address.
    pub(crate) address: String,
    /// The server's public key.
    pub(crate) key: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSection {
    /// `id`, `id/r`, `id@server?key=…`, an IP address, `host:port`.
    pub(crate) address: String,
    /// File whose first line is the password.
    pub(crate) password_file: Option<PathBuf>,
    /// Allow sessions that the protocol does not encrypt: those by IP address.
    #[serde(default)]
    pub(crate) allow_unencrypted: bool,
    pub(crate) codec: Option<VideoCodec>,
    pub(crate) fps: Option<u32>,
    #[serde(default)]
    pub(crate) quality: Quality,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// What the machine is for; shown to models.
    #[serde(default)]
    pub(crate) description: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct McpSection {
    /// Toolset names, or "all".
    pub(crate) toolsets: Vec<String>,
    /// Whether `connect` takes a password as an argument.
    pub(crate) allow_password_argument: bool,
}

impl Default for McpSection {
    fn default() -> Self {
        Self { toolsets: Vec::new(), allow_password_argument: true }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("there is no configuration file {0}")]
    Missing(PathBuf),
    #[error("{0}")]
    Invalid(Box<figment::Error>),
}

impl Config {
    /// Reads the file that the flags, the environment or the user's folders name, then the flags.
    pub(crate) fn load(args: &ConnectionArgs) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = Self::file(args)? {
            figment = figment.merge(Toml::file_exact(path));
        }
        // DESKHAND_SERVER__ADDRESS and the like; the others are not configuration keys.
        figment =
            figment.merge(Env::prefixed("DESKHAND_").ignore(&["config", "log", "test_python"]).split("__"));
        let mut config: Self = figment.extract().map_err(|e| ConfigError::Invalid(Box::new(e)))?;
        if let Some(address) = &args.server {
            config.server = Some(ServerSection { address: address.clone(), key: args.key.clone() });
        }
        Ok(config)
    }

    /// A file that was asked for has to be there; the default one need not.
    fn file(args: &ConnectionArgs) -> Result<Option<PathBuf>, ConfigError> {
        let asked = args.config.clone().or_else(|| std::env::var_os("DESKHAND_CONFIG").map(PathBuf::from));
        if let Some(path) = asked {
            return if path.is_file() { Ok(Some(path)) } else { Err(ConfigError::Missing(path)) };
        }
        let folder = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        Ok(folder.map(|f| f.join("deskhand/config.toml")).filter(|path| path.is_file()))
    }

    /// What may be typed by name; the secrets stay references.
    pub(crate) fn named_secrets(&self) -> BTreeMap<String, NamedSecret> {
        let named = |section: &SecretSection| {
            let (file, targets) = match section {
                SecretSection::Anywhere(file) => (file, Vec::new()),
                SecretSection::Bound(bound) => (&bound.file, bound.targets.clone()),
            };
            let reference = match SecretRef::parse(file) {
                SecretRef::Inline(_) => SecretRef::File(file.into()),
                reference => reference,
            };
            NamedSecret { reference, targets }
        };
        self.secrets.iter().map(|(name, section)| (name.clone(), named(section))).collect()
    }

    /// The targets; passwords stay references.
    pub(crate) fn targets(&self) -> Vec<TargetEntry> {
        let entry = |(name, section): (&String, &TargetSection)| TargetEntry {
            target: Target {
                name: name.clone(),
                address: section.address.clone(),
                password: None,
                allow_unencrypted: section.allow_unencrypted,
                codec: section.codec,
                fps: section.fps,
                quality: section.quality,
                tags: section.tags.clone(),
            },
            protocol: None,
            password: section.password_file.clone().map(SecretRef::File),
            description: section.description.clone(),
        };
        self.targets.iter().map(entry).collect()
    }
}

/// Where a role keeps what must outlive it: `given`, else systemd's state directory, else the user's.
pub(crate) fn state_dir(given: Option<&Path>, role: &str) -> PathBuf {
    if let Some(path) = given {
        return path.to_path_buf();
    }
    if let Some(systemd) = std::env::var_os("STATE_DIRECTORY") {
        return PathBuf::from(systemd).join(role);
    }
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("deskhand")
        .join(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, toml).unwrap();
        Config::load(&ConnectionArgs { config: Some(path), ..Default::default() })
    }

    #[test]
    fn a_file_gives_server_and_targets() {
        let config = load(
            "[server]\naddress = \"hbbs.example\"\nkey = \"k=\"\n\
             [targets.office]\naddress = \"123456789\"\ntags = [\"win\"]\nquality = \"best\"\n\
             password_file = \"/run/secrets/office\"\n",
        )
        .unwrap();
        assert_eq!(config.server.as_ref().unwrap().address, "hbbs.example");
        let targets = config.targets();
        assert_eq!(targets.len(), 1);
        let target = &targets[0].target;
        assert_eq!((target.name.as_str(), target.quality), ("office", Quality::Best));
        assert_eq!(targets[0].password, Some(SecretRef::File("/run/secrets/office".into())));
    }

    #[test]
    fn secrets_are_files_or_credentials_and_may_be_bound_to_targets() {
        let config = load(
            "[secrets]\npin = \"/run/secrets/pin\"\ncredential = \"secret://kiosk\"\n\
             [secrets.bound]\nfile = \"/run/secrets/b\"\ntargets = [\"kiosk\"]\n",
        )
        .unwrap();
        let named = config.named_secrets();
        let free = |reference| NamedSecret { reference, targets: Vec::new() };
        assert_eq!(named["pin"], free(SecretRef::File("/run/secrets/pin".into())));
        assert_eq!(named["credential"], free(SecretRef::Named("kiosk".into())));
        let reference = SecretRef::File("/run/secrets/b".into());
        assert_eq!(named["bound"], NamedSecret { reference, targets: vec!["kiosk".into()] });
        assert!(load("[secrets.a]\nfile = \"x\"\ntarget = \"y\"\n").is_err());
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "[server]\naddress = \"a\"\nkey = \"k\"\n").unwrap();
        let args = ConnectionArgs { config: Some(path), server: Some("b".into()), ..Default::default() };
        let server = Config::load(&args).unwrap().server.unwrap();
        assert_eq!((server.address.as_str(), server.key), ("b", None));
    }

    #[test]
    fn unknown_keys_and_missing_files_are_refused() {
        let error =
            load("[targets.a]\naddress = \"123456\"\npasword_file = \"x\"\n").unwrap_err().to_string();
        assert!(error.contains("pasword_file"), "{error}");
        let missing = ConnectionArgs { config: Some("/nonexistent/c.toml".into()), ..Default::default() };
        assert!(matches!(Config::load(&missing), Err(ConfigError::Missing(_))));
    }
}
