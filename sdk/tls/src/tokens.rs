//! Files of bearer tokens.

use crate::files::{LoadError, Named, digest};

/// The shortest token: 64 bits in hex, and more of anything denser.
const TOKEN_CHARS_MIN: usize = 16;
/// The longest.
const TOKEN_CHARS_MAX: usize = 4_096;
/// Tokens of one file.
const TOKENS_MAX: usize = 4_096;

/// What is kept of a token. Comparing two takes a time that says nothing about the tokens.
pub(crate) type TokenDigest = [u8; 32];

/// What `token` is known by.
pub(crate) fn digest_of(token: &[u8]) -> TokenDigest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(token);
    digest(context)
}

/// The tokens in the text of a file, one a line; empty lines and those that begin with `#` are none.
pub(crate) fn parse<'a>(file: &Named, text: &'a [u8]) -> Result<Vec<&'a str>, LoadError> {
    const MAKE: &str = "`openssl rand -hex 32` makes one";
    let text = std::str::from_utf8(text)
        .map_err(|_| file.wrong("is not text", "a token a line, in visible ASCII"))?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        let number = number + 1;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = format!("line {number} is no token");
            return Err(file.wrong(problem, "a token is visible ASCII without blanks"));
        }
        if token.len() < TOKEN_CHARS_MIN || token.len() > TOKEN_CHARS_MAX {
            let problem = format!("the token in line {number} has {} characters", token.len());
            let allowed = format!("{TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX}; {MAKE}");
            return Err(file.wrong(problem, allowed));
        }
        tokens.push(token);
        if tokens.len() > TOKENS_MAX {
            return Err(file.wrong(format!("has more than {TOKENS_MAX} tokens"), "remove old ones"));
        }
    }
    match tokens.is_empty() {
        true => Err(file.wrong("has no token in it", MAKE)),
        false => Ok(tokens),
    }
}
