//! Names by pattern.

/// Whether `text` is `pattern`, in which each `*` stands for any text.
pub fn fits_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or("");
    // The earliest place of each part leaves the most for those after it.
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        let cases = [
            ("tcp_*", "tcp_ack", true),
            ("tcp_*", "dctcp_ack", false),
            ("*_ack", "tcp_ack", true),
            ("*a*a*", "aba", true),
            ("*a*a*", "ab", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("tcp", "tcp_ack", false),
            ("ab*ba", "aba", false),
            ("x*.constprop.0", "xyz.constprop.0", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }
}
