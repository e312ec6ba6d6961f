//! The configuration: defaults < file < environment < command line.
//!
//! Each layer is held against the [`schema`] by itself, so that every problem can say where it is; what is
//! left is merged, read into [`Config`], and its [`meaning`] is checked. All problems are told together.

mod check;
mod document;
mod layers;
mod meaning;
mod places;
mod problem;
mod schema;
mod sections;

pub(crate) use document::{example, show};
pub(crate) use meaning::is_loopback;
pub(crate) use problem::{Origin, Problem, Problems};
pub(crate) use sections::{Config, LogFormat, LogSection};

use crate::cli::ConnectionArgs;
use figment::Figment;
use figment::providers::Serialized;
use layers::Layer;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A configuration without problems, and where its values come from.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
    layers: Vec<Layer>,
}

/// Options of the command line that set a key: the option's name, the key, the text of the value.
#[derive(Debug, Default)]
pub(crate) struct Settings(Vec<(String, String, String)>);

impl Settings {
    /// What an option says, if it is given.
    pub(crate) fn option(&mut self, option: &str, key: &str, text: Option<impl ToString>) {
        if let Some(text) = text {
            self.0.push((option.to_owned(), key.to_owned(), text.to_string()));
        }
    }
}

impl Config {
    /// JSON Schema of the file.
    pub(crate) fn schema() -> &'static Value {
        schema::whole()
    }

    /// Reads the file that the flags, the environment or the user's folders name, then the environment, then
    /// the flags.
    pub(crate) fn load(args: &ConnectionArgs, settings: Settings) -> Result<Loaded, Problems> {
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        Self::load_from(args, settings, variables)
    }

    fn load_from(
        args: &ConnectionArgs,
        mut settings: Settings,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let mut layers = Vec::new();
        let file = Self::file(args);
        match file.as_deref().map(Layer::file) {
            Some(Ok(layer)) => layers.push(layer),
            Some(Err(problem)) => problems.push(problem),
            None => {}
        }
        let (environment, unclear) = Layer::environment(variables);
        layers.push(environment);
        problems.extend(unclear);
        for pair in &args.set {
            settings.option(&format!("--set {}", pair.key), &pair.key, Some(&pair.value));
        }
        if let Some(address) = &args.server {
            // Another server's key is of no use here.
            layers.iter_mut().for_each(|layer| drop(layer.values.remove("server")));
            settings.option("--server", "server.address", Some(address));
        }
        settings.option("--key", "server.key", args.key.as_ref());
        layers.push(Layer::flags(settings.0));
        for layer in &mut layers {
            problems.extend(check::check(layer));
        }
        let config = Self::merge(&layers, &mut problems);
        meaning::check(&config, &layers, &mut problems);
        if problems.is_empty() { Ok(Loaded { config, file, layers }) } else { Err(Problems(problems)) }
    }

    /// What the layers say together, as far as it is complete.
    fn merge(layers: &[Layer], problems: &mut Vec<Problem>) -> Self {
        let merge = |figment: Figment, layer: &Layer| {
            figment.merge(Serialized::defaults(Value::Object(layer.values.clone())))
        };
        let figment = layers.iter().fold(Figment::new(), merge);
        let mut values: Map<String, Value> = figment.extract().unwrap_or_default();
        check::complete(&mut values, &mut |path, key| {
            let what = format!("{key} is missing");
            problems.push(Problem { origin: origin(layers, path), key: path.join("."), what });
        });
        let figment = Figment::from(Serialized::defaults(Value::Object(values)));
        figment.extract().unwrap_or_else(|errors| {
            for error in errors {
                let origin = origin(layers, &error.path);
                let what = error.kind.to_string();
                problems.push(Problem { origin, key: error.path.join("."), what });
            }
            Self::default()
        })
    }

    /// A file that was asked for has to be there; the default one need not.
    fn file(args: &ConnectionArgs) -> Option<PathBuf> {
        let asked = args.config.clone().or_else(|| std::env::var_os("DESKHAND_CONFIG").map(PathBuf::from));
        if asked.is_some() {
            return asked;
        }
        let folder = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
        folder.map(|f| f.join("deskhand/config.toml")).filter(|path| path.is_file())
    }
}

impl Loaded {
    /// Who gave the value at `key` (with dots).
    pub(crate) fn origin(&self, key: &str) -> Origin {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        origin(&self.layers, &path)
    }
}

/// The last layer that has something at `path` gave it.
fn origin(layers: &[Layer], path: &[String]) -> Origin {
    let giver = layers.iter().rev().find(|layer| layer.has(path));
    giver.map_or(Origin::Default, |layer| layer.origin(path))
}

/// Where a role keeps what must outlive it: `given`, else below [`state_root`].
pub(crate) fn state_dir(given: Option<&Path>, role: &str) -> PathBuf {
    given.map_or_else(|| state_root(None).join(role), Path::to_path_buf)
}

/// Where all roles keep what must outlive them: `given`, else systemd's state directory, else the user's.
pub(crate) fn state_root(given: Option<&Path>) -> PathBuf {
    if let Some(path) = given {
        return path.to_path_buf();
    }
    if let Some(systemd) = std::env::var_os("STATE_DIRECTORY") {
        return PathBuf::from(systemd);
    }
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("deskhand")
}

#[cfg(test)]
mod tests;
