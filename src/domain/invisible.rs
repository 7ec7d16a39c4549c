//! Which characters say something to a screen in the place of a reader: commands, and marks that nobody sees.

/// A control character, a mark that turns the direction of what follows (Unicode Standard Annex 9, section 2), a break of
/// line or paragraph, or a character without any width.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(character, '\u{2028}' | '\u{2029}')
        || matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}')
}
