//! Where a library keeps a picture.

#![expect(unsafe_code, reason = "planes in the memory of C libraries")]

use crate::picture::{Chroma, Picture};
use remote::Size;

/// A picture in memory that somebody else owns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawPicture {
    size: Size,
    chroma: Chroma,
    /// First sample, readable bytes, bytes from one row to the next.
    planes: [(*const u8, usize, usize); 3],
}

// SAFETY: only an address; whoever borrows promises that the memory is there and not written to.
unsafe impl Send for RawPicture {}

impl RawPicture {
    /// `None` if a plane is missing, its rows overlap or run upwards.
    ///
    /// # Safety
    /// Each plane must be readable from its first sample to the last sample of its last row, as far as
    /// `size`, `chroma` and the stride say.
    pub(crate) unsafe fn new(size: Size, chroma: Chroma, planes: [(*const u8, isize); 3]) -> Option<Self> {
        let mut known = [(std::ptr::null(), 0, 0); 3];
        for (plane, (first, stride)) in planes.into_iter().enumerate() {
            let Size { width, height } = chroma.plane(size, plane);
            let stride = usize::try_from(stride).ok()?;
            let rows_before_the_last = usize::try_from(height.checked_sub(1)?).ok()?;
            let width = usize::try_from(width).ok()?;
            if first.is_null() || width == 0 || stride < width {
                return None;
            }
            known[plane] = (first, rows_before_the_last.checked_mul(stride)?.checked_add(width)?, stride);
        }
        Some(Self { size, chroma, planes: known })
    }

    /// # Safety
    /// The memory must still be as promised to [`new`](Self::new), and not be written to while borrowed.
    pub(crate) unsafe fn borrow<'a>(&self) -> Picture<'a> {
        // SAFETY: the caller's promise, for the length computed from it.
        let planes = self
            .planes
            .map(|(first, length, stride)| unsafe { (std::slice::from_raw_parts(first, length), stride) });
        Picture { size: self.size, chroma: self.chroma, planes }
    }
}
