//! RustDesk's version numbers and what they gate (session §11).

/// The number of a version text: components in base 1000, the last one counting ten times, plus what
/// stands behind a hyphen. "1.4.9" is 1 004 090; anything without digits is 0.
pub fn number(text: &str) -> i64 {
    let mut parts = text.split('-');
    let mut n: i64 = 0;
    let mut last: i64 = 0;
    for component in parts.next().unwrap_or_default().split('.') {
        last = component.parse::<u32>().map_or(0, i64::from);
        n = n.wrapping_mul(1000).wrapping_add(last);
    }
    n = n.wrapping_sub(last).wrapping_add(last.wrapping_mul(10));
    n.wrapping_add(parts.next().and_then(|p| p.parse::<u32>().ok()).map_or(0, i64::from))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn the_table() {
        let table = [
            ("", 0),
            ("unknown", 0),
            ("1.1.10", 1_001_100),
            ("1.1.10-1", 1_001_101),
            ("1.2.0", 1_002_000),
            ("1.2.4", 1_002_040),
            ("1.3.0", 1_003_000),
            ("1.3.3", 1_003_030),
            ("1.3.8", 1_003_080),
            ("1.3.9", 1_003_090),
            ("1.4", 1_040),
            ("1.4.0", 1_004_000),
            ("1.4.1", 1_004_010),
            ("1.4.2", 1_004_020),
            ("1.4.5", 1_004_050),
            ("1.4.9", 1_004_090),
            ("1.4.9-2", 1_004_092),
            ("1.4.10", 1_004_100),
            ("1.5.0", 1_005_000),
        ];
        for (text, want) in table {
            assert_eq!(number(text), want, "{text}");
        }
    }

    #[test]
    fn absurd_texts_do_not_panic() {
        number(&"9.".repeat(1000));
        number("99999999999999999999.1");
    }
}
