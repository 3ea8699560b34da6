//! Numbers and texts as they are shown, cut to their place.

use jiff::Timestamp;
use ratatui::text::Span;

/// A text without what would move the terminal's cursor, no wider than so many columns.
pub(super) fn cut(text: &str, width: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if Span::raw(clean.as_str()).width() <= width {
        return clean;
    }
    let mut short = String::new();
    let mut used = 0;
    for c in clean.chars() {
        let wide = Span::raw(c.encode_utf8(&mut [0; 4]) as &str).width();
        if used + wide + 1 > width {
            break;
        }
        short.push(c);
        used += wide;
    }
    if width > 0 {
        short.push('…');
    }
    short
}

/// The same, filled up.
pub(super) fn fit(text: &str, width: usize, right: bool) -> String {
    let text = cut(text, width);
    let blank = " ".repeat(width.saturating_sub(Span::raw(text.as_str()).width()));
    if right { blank + &text } else { text + &blank }
}

/// A size, in four digits at most.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut unit = 0;
    let (mut whole, mut rest) = (bytes, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (whole, rest) = (whole / 1024, whole % 1024);
        unit += 1;
    }
    if unit > 2 && whole < 100 {
        return format!("{whole}.{}{}", rest * 10 / 1024, UNITS[unit]);
    }
    format!("{whole}{}", UNITS[unit])
}

/// A span of time, in its largest unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// How long it was from one moment to another, both as they are on the wire.
pub(super) fn between(since: &str, now: &str) -> Option<String> {
    let since: Timestamp = since.parse().ok()?;
    let now: Timestamp = now.parse().ok()?;
    Some(span(u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0)))
}

/// The last values as columns of different height, from nothing to the largest.
pub(super) fn spark(values: &[u64], width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(width)..];
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let eighth = (u128::from(*value) * 8).div_ceil(u128::from(most)).max(1) - 1;
        BARS[usize::try_from(eighth).unwrap_or(0).min(7)]
    };
    let bars: String = shown.iter().map(bar).collect();
    fit(&bars, width, true)
}

/// `1 repo`, `2 repos`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor_and_stays_in_its_place() {
        assert_eq!(cut("a\u{1b}[2Jb", 10), "a [2Jb");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("ab", 0), "");
        assert_eq!(fit("日", 4, true), "  日");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(size(0), "0B");
        assert_eq!(size(312 << 20), "312M");
        assert_eq!(size(4_700_000_000), "4.3G");
        assert_eq!(size(u64::MAX), "16777215T");
        assert_eq!((span(59), span(61), span(7200)), ("59s".into(), "1m".into(), "2h".into()));
        assert_eq!(spark(&[0, 1, 4, 8], 6), "  ▁▁▄█");
        assert_eq!(spark(&[], 2), "  ");
        assert_eq!(spark(&[u64::MAX, 1], 1), "█");
        let now = "2026-11-21T09:02:00.500Z";
        assert_eq!(between("2026-11-21T09:00:00Z", now).as_deref(), Some("2m"));
        assert_eq!(between(now, "2026-11-21T09:00:00Z").as_deref(), Some("0s"));
    }
}
