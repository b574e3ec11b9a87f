//! Names in our own text formats: one word each, whatever they hold.

use std::borrow::Cow;

/// Characters that the formats give a meaning, and those that cannot be seen.
fn is_special(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\\' | '#' | '[' | ']')
}

/// As one word: special characters as `\u{HEX}`, nothing at all as `\u{}`.
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed("\\u{}");
    }
    if !name.contains(is_special) {
        return Cow::Borrowed(name);
    }
    let mut word = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if is_special(c) {
            word.extend(c.escape_unicode());
        } else {
            word.push(c);
        }
    }
    Cow::Owned(word)
}

/// The name behind a word; a broken escape stays as it is.
pub(crate) fn unescape(word: &str) -> Cow<'_, str> {
    if !word.contains("\\u{") {
        return Cow::Borrowed(word);
    }
    let mut name = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((plain, escaped)) = rest.split_once("\\u{") {
        name.push_str(plain);
        let decoded = escaped.split_once('}').and_then(|(hex, rest)| {
            let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
            (c.is_some() || hex.is_empty()).then_some((c, rest))
        });
        match decoded {
            Some((c, behind)) => {
                name.extend(c);
                rest = behind;
            }
            None => {
                name.push_str("\\u{");
                rest = escaped;
            }
        }
    }
    name.push_str(rest);
    Cow::Owned(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_becomes_one_word_and_comes_back(name in any::<String>()) {
            let word = escape(&name);
            prop_assert_eq!(word.split_whitespace().count(), 1);
            prop_assert!(!word.contains(['#', '[', ']']));
            prop_assert_eq!(unescape(&word), name.as_str());
        }

        #[test]
        fn any_word_unescapes(word in any::<String>()) {
            let _ = unescape(&word);
        }
    }
}
