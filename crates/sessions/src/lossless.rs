//! Pictures that the peer made itself.

use crate::SessionsError;
use bytes::Bytes;
use framebuffer::{EncodedPicture, Framebuffer, PictureRequest};
use remote::{Frame, Pixels, Plane, RemoteError, Size};
use std::time::Instant;

/// Fits a peer's PNG into the budget, like any other picture. It has to be as large as the display says,
/// which bounds what decoding it can cost.
pub(crate) fn picture(
    file: &Bytes,
    native: Size,
    request: &PictureRequest,
) -> Result<EncodedPicture, SessionsError> {
    let mut framebuffer = Framebuffer::new();
    framebuffer.update(decode(file, native)?, Instant::now());
    framebuffer.picture(request).map_err(SessionsError::Picture)
}

fn decode(file: &Bytes, native: Size) -> Result<Frame, SessionsError> {
    let refuse = |reason: String| {
        SessionsError::Remote(RemoteError::UnsupportedByPeer(format!("its picture is unusable: {reason}")))
    };
    let bytes_needed = usize::try_from(native.area() * 8).unwrap_or(usize::MAX);
    let mut decoder = png::Decoder::new_with_limits(
        std::io::Cursor::new(&file[..]),
        png::Limits { bytes: bytes_needed.saturating_add(1 << 20) },
    );
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(|error| refuse(error.to_string()))?;
    let size = Size::new(reader.info().width, reader.info().height);
    if size != native {
        return Err(refuse(format!("it is {size}, the display {native}")));
    }
    let length = reader.output_buffer_size().ok_or_else(|| refuse("it is too large".to_owned()))?;
    let mut pixels = vec![0; length];
    let info = reader.next_frame(&mut pixels).map_err(|error| refuse(error.to_string()))?;
    pixels.truncate(info.buffer_size());
    let rgbx = match info.color_type {
        png::ColorType::Rgba => pixels,
        png::ColorType::GrayscaleAlpha => {
            pixels.chunks_exact(2).flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]).collect()
        }
        other => return Err(refuse(format!("its colours are {other:?}"))),
    };
    let stride = size.width as usize * 4;
    Ok(Frame { size, pixels: Pixels::Rgbx(Plane { data: rgbx.into(), stride }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: Size, color: png::ColorType, pixel: &[u8]) -> Bytes {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, size.width, size.height);
        encoder.set_color(color);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixel.repeat(size.area() as usize)).unwrap();
        writer.finish().unwrap();
        out.into()
    }

    #[test]
    fn every_colour_type_becomes_red_green_blue() {
        let size = Size::new(3, 2);
        for (color, pixel, expected) in [
            (png::ColorType::Rgb, &[1, 2, 3][..], [1, 2, 3, 255]),
            (png::ColorType::Rgba, &[1, 2, 3, 4][..], [1, 2, 3, 4]),
            (png::ColorType::Grayscale, &[9][..], [9, 9, 9, 255]),
        ] {
            let frame = decode(&file(size, color, pixel), size).unwrap();
            let Pixels::Rgbx(plane) = frame.pixels else { panic!("not RGBX") };
            assert_eq!(plane.data, expected.repeat(6), "{color:?}");
        }
    }

    #[test]
    fn a_picture_of_another_size_and_garbage_are_refused() {
        let size = Size::new(4, 4);
        let good = file(size, png::ColorType::Rgb, &[0, 0, 0]);
        assert_eq!(decode(&good, Size::new(8, 8)).unwrap_err().kind(), "unsupported_by_peer");
        assert!(decode(&good.slice(..20), size).is_err());
        assert!(decode(&Bytes::from_static(b"not a picture"), size).is_err());
        assert!(decode(&Bytes::new(), size).is_err());
    }
}
