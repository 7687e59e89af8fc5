//! The report's pictures: one BMP as a data URI, three drawings as inline SVG.

use crate::stream::{LAGS, Stream};
use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 160.0;

/// The first bits as black and white dots, 256 a row: a BMP of one bit a dot as a data URI. None for less than a row.
pub(crate) fn bitmap(stream: &Stream) -> Option<String> {
    const ROW: usize = 32;
    let rows = stream.first.len() / ROW;
    if rows == 0 {
        return None;
    }
    let pixels = rows * ROW;
    let mut bmp = b"BM".to_vec();
    // File header: size, reserved, where the pixels begin. Then BITMAPINFOHEADER: its size, width, height from the
    // bottom, one plane of one bit, no compression, 72 dots an inch, two colours.
    [62 + pixels as u32, 0, 62, 40, 256]
        .iter()
        .for_each(|field| bmp.extend(field.to_le_bytes()));
    bmp.extend((rows as u32).to_le_bytes());
    [1_u16, 1]
        .iter()
        .for_each(|field| bmp.extend(field.to_le_bytes()));
    [0, pixels as u32, 2835, 2835, 2, 2]
        .iter()
        .for_each(|field| bmp.extend(field.to_le_bytes()));
    bmp.extend([0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0]);
    stream.first[..pixels]
        .chunks_exact(ROW)
        .rev()
        .for_each(|row| bmp.extend(row));
    Some(format!("data:image/bmp;base64,{}", base64(&bmp)))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let value = (0..3).fold(0, |value, i| {
            value << 8 | u32::from(group.get(i).copied().unwrap_or(0))
        });
        for digit in 0..4 {
            let index = value >> (18 - 6 * digit) & 63;
            text.push(if digit <= group.len() {
                char::from(DIGITS[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// A drawing; its height stands for `-1..=1` or `0..=1`, as the caller likes.
struct Drawing(String);

impl Drawing {
    fn new(title: &str) -> Self {
        let mut svg = String::new();
        let size = format!("viewBox=\"0 0 {WIDTH} {HEIGHT}\"");
        let _ = write!(svg, "<svg {size} role=\"img\" aria-label=\"{title}\">");
        Self(svg)
    }

    fn bar(&mut self, x: f64, width: f64, from: f64, to: f64) {
        let (top, height) = (from.min(to), (from - to).abs());
        let _ = write!(
            self.0,
            "<rect class=\"data\" x=\"{x:.2}\" y=\"{top:.2}\" width=\"{width:.2}\" height=\"{height:.2}\"/>"
        );
    }

    fn path(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let _ = write!(self.0, "<polyline class=\"{class}\" points=\"");
        points.for_each(|(x, y)| {
            let _ = write!(self.0, "{x:.1},{y:.1} ");
        });
        self.0.push_str("\"/>");
    }

    fn level(&mut self, class: &str, y: f64) {
        self.path(class, [(0.0, y), (WIDTH, y)].into_iter());
    }

    fn done(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }
}

/// How often each byte came, from six standard deviations below the even share to six above; more is cut off.
pub(crate) fn histogram(stream: &Stream) -> String {
    let mut drawing = Drawing::new("byte histogram");
    let expected = stream.bytes as f64 / 256.0;
    let middle = HEIGHT / 2.0;
    let deviation = (expected * 255.0 / 256.0).sqrt().max(1e-9);
    let y = |deviations: f64| middle - deviations.clamp(-6.0, 6.0) / 6.0 * middle;
    for (byte, &count) in stream.histogram.iter().enumerate() {
        let width = WIDTH / 256.0;
        drawing.bar(
            byte as f64 * width,
            width * 0.8,
            middle,
            y((count as f64 - expected) / deviation),
        );
    }
    drawing.level("axis", middle);
    [-4.0, 4.0]
        .into_iter()
        .for_each(|level| drawing.level("limit", y(level)));
    drawing.done()
}

/// Correlation at lags 1 to 64, from six standard deviations below none to six above; more is cut off.
pub(crate) fn autocorrelation(stream: &Stream) -> String {
    let mut drawing = Drawing::new("autocorrelation");
    let middle = HEIGHT / 2.0;
    let y = |deviations: f64| middle - deviations.clamp(-6.0, 6.0) / 6.0 * middle;
    let deviation = stream.autocorrelation_deviation();
    for (lag, rho) in stream.autocorrelation().into_iter().enumerate() {
        let width = WIDTH / LAGS as f64;
        drawing.bar(lag as f64 * width, width * 0.6, middle, y(rho / deviation));
    }
    drawing.level("axis", middle);
    [-4.0, 4.0]
        .into_iter()
        .for_each(|level| drawing.level("limit", y(level)));
    drawing.done()
}

/// Ones more than zeros as the bits come, within the four standard deviations that grow with the root of their number.
pub(crate) fn running_bias(stream: &Stream) -> String {
    let mut drawing = Drawing::new("running bias");
    let middle = HEIGHT / 2.0;
    let all = (stream.bytes * 8).max(1) as f64;
    let scale = middle / (6.0 * all.sqrt());
    let y = |excess: f64| (middle - excess * scale).clamp(0.0, HEIGHT);
    for side in [-4.0, 4.0] {
        let points = (0..=100).map(|i| f64::from(i) / 100.0);
        drawing.path(
            "limit",
            points.map(|part| (part * WIDTH, y(side * (part * all).sqrt()))),
        );
    }
    drawing.level("axis", middle);
    let step = stream.bias.len().div_ceil(1024);
    let last = stream.bias.last().into_iter();
    let points = stream.bias.iter().step_by(step).chain(last);
    drawing.path(
        "line",
        points.map(|&(bits, excess)| (bits as f64 / all * WIDTH, y(excess as f64))),
    );
    drawing.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    #[test]
    fn base64_as_published() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn the_bitmap_is_a_bmp_with_the_first_bits_on_top() {
        let mut stream = Stream::new(1 << 16);
        assert_eq!(bitmap(&stream), None);
        stream.add(&[0xFF; 32]);
        stream.add(&[0; 40]);
        let uri = bitmap(&stream).unwrap();
        // "BM", 62 + 64 bytes, pixels at 62, and the last row first: zeros, then ones.
        assert!(
            uri.starts_with("data:image/bmp;base64,Qk1+AAAAAAAAAD4AAAAoAAAAAAEAAAIAAAABAAEA"),
            "{uri}"
        );
        assert!(uri.ends_with(&"/".repeat(42)), "{uri}");
    }
}
