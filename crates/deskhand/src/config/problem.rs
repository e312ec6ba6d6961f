//! What is wrong with a configuration, all of it at once.

use std::fmt;
use std::path::PathBuf;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File {
        path: PathBuf,
        line: Option<usize>,
    },
    /// The variable's name.
    Environment(String),
    /// The option as it was written, without its value.
    Flag(String),
    /// Nobody gave it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "${name}"),
            Self::Flag(option) => f.write_str(option),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong, and what to do. Never repeats a value that may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) origin: Origin,
    /// The key, with dots; empty where it is about a whole file.
    pub(crate) key: String,
    pub(crate) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Everything that is wrong, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [only] => write!(f, "{only}"),
            several => {
                write!(f, "{} problems in the configuration:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(name, candidate);
    let near = known.into_iter().min_by_key(distance)?;
    (distance(&near) <= 1 + near.len().max(name.len()) / 3).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant_and_nonsense_nothing() {
        let known = ["address", "password_file", "allow_unencrypted", "fps"];
        for (slip, meant) in [
            ("adress", Some("address")),
            ("pasword_file", Some("password_file")),
            ("allow_unencrytped", Some("allow_unencrypted")),
            ("colour_of_the_sky", None),
        ] {
            assert_eq!(nearest(slip, known), meant, "{slip}");
        }
    }

    #[test]
    fn one_problem_is_a_sentence_and_several_are_a_list() {
        let origin = Origin::File { path: "/etc/d.toml".into(), line: Some(3) };
        let problem = Problem { origin, key: "server.adress".into(), what: "there is no such key".into() };
        let one = Problems(vec![problem.clone()]).to_string();
        assert_eq!(one, "/etc/d.toml:3: server.adress: there is no such key");
        let two = Problems(vec![problem.clone(), problem]).to_string();
        assert!(two.starts_with("2 problems") && two.lines().count() == 3, "{two}");
    }
}
