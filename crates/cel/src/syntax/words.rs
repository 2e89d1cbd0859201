//! The words that the language keeps for itself, and that therefore name nothing as they are.

/// Words that mean something where they stand.
const KEYWORDS: [&str; 4] = ["true", "false", "null", "in"];

/// Names that only the language may use.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether an identifier would be a word kept for later versions of the language.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Whether a name cannot be an identifier as it is.
pub(crate) fn is_word(name: &str) -> bool {
    KEYWORDS.contains(&name) || is_reserved(name)
}
