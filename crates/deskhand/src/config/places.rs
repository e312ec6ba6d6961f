//! Where in a file a key stands.

use toml_edit::{ImDocument, Item, TableLike, Value};

/// A file's text, parsed with its positions.
#[derive(Debug)]
pub(crate) struct Places {
    document: ImDocument<String>,
}

/// One step on the way to a key.
#[derive(Clone, Copy)]
enum Node<'a> {
    Item(&'a Item),
    Table(&'a dyn TableLike),
    Value(&'a Value),
}

impl Places {
    /// # Errors
    /// What is wrong with the text, and the line it is on.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        ImDocument::parse(text.to_owned()).map(|document| Self { document }).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (line_of(text, at), error.message().to_owned())
        })
    }

    /// The line of the deepest part of `path` that is there, counted from 1.
    pub(crate) fn line(&self, path: &[String]) -> Option<usize> {
        let mut node = Node::Item(self.document.as_item());
        let mut found = None;
        for key in path {
            let Some((at, next)) = node.step(key) else { break };
            found = at.or(found);
            node = next;
        }
        found.map(|at| line_of(self.document.raw(), at))
    }
}

impl<'a> Node<'a> {
    /// What stands under `key`, and where the key, or the element, begins.
    fn step(self, key: &str) -> Option<(Option<usize>, Self)> {
        let begin = |span: Option<std::ops::Range<usize>>| span.map(|span| span.start);
        let table = match self {
            Self::Item(item) => item.as_table_like(),
            Self::Table(table) => Some(table),
            Self::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
        };
        if let Some(table) = table {
            let (key, next) = table.get_key_value(key)?;
            return Some((begin(key.span().or_else(|| next.span())), Node::Item(next)));
        }
        let nth: usize = key.parse().ok()?;
        if let Self::Item(item) = self
            && let Some(tables) = item.as_array_of_tables()
        {
            let table = tables.get(nth)?;
            return Some((begin(table.span()), Node::Table(table)));
        }
        let array = match self {
            Self::Item(item) => item.as_array(),
            Self::Value(value) => value.as_array(),
            Self::Table(_) => None,
        };
        let value = array?.get(nth)?;
        Some((begin(value.span()), Node::Value(value)))
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(places: &Places, path: &str) -> Option<usize> {
        places.line(&path.split('.').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn keys_have_lines() {
        let text = "# comment\n[server]\naddress = \"a\"\n\n[targets.office]\naddress = \"1\"\n\
                    tags = [\n  \"x\",\n]\n\n[[policy.rules]]\ntargets = \"all\"\n[[policy.rules]]\nreason = 1\n\
                    [http]\nlisten = \"x\"\nlog = { filter = \"y\" }\n";
        let places = Places::parse(text).unwrap();
        for (path, expected) in [
            ("server", 2),
            ("server.address", 3),
            ("server.absent", 2),
            ("targets.office", 5),
            ("targets.office.tags", 7),
            ("targets.office.tags.0", 8),
            ("policy.rules.1.reason", 14),
            ("http.listen", 16),
            ("http.log.filter", 17),
        ] {
            assert_eq!(line(&places, path), Some(expected), "{path}");
        }
        assert_eq!(line(&places, "nothing.there"), None);
    }

    #[test]
    fn a_broken_file_says_where() {
        let (line, message) = Places::parse("[server]\naddress = \n").unwrap_err();
        assert_eq!(line, 2);
        assert!(!message.is_empty());
    }
}
