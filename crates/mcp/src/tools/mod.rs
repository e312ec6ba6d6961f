//! One file for each family of tools.

mod arguments;
mod desktop;
mod input;
mod session;

use crate::tool::ToolEntry;

/// Every tool there is, in the order in which clients see them.
pub(crate) fn all() -> Vec<ToolEntry> {
    [session::tools(), desktop::tools(), input::tools()].into_iter().flatten().collect()
}
