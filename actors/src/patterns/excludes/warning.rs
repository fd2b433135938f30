//! Patterns that can match, and most likely do not do what their author means: written as for rsync, git, a shell, or a
//! regular expression. Looks at the text, and at whether a plain name is there in the tree.

use std::path::Path;

use crate::path::Shown;
use crate::patterns::excludes::pattern::Pattern;

/// The reason for which a pattern looks as if it meant something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` {why}")]
pub struct PatternWarning {
    pattern: Shown,
    why: &'static str,
    instead: Vec<String>,
    /// The advice where there is nothing to write instead, or more to say.
    advice: &'static str,
}

impl PatternWarning {
    /// The text to write instead.
    pub fn cure(&self) -> String {
        cure(&self.instead, self.advice)
    }
}

/// The text to write instead of a pattern that is refused, if it is one by somebody else's rules.
pub(super) fn cure_of(text: &str) -> Option<String> {
    read(text).map(|reading| cure(&reading.instead, reading.advice))
}

fn cure(instead: &[String], advice: &str) -> String {
    let shown = |text: &String| format!("\"{}\"", Shown::from(anchored(text).as_str()));
    let patterns = instead.iter().map(shown).collect::<Vec<_>>().join(", ");
    match (patterns.is_empty(), advice) {
        (true, advice) => advice.to_owned(),
        (false, "") => format!("write {patterns}"),
        (false, advice) => format!("write {patterns}; {advice}"),
    }
}

/// A reading of a pattern by somebody else's rules: why it is none of ours, and what is meant by it in ours.
struct ForeignReading {
    why: &'static str,
    instead: Vec<String>,
    advice: &'static str,
}

impl ForeignReading {
    fn of(why: &'static str, instead: impl IntoIterator<Item = String>) -> Option<ForeignReading> {
        Some(ForeignReading { why, instead: instead.into_iter().collect(), advice: "" })
    }

    fn advice(why: &'static str, advice: &'static str) -> Option<ForeignReading> {
        Some(ForeignReading { why, instead: Vec::new(), advice })
    }
}

/// The likely meaning of a pattern that means something else here. `wpath` is the tree.
pub fn warning(pattern: &Pattern, wpath: &Path) -> Option<PatternWarning> {
    let text = pattern.as_str();
    let reading = read(text).or_else(|| outside(text, wpath))?;
    // A name that is there as it stands is meant as it stands.
    let plain = text.trim_matches('/');
    let there = !plain.is_empty() && wpath.join(plain).symlink_metadata().is_ok();
    (!there).then(|| PatternWarning {
        pattern: Shown::from(text),
        why: reading.why,
        instead: reading.instead,
        advice: reading.advice,
    })
}

fn read(text: &str) -> Option<ForeignReading> {
    let readings = [everything, rule, quoted, blank, several, class, braces, regex, backslash, stars];
    readings.iter().find_map(|reading| reading(text))
}

fn everything(text: &str) -> Option<ForeignReading> {
    let rest = text.trim_matches(['/', '*']);
    if rest.is_empty() && !text.ends_with('/') {
        return ForeignReading::advice("excludes everything: nothing is mirrored", "remove it");
    }
    None
}

/// rsync's filter rules and options, and git's negation and comments.
fn rule(text: &str) -> Option<ForeignReading> {
    const INCLUDES: &str = "there are no rules that include: what no pattern matches is mirrored; remove it";
    const PREFIXES: [&str; 11] =
        ["- ", "-/ ", "--exclude=", "--exclude ", "exclude ", "exclude: ", "P ", "H ", "hide ", "protect ", "-s "];
    if ["+ ", "--include", "include ", "S ", "R ", "show ", "risk "].iter().any(|start| text.starts_with(start)) {
        return ForeignReading::advice("is a name here, and no rule that includes something", INCLUDES);
    }
    if let Some(negated) = text.strip_prefix('!') {
        let what = "is a name that begins with `!` here, and no negation";
        return if negated.is_empty() {
            ForeignReading::advice(what, "remove it")
        } else {
            ForeignReading::advice(what, INCLUDES)
        };
    }
    if let Some(bare) = PREFIXES.iter().find_map(|start| text.strip_prefix(start)) {
        return ForeignReading::of(
            "is a name here, and no rule or option of rsync",
            [anchored(bare.trim_start_matches(' '))],
        );
    }
    if [". ", ": ", "merge ", "dir-merge "].iter().any(|start| text.starts_with(start)) {
        return ForeignReading::advice(
            "is a name here, and no rule that reads a file",
            "write its patterns into `rexcludes`",
        );
    }
    // Editors write `#name#`.
    if text.starts_with('#') && !text.ends_with('#') {
        return ForeignReading::advice(
            "is a name that begins with `#` here, and no comment",
            "begin a comment with `//`",
        );
    }
    None
}

fn quoted(text: &str) -> Option<ForeignReading> {
    let inner = ['\'', '"', '`'].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote))?;
    ForeignReading::of("has quotes inside, which are a part of the name here", [anchored(inner)])
}

fn blank(text: &str) -> Option<ForeignReading> {
    let trimmed = text.trim();
    if trimmed.len() == text.len() {
        return None;
    }
    let why = "has a blank at its beginning or end, which is a part of the name here";
    if trimmed.is_empty() {
        ForeignReading::advice(why, "remove it")
    } else {
        ForeignReading::of(why, [anchored(trimmed)])
    }
}

/// A list in one text.
fn several(text: &str) -> Option<ForeignReading> {
    if text.contains(['{', '(']) {
        return None;
    }
    let parts: Vec<&str> = text.split([',', ';', '|', ' ', ':', '\n']).filter(|part| !part.is_empty()).collect();
    let is_pattern = |part: &&str| part.len() > 1 && (part.starts_with(['*', '/', '.']) || part.ends_with(['*', '/']));
    if parts.len() < 2 || !parts.iter().all(is_pattern) {
        return None;
    }
    ForeignReading::of("is one name here, and no list of patterns", parts.into_iter().map(anchored))
}

/// At most so many patterns are named for one.
const MOST: usize = 6;

fn class(text: &str) -> Option<ForeignReading> {
    let why = "has `[...]`, which stands for itself here: there are no classes";
    let (start, rest) = text.split_once('[')?;
    let (members, end) = rest.split_once(']').filter(|(members, _)| !members.is_empty())?;
    let listed = !members.starts_with(['!', '^', ':']) && !members.contains('-') && !end.contains('[');
    if listed && members.chars().count() <= MOST {
        return ForeignReading::of(why, members.chars().map(|member| format!("{start}{member}{end}")));
    }
    let mut plain = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '[' => plain.push('?'),
            ']' => (),
            c if !inside => plain.push(c),
            _ => (),
        }
        inside = (inside || c == '[') && c != ']';
    }
    let advice = "`?` is any one character";
    Some(ForeignReading { why, instead: vec![plain], advice })
}

fn braces(text: &str) -> Option<ForeignReading> {
    let (start, rest) = text.split_once('{')?;
    let (members, end) = rest.split_once('}')?;
    if !members.contains(',') {
        return None;
    }
    let why = "has `{...}`, which stands for itself here";
    ForeignReading::of(why, members.split(',').map(|member| format!("{start}{}{end}", member.trim())))
}

fn regex(text: &str) -> Option<ForeignReading> {
    let is_regex = text.starts_with('^')
        || (text.ends_with('$') && text.contains(['\\', '*', '^']))
        || text.starts_with("(?")
        || [".*\\.", "\\d", "\\w", "\\S", "\\s", ".+"].iter().any(|part| text.contains(part))
        || (text.contains('|') && text.contains('('));
    if !is_regex {
        return None;
    }
    let why = "looks like a regular expression, and is none here";
    let (body, open) = text.strip_prefix('^').map_or((text, true), |body| (body, false));
    let (body, end) = body.strip_suffix('$').map_or((body, true), |body| (body, false));
    let plain = body.replace(".*", "*").replace(".+", "*").replace("\\.", ".").replace("\\/", "/");
    if plain.contains(['\\', '(', '[', '+', '|', '^', '$']) || plain.is_empty() {
        return ForeignReading::advice(why, "write it with `*` and `?` alone, the whole name or the path from `/` on");
    }
    let star = |wanted: bool, there: bool| if wanted && !there { "*" } else { "" };
    let plain = format!("{}{plain}{}", star(open, plain.starts_with(['*', '/'])), star(end, plain.ends_with('*')));
    ForeignReading::of(why, [anchored(&plain)])
}

fn backslash(text: &str) -> Option<ForeignReading> {
    let why = "has `\\`, which stands for itself here and escapes nothing";
    let at = text.find('\\')?;
    let next = text[at + 1..].chars().next();
    // As systemd writes names: `dev-disk-by\x2dlabel`.
    if next == Some('x') {
        return None;
    }
    if next.is_some_and(|next| "*?[]{}\\ #!".contains(next)) {
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, c == '\\') {
                (_, true) => plain.extend(chars.next().map(|next| if "*?".contains(next) { '?' } else { next })),
                (c, false) => plain.push(c),
            }
        }
        let advice = if plain.contains('?') { "`?` is any one character" } else { "" };
        return Some(ForeignReading { why, instead: vec![plain], advice });
    }
    ForeignReading::of(why, [anchored(&text.replace('\\', "/"))])
}

/// `**` is `*` here, and a `*` between two slashes matches a name at least.
fn stars(text: &str) -> Option<ForeignReading> {
    let (start, end) = text.split_once("/**/").filter(|(start, _)| !start.is_empty())?;
    let why = "has `/**/`, which is `/*/` here and does not match a single `/`";
    ForeignReading::of(why, [format!("{start}/{end}"), format!("{start}/*/{end}")])
}

/// A path of the machine, or one that begins with the name of the tree.
fn outside(text: &str, wpath: &Path) -> Option<ForeignReading> {
    if !text.starts_with('/') {
        return None;
    }
    let starts_there = |root: &str| {
        let below = text.strip_prefix(root)?;
        let first = root.strip_prefix('/')?.split('/').next()?;
        // The tree may have such a path in it.
        let there = wpath.join(first).symlink_metadata().is_ok();
        (!there && (below.is_empty() || below.starts_with('/'))).then_some(below)
    };
    let root = wpath.to_str()?.trim_end_matches('/');
    let below = |below: &str, why| match below.trim_matches('/') {
        "" => ForeignReading::advice(why, "remove it, or name what is in wpath by its path there"),
        _ => ForeignReading::of(why, [below.to_owned()]),
    };
    if let Some(rest) = starts_there(root).filter(|_| !root.is_empty()) {
        return below(rest, "begins with wpath, but a pattern is compared with the path below wpath");
    }
    let name = root.rsplit_once('/').map(|(_, name)| format!("/{name}")).filter(|name| name.len() > 1)?;
    let rest = starts_there(&name)?;
    below(rest, "begins with the name of wpath, but a pattern is compared with the path below wpath")
}

/// A path that does not say where it begins, as one that may begin anywhere.
fn anchored(pattern: &str) -> String {
    let inner = pattern.trim_end_matches('/');
    let free = inner.contains('/') && !inner.starts_with(['/', '*']);
    if free { format!("*/{pattern}") } else { pattern.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, wpath: &Path) -> Option<String> {
        let pattern = Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        warning(&pattern, wpath).map(|warning| format!("{warning}: {}", warning.cure()))
    }

    #[test]
    fn what_means_something_else_is_told_with_what_to_write() {
        for (text, expected) in [
            ("/srv/www/backup", "begins with wpath, but|: write \"/backup\""),
            ("/srv/www/backup/", "write \"/backup/\""),
            ("/srv/www/", "begins with wpath|remove it, or name what is in wpath"),
            ("/www/backup", "begins with the name of wpath|write \"/backup\""),
            ("[ab]*.tmp", "no classes: write \"a*.tmp\", \"b*.tmp\""),
            ("[Tt]humbs.db", "write \"Thumbs.db\", \"thumbs.db\""),
            ("cache[0-9]/", "write \"cache?/\"; `?` is any one"),
            ("[!a][bc]x", "write \"??x\""),
            ("*.{a,b}", "stands for itself here: write \"*.a\", \"*.b\""),
            ("{one, two}/", "write \"one/\", \"two/\""),
            ("+ x", "no rule that includes|there are no rules that include"),
            ("- x", "no rule or option of rsync: write \"x\""),
            ("- *.tmp", "write \"*.tmp\""),
            ("P keep", "write \"keep\""),
            ("exclude x", "write \"x\""),
            ("--exclude=x", "write \"x\""),
            ("!x", "no negation: there are no rules that include"),
            ("!", "no negation: remove it"),
            ("#x", "no comment: begin a comment with `//`"),
            ("# cache", "no comment"),
            (". list", "reads a file"),
            ("a\\*b", "escapes nothing: write \"a?b\"; `?` is any one character"),
            ("a\\ b", "escapes nothing: write \"a b\""),
            ("cache\\tmp", "write \"*/cache/tmp\""),
            (" x", "has a blank at its beginning or end|write \"x\""),
            ("x\t", "write \"x\""),
            (" ", "remove it"),
            ("'*.tmp'", "has quotes inside|write \"*.tmp\""),
            ("*.tmp, *.swp", "no list of patterns: write \"*.tmp\", \"*.swp\""),
            ("*.tmp|*.swp", "no list of patterns"),
            ("/a /b", "write \"/a\", \"/b\""),
            (".*\\.tmp$", "looks like a regular expression|write \"*.tmp\""),
            ("\\.tmp$", "write \"*.tmp\""),
            ("^x", "write \"x*\""),
            ("^x$", "write \"x\""),
            (".*\\.(o|a)$", "write it with `*` and `?` alone"),
            ("log\\d+", "looks like a regular expression"),
            ("/a/**/b", "write \"/a/b\", \"/a/*/b\""),
            ("*", "excludes everything: nothing is mirrored: remove it"),
            ("/**", "excludes everything"),
        ] {
            let told = told(text, Path::new("/srv/www")).unwrap_or_else(|| panic!("{text}: nothing"));
            assert!(told.starts_with(&format!("`{}` ", Shown::from(text))), "{text}: {told}");
            for fragment in expected.split('|') {
                assert!(told.contains(fragment), "{text}: wanted {fragment}: {told}");
            }
        }
    }

    #[test]
    fn a_refused_pattern_is_read_so_too() {
        for (text, expected) in [
            ("--exclude=x/y", "write \"*/x/y\""),
            ("- /a/b", "write \"/a/b\""),
            ("+ /a/b", "there are no rules that include"),
            (" /a/b", "write \"/a/b\""),
            ("'/a/b'", "write \"/a/b\""),
            ("a/*.{b,c}", "write \"*/a/*.b\", \"*/a/*.c\""),
            ("^/a/b$", "write \"/a/b\""),
            ("a/b", "write `/a/b` (in wpath) or `*/a/b` (anywhere)"),
        ] {
            let cure = Pattern::parse(text).expect_err(text).cure();
            assert!(cure.contains(expected), "{text}: {cure}");
        }
    }

    #[test]
    fn what_is_meant_as_it_stands_is_left_alone() {
        for text in [
            "*.tmp",
            "cache",
            "cache/",
            "/a",
            "/a/*.log",
            "*/cache",
            "*~",
            "~*",
            "~$*",
            ".*",
            ".*.swp",
            "#*#",
            ".#*",
            "a?c",
            "*.o",
            "$RECYCLE.BIN/",
            "a b",
            "dev\\x2dlabel",
            "**/node_modules",
            "/a/**",
            "**.tmp",
            "*/",
            "a,b",
            "a+b",
            "-x",
            "x!",
            "x#",
            "{x}",
            "a[",
            "/srv/www2",
            "/www2",
            "lost+found/",
            "a.b.c",
            "S3",
            "/a.b/c",
            "a(1).txt",
            "|",
        ] {
            assert_eq!(told(text, Path::new("/srv/www")), None, "{text}");
        }
    }

    #[test]
    fn a_name_that_is_in_the_tree_is_meant() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["#recycle", "[a]", "a, b", "! x"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        for name in ["#recycle", "#recycle/", "/[a]", "[a]", "a, b", "! x"] {
            assert_eq!(told(name, dir.path()), None, "{name}");
        }
        assert!(told("#other", dir.path()).is_some());
        let own = dir.path().to_str().unwrap();
        assert!(told(&format!("{own}/x"), dir.path()).unwrap().contains("write \"/x\""));
        std::fs::create_dir_all(dir.path().join(own.trim_start_matches('/'))).unwrap();
        assert_eq!(told(&format!("{own}/x"), dir.path()), None);
        assert_eq!(told("/srv/x", Path::new("/")), None);
    }
}
