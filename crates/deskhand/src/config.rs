//! The configuration file: defaults < file < environment < flags.

use crate::cli::ConnectionArgs;
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use remote::target::Quality;
use remote::{Secret, Target, VideoCodec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The rendezvous server for peers named by id alone.
    pub server: Option<ServerSection>,
    /// Machines by the names that people and models use.
    pub targets: BTreeMap<String, TargetSection>,
    pub mcp: McpSection,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSection {
    /// `host` or `host:port`, or a `ws://` address.
    pub address: String,
    /// The server's public key.
    pub key: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSection {
    /// `id`, `id/r`, `id@server?key=…`, an IP address, `host:port`.
    pub address: String,
    /// File whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// Allow sessions that the protocol does not encrypt: those by IP address.
    #[serde(default)]
    pub allow_unencrypted: bool,
    pub codec: Option<VideoCodec>,
    pub fps: Option<u32>,
    #[serde(default)]
    pub quality: Quality,
    #[serde(default)]
    pub tags: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct McpSection {
    /// Toolset names, or "all".
    pub toolsets: Vec<String>,
    /// Whether `connect` takes a password as an argument.
    pub allow_password_argument: bool,
}

impl Default for McpSection {
    fn default() -> Self {
        Self { toolsets: Vec::new(), allow_password_argument: true }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("there is no configuration file {0}")]
    Missing(PathBuf),
    #[error("{0}")]
    Invalid(Box<figment::Error>),
    #[error("password of target {target:?}: {source}")]
    Password { target: String, source: SecretFileError },
}

/// Why a secret could not be read from its file.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("{path} can not be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{0} is empty; its first line has to be the secret")]
    Empty(PathBuf),
}

/// The first line of a file, without its line ending.
pub fn read_secret(path: &Path) -> Result<Secret, SecretFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SecretFileError::Unreadable { path: path.into(), source })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(SecretFileError::Empty(path.into())),
    }
}

impl Config {
    /// Reads the file that the flags, the environment or the user's folders name, then the flags.
    pub fn load(args: &ConnectionArgs) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = Self::file(args)? {
            figment = figment.merge(Toml::file_exact(path));
        }
        // DESKHAND_SERVER__ADDRESS and the like; the others are not configuration keys.
        figment = figment.merge(
            Env::prefixed("DESKHAND_").ignore(&["config", "log", "test_python"]).split("__"),
        );
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

    /// The targets, with their passwords read.
    pub fn targets(&self) -> Result<Vec<Target>, ConfigError> {
        self.targets
            .iter()
            .map(|(name, section)| {
                let password = section.password_file.as_deref().map(read_secret).transpose();
                let password =
                    password.map_err(|source| ConfigError::Password { target: name.clone(), source })?;
                Ok(Target {
                    name: name.clone(),
                    address: section.address.clone(),
                    password,
                    allow_unencrypted: section.allow_unencrypted,
                    codec: section.codec,
                    fps: section.fps,
                    quality: section.quality,
                    tags: section.tags.clone(),
                })
            })
            .collect()
    }
}

/// Where a role keeps what must outlive it: `given`, else systemd's state directory, else the user's.
pub fn state_dir(given: Option<&Path>, role: &str) -> PathBuf {
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
             [targets.office]\naddress = \"123456789\"\ntags = [\"win\"]\nquality = \"best\"\n",
        )
        .unwrap();
        assert_eq!(config.server.as_ref().unwrap().address, "hbbs.example");
        let targets = config.targets().unwrap();
        assert_eq!(targets.len(), 1);
        assert_eq!((targets[0].name.as_str(), targets[0].quality), ("office", Quality::Best));
        assert!(targets[0].password.is_none());
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "[server]\naddress = \"a\"\nkey = \"k\"\n").unwrap();
        let args =
            ConnectionArgs { config: Some(path), server: Some("b".into()), ..Default::default() };
        let server = Config::load(&args).unwrap().server.unwrap();
        assert_eq!((server.address.as_str(), server.key), ("b", None));
    }

    #[test]
    fn unknown_keys_and_missing_files_are_refused() {
        let error = load("[targets.a]\naddress = \"123456\"\npasword_file = \"x\"\n").unwrap_err().to_string();
        assert!(error.contains("pasword_file"), "{error}");
        let missing = ConnectionArgs { config: Some("/nonexistent/c.toml".into()), ..Default::default() };
        assert!(matches!(Config::load(&missing), Err(ConfigError::Missing(_))));
    }

    #[test]
    fn a_password_comes_from_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "pass word\r\nsecond line\n").unwrap();
        assert_eq!(read_secret(&path).unwrap().reveal(), "pass word");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(read_secret(&path), Err(SecretFileError::Empty(_))));
        assert!(matches!(read_secret(folder.path()), Err(SecretFileError::Unreadable { .. })));
    }
}
