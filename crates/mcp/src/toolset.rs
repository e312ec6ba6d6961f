//! Groups of tools that are offered or not.

/// A group of tools. A model should see only what it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Toolset {
    /// Sessions, pictures, pointer and keyboard.
    Desktop,
}

/// A name that is no toolset's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no toolset {name:?}; there are: all, {}", Toolset::ALL.map(Toolset::name).join(", "))]
pub struct UnknownToolset {
    pub name: String,
}

impl Toolset {
    pub const ALL: [Self; 1] = [Self::Desktop];

    /// What is offered where nothing is said.
    pub const DEFAULT: [Self; 1] = [Self::Desktop];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
        }
    }

    /// What a single name stands for: a toolset, all of them, or nothing that is known here.
    pub(crate) fn named(name: &str) -> Vec<Self> {
        if name == "all" {
            return Self::ALL.to_vec();
        }
        Self::ALL.into_iter().filter(|set| set.name() == name).collect()
    }

    /// Reads names as configured: none for the default, `all` for all.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, UnknownToolset> {
        let mut chosen = Vec::new();
        let mut said = false;
        for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
            said = true;
            let sets = Self::named(name);
            if sets.is_empty() {
                return Err(UnknownToolset { name: name.to_owned() });
            }
            for set in sets {
                if !chosen.contains(&set) {
                    chosen.push(set);
                }
            }
        }
        Ok(if said { chosen } else { Self::DEFAULT.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_and_an_unknown_one_lists_what_there_is() {
        assert_eq!(Toolset::parse([]), Ok(vec![Toolset::Desktop]));
        assert_eq!(Toolset::parse(["all"]), Ok(Toolset::ALL.to_vec()));
        assert_eq!(Toolset::parse([" desktop", "desktop"]), Ok(vec![Toolset::Desktop]));
        let error = Toolset::parse(["desktpo"]).unwrap_err();
        assert_eq!(error.to_string(), "there is no toolset \"desktpo\"; there are: all, desktop");
    }
}
