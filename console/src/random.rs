//! What nobody can guess.

/// 32 bytes from the system.
pub(crate) type Token = [u8; 32];

/// A new one.
pub(crate) fn token() -> Token {
    let mut token = Token::default();
    getrandom::fill(&mut token).expect("the system gives random bytes");
    token
}

/// As it stands in cookies and forms.
pub(crate) fn text(token: &Token) -> String {
    use std::fmt::Write as _;
    token.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Back from text.
pub(crate) fn parse(text: &str) -> Option<Token> {
    let digits = text.as_bytes();
    let mut token = Token::default();
    if digits.len() != 2 * token.len() {
        return None;
    }
    for (byte, pair) in token.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(token)
}

/// Whether they are the same, in a time that does not tell where they differ.
pub(crate) fn same(left: &Token, right: &Token) -> bool {
    left.iter()
        .zip(right)
        .fold(0, |differences, (left, right)| differences | (left ^ right))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_as_text_and_differ() {
        let (one, other) = (token(), token());
        assert!(!same(&one, &other));
        assert_eq!(parse(&text(&one)), Some(one));
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(65), &"\u{e9}".repeat(32)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
