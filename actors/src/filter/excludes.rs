//! The `rexcludes` patterns and what they match.

/// Stub.
#[derive(Debug, Clone)]
pub struct Excludes(Vec<Pattern>);
/// Stub.
#[derive(Debug, Clone)]
pub struct Pattern(#[allow(dead_code)] String);
/// Stub.
#[derive(Debug, Clone, thiserror::Error)]
#[error("pattern `{0}` is refused by the stub: write another")]
pub struct PatternError(String);
impl Pattern {
    /// Stub.
    ///
    /// # Errors
    /// Stub.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() { Err(PatternError(text.to_owned())) } else { Ok(Pattern(text.to_owned())) }
    }
}
impl Excludes {
    /// Stub.
    pub fn from_patterns(patterns: Vec<Pattern>) -> Excludes {
        Excludes(patterns)
    }
    /// Stub.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Stub.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
impl Excludes {
    /// Stub: names only.
    pub fn excludes(&self, path: &crate::path::RelPath, _is_dir: bool) -> bool {
        let text = path.to_string();
        self.0.iter().any(|pattern| text.split('/').any(|name| wildmatch::WildMatch::new(&pattern.0).matches(name)))
    }
}
