//! Text from outside is data: what engines, registries and clients say is cut, and printed without
//! characters that leave no mark. Also: which names are the same.
//!
//! Not here: which text of a client is refused (`http/input`), how it is escaped (`cli/terminal`).

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Longest words of somebody else that are recorded or shown, in bytes: a paragraph.
const MAX_WORDS_BYTES: usize = 1024;

/// What stands for the middle of longer words.
const GAP: &str = " … ";

/// How much of the end of longer words is kept: errors are told as a chain, with the cause last.
const END_BYTES: usize = 384;
const BEGIN_BYTES: usize = MAX_WORDS_BYTES - END_BYTES - GAP.len();

/// Whether a character leaves no mark where it is printed, but may change what is around it:
/// controls, format characters (directions of writing, tags, zero width), line and paragraph
/// separators, and whatever else Unicode says to ignore where it is not supported.
pub fn is_hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    // Whether the symbol before it is an emoji: part of many of them.
    if matches!(character, '\u{fe0e}' | '\u{fe0f}') {
        return false;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// Whether a character may change how a text looks that contains it. Joiners do not count: Persian
/// and Indian languages need them, and so do many emoji.
pub fn misleads(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\u{200c}' | '\u{200d}')
}

/// What somebody else says, as it is recorded and shown: one line of bounded length, without
/// hidden characters. Of longer words the middle is left out.
pub fn words(text: &str) -> String {
    if text.len() <= MAX_WORDS_BYTES {
        return line(text);
    }
    let (begin, _) = text.split_at(text.floor_char_boundary(BEGIN_BYTES));
    let (_, end) = text.split_at(text.ceil_char_boundary(text.len() - END_BYTES));
    format!("{}{GAP}{}", line(begin), line(end))
}

/// A text as one line without hidden characters. Never longer than the text.
fn line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.trim().chars() {
        if !is_hidden(character) {
            line.push(character);
        } else if character.is_whitespace() && !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// A name in the form in which names are compared (Unicode's NFC): an `é` may be written as one
/// character or two, and nobody sees which.
pub fn composed(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    ComposingNormalizerBorrowed::new_nfc().normalize(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_known_in_every_block() {
        for hidden in [
            '\0',
            '\n',
            '\t',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
        ] {
            assert!(is_hidden(hidden), "U+{:04X}", hidden as u32);
        }
        for seen in ['a', ' ', '~', 'é', '\u{301}', 'ß', '\u{a0}', '中', 'ん', '❤', '\u{fe0f}']
        {
            assert!(!is_hidden(seen), "U+{:04X}", seen as u32);
        }
        assert!(misleads('\u{202e}') && misleads('\u{200b}') && misleads('\u{e0041}'));
        assert!(!misleads('\u{200c}') && !misleads('\u{200d}') && !misleads('é'));
    }

    #[test]
    fn words_are_one_line_without_what_a_terminal_would_obey() {
        assert_eq!(words(" denied:\r\n\tno\u{2028}access \n"), "denied: no access");
        assert_eq!(words("a\u{1b}]0;title\u{7}b\u{202e}c\u{e0041}\u{200b}d"), "a]0;titlebcd");
        assert_eq!(words("é 中 ❤\u{fe0f}"), "é 中 ❤\u{fe0f}");
        assert_eq!(words("\u{202e}\n"), "");
    }

    #[test]
    fn long_words_keep_their_beginning_and_their_cause() {
        for middle in ["x".repeat(5_000_000), "é".repeat(2_000), "\u{1b}".repeat(3_000)] {
            let told = words(&format!("mkdir /{middle}: file name too long"));
            assert!(told.len() <= MAX_WORDS_BYTES, "{}", told.len());
            assert!(told.starts_with("mkdir /") && told.ends_with(": file name too long"));
            assert!(told.contains(GAP));
        }
        let longest = "x".repeat(MAX_WORDS_BYTES);
        assert_eq!(words(&longest), longest);
        assert_eq!(words(&words(&"y".repeat(4_000))), words(&"y".repeat(4_000)), "once is enough");
    }

    #[test]
    fn names_are_the_same_however_they_are_written() {
        assert_eq!(composed("cafe\u{301}"), "café");
        assert_eq!(composed("café"), "café");
        assert_eq!(composed("web-1"), "web-1");
        assert_eq!(composed("\u{212b}"), "Å", "the unit is the letter");
        assert_ne!(composed("ﬁ"), "fi", "compatibility forms look different");
    }
}
