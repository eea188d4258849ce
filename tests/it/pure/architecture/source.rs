//! What a source file names, read off its tokens: enough of Rust's grammar for paths, and no more.

use std::path::{Path, PathBuf};

/// A file below `src/`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path below `src/`.
    pub path: String,
    pub text: String,
}

/// A path that a file names outside of its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    /// From the root: `crate` first for what is ours.
    pub segments: Vec<String>,
}

impl Source {
    /// The module that it is, such as `ceph::osd_map::json`; empty for the library's root.
    pub fn module(&self) -> String {
        let name = self.path.trim_end_matches(".rs").replace('/', "::");
        if name == "lib" { String::new() } else { name }
    }

    /// Whether all of it is tests.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// All paths it names outside of tests: what it imports, and what its code spells out.
    pub fn named(&self) -> Vec<Named> {
        let tokens = without_tests(&tokens(&self.text));
        let mut named = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let line = tokens[at].line;
            // `use<'a>` in a type is none.
            if tokens[at].is("use") && tokens.get(at + 1).is_some_and(|next| !next.is("<")) {
                at = use_tree(&tokens, at + 1, &mut Vec::new(), line, &mut named);
            } else if tokens[at].is_word() {
                let mut segments = vec![tokens[at].text.clone()];
                while at + 2 < tokens.len() && tokens[at + 1].is("::") && tokens[at + 2].is_word() {
                    segments.push(tokens[at + 2].text.clone());
                    at += 2;
                }
                named.push(Named { line, segments });
                at += 1;
            } else {
                at += 1;
            }
        }
        for named in &mut named {
            named.segments = self.absolute(std::mem::take(&mut named.segments));
        }
        named
    }

    /// The words outside of comments and texts, tests included.
    pub fn words(&self) -> Vec<(usize, String)> {
        let words = tokens(&self.text).into_iter().filter(Token::is_word);
        words.map(|token| (token.line, token.text)).collect()
    }

    /// Modules with a body of their own outside of tests: their `super` would be this file.
    pub fn inline_modules(&self) -> Vec<usize> {
        let tokens = without_tests(&tokens(&self.text));
        let windows = tokens.windows(3);
        windows
            .filter(|window| window[0].is("mod") && window[1].is_word() && window[2].is("{"))
            .map(|window| window[0].line)
            .collect()
    }

    fn absolute(&self, segments: Vec<String>) -> Vec<String> {
        let module = self.module();
        let mut base: Vec<String> = module
            .split("::")
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        let mut rest = segments.iter().peekable();
        match segments[0].as_str() {
            "crate" | "poolwright" => {
                rest.next();
                base.clear();
            }
            "self" | "super" => {
                while let Some(part) = rest.next_if(|part| *part == "self" || *part == "super") {
                    if part == "super" {
                        base.pop();
                    }
                }
            }
            _ => return segments,
        }
        std::iter::once("crate".to_owned())
            .chain(base)
            .chain(rest.cloned())
            .collect()
    }
}

/// All files below `src/`.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: std::fs::read_to_string(&path).unwrap(),
            path: path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
        })
        .collect()
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        self.text == text
    }

    fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Words, `::` and single characters; comments, texts and numbers are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    while at < chars.len() {
        let from = at;
        match get(at) {
            '/' if get(at + 1) == '/' => {
                while at < chars.len() && get(at) != '\n' {
                    at += 1;
                }
            }
            '/' if get(at + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (get(at), get(at + 1)) {
                        ('/', '*') => {
                            depth += 1;
                            at += 2;
                        }
                        ('*', '/') => {
                            depth -= 1;
                            at += 2;
                        }
                        _ => at += 1,
                    }
                    if depth == 0 || at >= chars.len() {
                        break;
                    }
                }
            }
            '"' => at = after_text(&chars, at),
            // A character, or a lifetime.
            '\'' if get(at + 1) == '\\' => {
                at += 2;
                while at < chars.len() && get(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if get(at + 2) == '\'' => at += 3,
            '\'' => {
                at += 1;
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
            }
            c if c.is_alphabetic() || c == '_' => {
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
                let word: String = chars[from..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                if ["r", "br", "cr"].contains(&word.as_str()) && get(at + hashes) == '"' {
                    at = after_raw(&chars, at + hashes + 1, hashes);
                } else if !(["b", "c"].contains(&word.as_str()) && get(at) == '"') {
                    tokens.push(Token { line, text: word });
                }
            }
            c if c.is_ascii_digit() => {
                while get(at).is_alphanumeric() || get(at) == '_' {
                    at += 1;
                }
            }
            ':' if get(at + 1) == ':' => {
                tokens.push(Token {
                    line,
                    text: "::".into(),
                });
                at += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token {
                        line,
                        text: c.into(),
                    });
                }
                at += 1;
            }
        }
        line += chars[from..at.min(chars.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    tokens
}

fn after_text(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn after_raw(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closes = chars[at] == '"'
            && chars[at + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes;
        at += 1;
        if closes {
            break;
        }
    }
    at + hashes
}

/// Without the items that exist in tests only.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut left = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].len() > MARK.len()
            && tokens[at..]
                .iter()
                .zip(MARK)
                .all(|(token, mark)| token.is(mark));
        if marked {
            at = after_item(tokens, at + MARK.len());
        } else {
            left.push(tokens[at].clone());
            at += 1;
        }
    }
    left
}

/// Behind the item that begins here: its semicolon or its last brace.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Reads a tree of imports up to its end; gives the place behind it.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    path: &mut Vec<String>,
    line: usize,
    named: &mut Vec<Named>,
) -> usize {
    let depth = path.len();
    while at < tokens.len() {
        let token = &tokens[at];
        match token.text.as_str() {
            "::" | "*" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && !tokens[at].is("}") && !tokens[at].is(";") {
                    at = use_tree(tokens, at, path, token.line, named);
                    if tokens.get(at).is_some_and(|token| token.is(",")) {
                        at += 1;
                    }
                }
                at += 1;
                path.truncate(depth);
                return after_semicolon(tokens, at, depth);
            }
            "as" => at += 2,
            "," | "}" | ";" => break,
            "self" if !path.is_empty() => at += 1,
            _ => {
                path.push(token.text.clone());
                at += 1;
            }
        }
    }
    named.push(Named {
        line,
        segments: path.clone(),
    });
    path.truncate(depth);
    after_semicolon(tokens, at, depth)
}

/// Only the outermost tree ends with a semicolon.
fn after_semicolon(tokens: &[Token], at: usize, depth: usize) -> usize {
    let ends = depth == 0 && tokens.get(at).is_some_and(|token| token.is(";"));
    at + usize::from(ends)
}
