//! The kinds of things that can be done.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What an operation does to a machine. The names are the OAuth scopes, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Pictures, states, lists.
    Observe,
    /// Pointer, keys, text.
    Interact,
    Clipboard,
    FilesRead,
    FilesWrite,
    /// Commands and terminals.
    Execute,
    /// Forwards and tunnels.
    Network,
    /// One call on many machines.
    Fleet,
    Schedule,
    /// Tokens, keys, other callers' approvals, the audit log.
    Admin,
}

impl Class {
    pub const ALL: [Self; 10] = [
        Self::Observe,
        Self::Interact,
        Self::Clipboard,
        Self::FilesRead,
        Self::FilesWrite,
        Self::Execute,
        Self::Network,
        Self::Fleet,
        Self::Schedule,
        Self::Admin,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Interact => "interact",
            Self::Clipboard => "clipboard",
            Self::FilesRead => "files.read",
            Self::FilesWrite => "files.write",
            Self::Execute => "execute",
            Self::Network => "network",
            Self::Fleet => "fleet",
            Self::Schedule => "schedule",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no class {name:?}; there are: {}", Classes::ALL)]
pub struct UnknownClass {
    pub name: String,
}

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        let known = Self::ALL.into_iter().find(|class| class.name() == name);
        known.ok_or_else(|| UnknownClass { name: name.chars().take(40).collect() })
    }
}

/// A set of classes. Written as names with a space or a comma between them, or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Classes(u16);

impl Classes {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << Class::ALL.len()) - 1);

    pub const fn of(classes: &[Class]) -> Self {
        let mut bits = 0;
        let mut n = 0;
        while n < classes.len() {
            bits |= classes[n].bit();
            n += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, class: Class) -> bool {
        self.0 & class.bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.contains(*class))
    }
}

impl FromIterator<Class> for Classes {
    fn from_iter<T: IntoIterator<Item = Class>>(classes: T) -> Self {
        classes.into_iter().fold(Self::NONE, |set, class| Self(set.0 | class.bit()))
    }
}

impl FromStr for Classes {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        let names = text.split([' ', ',']).filter(|name| !name.is_empty());
        names
            .map(
                |name| {
                    if name == "all" { Ok(Self::ALL) } else { name.parse().map(|class| Self::of(&[class])) }
                },
            )
            .try_fold(Self::NONE, |set, next| Ok(set.or(next?)))
    }
}

/// Names with a space between them, as in an OAuth `scope`.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, class) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            class.fmt(f)?;
        }
        Ok(())
    }
}

impl Serialize for Classes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Class::name))
    }
}

/// From a text or a list of names.
impl<'de> Deserialize<'de> for Classes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::List(list) => list.join(" "),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written_by_name() {
        let set: Classes = "observe, files.read interact".parse().unwrap();
        assert_eq!(set, Classes::of(&[Class::Observe, Class::Interact, Class::FilesRead]));
        assert_eq!(set.to_string(), "observe interact files.read");
        assert_eq!("all".parse(), Ok(Classes::ALL));
        assert_eq!("".parse(), Ok(Classes::NONE));
        assert_eq!(Classes::ALL.iter().count(), 10);
        assert!("observe root".parse::<Classes>().unwrap_err().to_string().contains("\"root\""));
    }

    #[test]
    fn a_class_is_written_by_its_name() {
        for class in Class::ALL {
            let written = serde_json::to_string(&class).unwrap();
            assert_eq!(written, format!("\"{}\"", class.name()));
            assert_eq!(serde_json::from_str::<Class>(&written).unwrap(), class);
        }
    }

    #[test]
    fn sets_are_sets() {
        let two = Classes::of(&[Class::Observe, Class::Admin]);
        assert!(two.contains(Class::Admin) && !two.contains(Class::Execute));
        assert_eq!(two.without(Classes::of(&[Class::Admin])), Classes::of(&[Class::Observe]));
        assert_eq!(Classes::ALL.and(two), two);
        assert_eq!(serde_json::to_string(&two).unwrap(), r#"["observe","admin"]"#);
        assert_eq!(serde_json::from_str::<Classes>(r#""observe admin""#).unwrap(), two);
        assert_eq!(serde_json::from_str::<Classes>(r#"["observe","admin"]"#).unwrap(), two);
    }
}
