//! Clipboards (session §5).

use super::{ClipboardFormat, ClipboardItem, Event, Host};
use bytes::Bytes;
use hbb_common::session::{self, Clipboard, MultiClipboards, message};
use hbb_common::version;
use remote::{Permission, Size};

/// All representations of one clipboard state together, decompressed.
pub(super) const CLIPBOARD_LIMIT: usize = 16 * 1024 * 1024;

const MOST_ITEMS: usize = 64;

/// Clients before this know single clipboards only (session §5.1).
const KNOWS_MULTI: i64 = 1_003_000;

const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The text that last came from the client, which is not sent back to it.
    received: Option<Bytes>,
}

impl Host {
    /// The client's clipboard.
    pub(super) fn clipboard(&mut self, clipboards: Vec<Clipboard>) {
        if !self.context.permissions.allows(Permission::Clipboard) || self.options.no_clipboard {
            self.refusals.clipboard += 1;
            return;
        }
        if clipboards.len() > MOST_ITEMS {
            self.refusals.clipboard += 1;
            return;
        }
        let mut left = CLIPBOARD_LIMIT;
        let mut items = Vec::new();
        for clipboard in clipboards {
            match open(clipboard, left) {
                Some(item) => {
                    left -= item.content.len();
                    items.push(item);
                }
                None => self.refusals.clipboard += 1,
            }
        }
        if items.is_empty() {
            return;
        }
        let text = items.iter().find(|item| item.format == ClipboardFormat::Text);
        self.clipboard.received = text.map(|item| item.content.clone());
        self.event(Event::Clipboard(items));
    }

    /// This machine's clipboard holds a new text. Not sent where the client may not or will not have it,
    /// and not if the text came from there.
    pub fn send_clipboard(&mut self, text: &str) {
        let allowed = self.context.permissions.allows(Permission::Clipboard)
            && !self.options.no_clipboard
            && self.may_control();
        let echo = self.clipboard.received.as_ref().is_some_and(|received| received == text.as_bytes());
        if !self.is_live() || !allowed || echo || text.is_empty() {
            return;
        }
        self.clipboard.received = None;
        let packed = zstd::bulk::compress(text.as_bytes(), ZSTD_LEVEL).ok().filter(|p| p.len() < text.len());
        let clipboard = Clipboard {
            compress: packed.is_some(),
            content: packed.map_or_else(|| Bytes::copy_from_slice(text.as_bytes()), Bytes::from),
            format: session::ClipboardFormat::Text as i32,
            ..Default::default()
        };
        let multi = self.client.as_ref().is_some_and(|c| {
            version::number(&c.version) >= KNOWS_MULTI && !matches!(&c.platform[..], "" | "iOS")
        });
        self.send(if multi {
            message::Union::MultiClipboards(MultiClipboards { clipboards: vec![clipboard] })
        } else {
            message::Union::Clipboard(clipboard)
        });
    }
}

/// The representation, decompressed to `left` bytes at most; `None` if it is none or too large.
fn open(clipboard: Clipboard, left: usize) -> Option<ClipboardItem> {
    use session::ClipboardFormat as Wire;
    let format = match Wire::try_from(clipboard.format).ok()? {
        Wire::Text => ClipboardFormat::Text,
        Wire::Rtf => ClipboardFormat::Rtf,
        Wire::Html => ClipboardFormat::Html,
        Wire::ImageRgba => {
            let side = |n: i32| u32::try_from(n).ok().filter(|n| *n <= 1 << 15);
            ClipboardFormat::Rgba(Size::new(side(clipboard.width)?, side(clipboard.height)?))
        }
        Wire::ImagePng => ClipboardFormat::Png,
        Wire::ImageSvg => ClipboardFormat::Svg,
        // Stock senders put the name in place of the content when they do not compress.
        Wire::Special if !clipboard.compress => return None,
        Wire::Special => ClipboardFormat::Special(clipboard.special_name),
    };
    let content: Bytes = if clipboard.compress {
        let mut content = zstd::bulk::decompress(&clipboard.content, left).ok()?;
        content.shrink_to_fit();
        content.into()
    } else {
        clipboard.content
    };
    let fits = match &format {
        ClipboardFormat::Rgba(size) => content.len() as u64 == size.area() * 4,
        ClipboardFormat::Text | ClipboardFormat::Html | ClipboardFormat::Svg => {
            std::str::from_utf8(&content).is_ok()
        }
        _ => true,
    };
    (fits && content.len() <= left).then_some(ClipboardItem { format, content })
}
