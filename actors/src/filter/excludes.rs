//! The `rexcludes` patterns and what they match.
