//! Translates exclude patterns to rsync filter rules that mean exactly the same.
