//! Which machines are meant.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The longest selector, in bytes.
const LONGEST: usize = 4096;
/// Parentheses and `not` inside one another.
const DEEPEST: usize = 32;

/// What a selector looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine<'a> {
    /// The target's name, or the address where it has none.
    pub id: &'a str,
    pub tags: &'a [String],
    /// `linux`, `windows`, `macos`, `android`, as far as known.
    pub os: Option<&'a str>,
    pub online: Option<bool>,
}

impl<'a> Machine<'a> {
    /// One of which nothing but its name is known.
    pub const fn named(id: &'a str) -> Self {
        Self { id, tags: &[], os: None, online: None }
    }
}

/// A condition on machines: `all`, `none`, `id:x`, `tag:a`, `os:linux`, `online`, with `and`, `or`, `not`
/// and parentheses; `not` binds tightest, `or` least. A bare word is an id, a comma is an `or`, `platform:`
/// is `os:`; `os:` takes the beginning of a name. A value with other characters than letters, digits and
/// `._-@/:?=+%` stands in double quotes.
///
/// What is not known does not match: neither `online` nor `not online` matches a machine of which it is not
/// known whether it is online.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    All,
    Id(String),
    Tag(String),
    Os(String),
    Online,
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    #[error("the selector is empty; write \"all\" for every machine")]
    Empty,
    #[error("the selector is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the selector is nested deeper than {DEEPEST}")]
    TooDeep,
    #[error("{found} at byte {at} of the selector, expected {expected}")]
    Unexpected { found: String, at: usize, expected: &'static str },
    #[error("there is no {key:?} in selectors; there are: id, tag, os")]
    UnknownKey { key: String },
    #[error("a quotation mark is not closed in the selector")]
    Unclosed,
}

impl Selector {
    pub const fn all() -> Self {
        Self(Node::All)
    }

    pub fn none() -> Self {
        Self(Node::Not(Box::new(Node::All)))
    }

    pub fn id(id: impl Into<String>) -> Self {
        Self(Node::Id(id.into()))
    }

    /// Machines that both select.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Node::All, node) | (node, Node::All) => Self(node),
            (one, other) => Self(Node::And(vec![one, other])),
        }
    }

    /// Whether it is known to select the machine.
    pub fn matches(&self, machine: &Machine<'_>) -> bool {
        self.0.holds(machine) == Some(true)
    }

    /// Whether it may select the machine, as far as known.
    pub fn may_match(&self, machine: &Machine<'_>) -> bool {
        self.0.holds(machine) != Some(false)
    }
}

impl Node {
    /// `None` where it can not be known (Kleene's logic).
    fn holds(&self, machine: &Machine<'_>) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Id(id) => Some(machine.id == id),
            Self::Tag(tag) => Some(machine.tags.contains(tag)),
            Self::Os(os) => machine.os.map(|known| starts_with(known, os)),
            Self::Online => machine.online,
            Self::Not(node) => node.holds(machine).map(|holds| !holds),
            Self::And(nodes) => {
                let mut unknown = false;
                for node in nodes {
                    match node.holds(machine) {
                        Some(false) => return Some(false),
                        Some(true) => {}
                        None => unknown = true,
                    }
                }
                (!unknown).then_some(true)
            }
            Self::Or(nodes) => {
                let mut unknown = false;
                for node in nodes {
                    match node.holds(machine) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
                (!unknown).then_some(false)
            }
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, within: u8) -> fmt::Result {
        let (nodes, word, strength) = match self {
            Self::All => return f.write_str("all"),
            Self::Online => return f.write_str("online"),
            Self::Id(value) => return write!(f, "id:{}", Quoted(value)),
            Self::Tag(value) => return write!(f, "tag:{}", Quoted(value)),
            Self::Os(value) => return write!(f, "os:{}", Quoted(value)),
            Self::Not(node) => {
                f.write_str("not ")?;
                return node.write(f, 3);
            }
            Self::And(nodes) => (nodes, " and ", 2),
            Self::Or(nodes) => (nodes, " or ", 1),
        };
        let wrapped = strength < within;
        if wrapped {
            f.write_str("(")?;
        }
        for (n, node) in nodes.iter().enumerate() {
            if n > 0 {
                f.write_str(word)?;
            }
            node.write(f, strength + 1)?;
        }
        if wrapped { f.write_str(")") } else { Ok(()) }
    }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "._-@/:?=+%".contains(c)
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, 0)
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.len() > LONGEST {
            return Err(SelectorError::TooLong);
        }
        let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.len() };
        if parser.tokens.is_empty() {
            return Err(SelectorError::Empty);
        }
        let node = parser.any_of(0)?;
        match parser.peek() {
            None => Ok(Self(node)),
            Some(_) => Err(parser.unexpected("and, or, or the end")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    /// A word; `quoted` where a part of it stood in quotation marks, so that it is no keyword.
    Word {
        text: String,
        quoted: bool,
    },
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SelectorError> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' => tokens.push((at, Token::Open)),
            ')' => tokens.push((at, Token::Close)),
            ',' => tokens.push((at, Token::Comma)),
            c if is_plain(c) || c == '"' => {
                let (mut word, mut quoted, mut c) = (String::new(), false, c);
                loop {
                    if c == '"' {
                        quoted = true;
                        quotation(&mut chars, &mut word)?;
                    } else {
                        word.push(c);
                    }
                    match chars.next_if(|(_, next)| is_plain(*next) || *next == '"') {
                        Some((_, next)) => c = next,
                        None => break,
                    }
                }
                tokens.push((at, Token::Word { text: word, quoted }));
            }
            other => {
                let found = format!("{other:?}");
                return Err(SelectorError::Unexpected {
                    found,
                    at,
                    expected: "a name, or quotation marks around it",
                });
            }
        }
    }
    Ok(tokens)
}

fn quotation(
    chars: &mut impl Iterator<Item = (usize, char)>,
    word: &mut String,
) -> Result<(), SelectorError> {
    loop {
        let mut next = || chars.next().map(|(_, c)| c).ok_or(SelectorError::Unclosed);
        match next()? {
            '"' => return Ok(()),
            '\\' => word.push(next()?),
            other => word.push(other),
        }
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let there = self.peek() == Some(wanted);
        self.next += usize::from(there);
        there
    }

    fn keyword(&mut self, wanted: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Word { text, quoted: false }) if text == wanted);
        self.next += usize::from(there);
        there
    }

    fn unexpected(&self, expected: &'static str) -> SelectorError {
        let (at, found) = match self.tokens.get(self.next) {
            None => (self.end, "the end".to_owned()),
            Some((at, Token::Open)) => (*at, "\"(\"".to_owned()),
            Some((at, Token::Close)) => (*at, "\")\"".to_owned()),
            Some((at, Token::Comma)) => (*at, "\",\"".to_owned()),
            Some((at, Token::Word { text, .. })) => (*at, format!("{text:?}")),
        };
        SelectorError::Unexpected { found, at, expected }
    }

    fn any_of(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let mut nodes = vec![self.all_of(depth)?];
        while self.take(&Token::Comma) || self.keyword("or") {
            nodes.push(self.all_of(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::Or(nodes) })
    }

    fn all_of(&mut self, depth: usize) -> Result<Node, SelectorError> {
        let mut nodes = vec![self.one(depth)?];
        while self.keyword("and") {
            nodes.push(self.one(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::And(nodes) })
    }

    fn one(&mut self, depth: usize) -> Result<Node, SelectorError> {
        if depth > DEEPEST {
            return Err(SelectorError::TooDeep);
        }
        if self.keyword("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take(&Token::Open) {
            let node = self.any_of(depth + 1)?;
            return if self.take(&Token::Close) { Ok(node) } else { Err(self.unexpected("\")\"")) };
        }
        let Some(Token::Word { text, quoted }) = self.peek().cloned() else {
            return Err(self.unexpected("a machine"));
        };
        if !quoted && matches!(text.as_str(), "and" | "or") {
            return Err(self.unexpected("a machine"));
        }
        self.next += 1;
        atom(&text, quoted)
    }
}

fn atom(text: &str, quoted: bool) -> Result<Node, SelectorError> {
    match text {
        "all" if !quoted => return Ok(Node::All),
        "none" if !quoted => return Ok(Node::Not(Box::new(Node::All))),
        "online" if !quoted => return Ok(Node::Online),
        _ => {}
    }
    let Some((key, value)) = text.split_once(':') else { return Ok(Node::Id(text.to_owned())) };
    match key {
        "id" => Ok(Node::Id(value.to_owned())),
        "tag" => Ok(Node::Tag(value.to_owned())),
        "os" | "platform" => Ok(Node::Os(value.to_owned())),
        // An address with a port is a name like any other.
        _ if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() => Ok(Node::Id(text.to_owned())),
        _ => Err(SelectorError::UnknownKey { key: key.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selects(selector: &str, machine: &Machine<'_>) -> bool {
        selector.parse::<Selector>().unwrap_or_else(|e| panic!("{selector}: {e}")).matches(machine)
    }

    fn error(selector: &str) -> String {
        selector.parse::<Selector>().unwrap_err().to_string()
    }

    #[test]
    fn names_tags_systems_and_states() {
        let tags = ["prod".to_owned(), "eu west".to_owned()];
        let machine = Machine { id: "web1", tags: &tags, os: Some("linux"), online: Some(true) };
        for yes in [
            "all",
            "id:web1",
            "web1",
            "web2,web1",
            "tag:prod",
            "tag:\"eu west\"",
            "os:linux",
            "os:l",
            "platform:Linux",
            "online",
            "not tag:dev",
            "tag:dev or os:linux and online",
            "(tag:dev or tag:prod) and not id:web2",
            "not none",
        ] {
            assert!(selects(yes, &machine), "{yes}");
        }
        for no in
            ["none", "web", "tag:dev", "os:win", "not online", "(tag:dev or os:linux) and id:x", "\"all\""]
        {
            assert!(!selects(no, &machine), "{no}");
        }
    }

    #[test]
    fn what_is_not_known_does_not_match() {
        let machine = Machine::named("x");
        for no in
            ["online", "not online", "os:linux", "not os:linux", "online or os:linux", "id:x and online"]
        {
            assert!(!selects(no, &machine), "{no}");
        }
        assert!(selects("id:x or online", &machine));
        assert!(selects("not (id:y and online)", &machine));
    }

    #[test]
    fn addresses_are_names() {
        assert!(selects("10.0.0.7:21118", &Machine::named("10.0.0.7:21118")));
        assert!(selects(
            "id:123456789@hbbs.example?key=a+b/c=",
            &Machine::named("123456789@hbbs.example?key=a+b/c=")
        ));
    }

    #[test]
    fn errors_say_what_was_expected_where() {
        assert_eq!(error("  "), "the selector is empty; write \"all\" for every machine");
        assert_eq!(error("id:a and"), "the end at byte 8 of the selector, expected a machine");
        assert_eq!(error("a b"), "\"b\" at byte 2 of the selector, expected and, or, or the end");
        assert_eq!(error("(a"), "the end at byte 2 of the selector, expected \")\"");
        assert_eq!(error("color:red"), "there is no \"color\" in selectors; there are: id, tag, os");
        assert_eq!(error("tag:\"a"), "a quotation mark is not closed in the selector");
        assert!(error("a & b").contains("'&' at byte 2"));
        assert_eq!(error(&"(".repeat(100)), SelectorError::TooDeep.to_string());
        assert_eq!(error(&"a,".repeat(4000)), SelectorError::TooLong.to_string());
    }

    fn any_node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            Just(Node::All),
            Just(Node::Online),
            "[a-z \"\\\\:,()]{1,8}".prop_map(Node::Tag),
            "[a-z0-9 .@/]{1,8}".prop_map(Node::Id),
            "[a-z]{1,5}".prop_map(Node::Os),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|node| Node::Not(Box::new(node))),
                proptest::collection::vec(inner.clone(), 2..4).prop_map(Node::And),
                proptest::collection::vec(inner, 2..4).prop_map(Node::Or),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(node in any_node()) {
            let selector = Selector(node);
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }

        #[test]
        fn no_text_is_too_much(text in ".{0,60}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
            }
        }
    }
}
