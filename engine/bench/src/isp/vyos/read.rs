//! A strict, bounded reader of the brace tree.
//!
//! One statement per line: `name {`, `name tag {`, `name value`, `name` or `}`. Values are a bare word or quoted with `"`, in which
//! `\"` and `\\` stand for themselves. `/* … */` comments stand on lines of their own; lines that begin with `//` are the footer,
//! of which the version string is kept. Whatever else a line says is refused by number: half an operator's file is worse than none.

use std::fmt;

/// A router's file is some kilobytes; one with a full set of firewall groups may reach a megabyte.
const MAX_TEXT: usize = 2 * 1024 * 1024;
/// The deepest tree VyOS has is about a dozen levels.
const MAX_DEPTH: usize = 32;
/// Statements in one file.
const MAX_NODES: usize = 100_000;
/// A name or a value: a certificate in one line is about 4 kB.
const MAX_WORD: usize = 64 * 1024;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its first word.
    pub name: String,
    /// Value of a leaf, or tag of a block.
    pub value: Option<String>,
    /// What a block holds; `None` for a leaf.
    pub children: Option<Vec<Node>>,
}

/// A whole file.
///
/// ```
/// use tbi_bench::isp::vyos::Tree;
/// let tree = Tree::parse(r#"
/// protocols {
///     static {
///         route 172.16.0.0/16 {
///             next-hop 200.130.0.1 {
///                 distance "10"
///             }
///         }
///     }
/// }
/// // vyos-config-version: "quagga@11"
/// "#).unwrap();
/// let hop = tree.find(&["protocols", "static"]).unwrap().named("route").next().unwrap().named("next-hop").next().unwrap();
/// assert_eq!((hop.value.as_deref(), hop.leaf("distance")), (Some("200.130.0.1"), Some("10")));
/// assert_eq!(tree.version(), Some("quagga@11"));
///
/// for wrong in ["a {", "}", "a { b }", "a \"b", "a \"b\" c", "a \"\\n\"", "a b c", "a b\"c\"", "/* a", "{", "\"a\" {", "a\tb\u{0}"] {
///     assert!(Tree::parse(wrong).is_err(), "{wrong}");
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    version: Option<String>,
}

/// A file that is not a VyOS configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence of each variant explains its fields")]
pub enum ReadError {
    #[error("config.boot is larger than {MAX_TEXT} bytes; check that it is the right file")]
    TooLarge,
    #[error(
        "line {line} of config.boot {what}; export the configuration again with `save`, and do not edit it by hand"
    )]
    Line { line: usize, what: &'static str },
    #[error("config.boot has more than {MAX_NODES} statements; check that it is the right file")]
    TooMany,
    #[error("config.boot ends inside a block or a comment; copy the whole file")]
    Cut,
}

impl Tree {
    /// Reads a file.
    ///
    /// # Errors
    /// The first fault, with its line.
    pub fn parse(text: &str) -> Result<Self, ReadError> {
        if text.len() > MAX_TEXT {
            return Err(ReadError::TooLarge);
        }
        let mut version = None;
        // Blocks that are open: the statement each began with, and what it holds so far. The first is the file itself.
        let mut open: Vec<Node> = vec![block("", None)];
        let (mut count, mut in_comment) = (0_usize, false);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_matches([' ', '\t', '\r']);
            let at = |what| ReadError::Line { line: index + 1, what };
            if line.chars().any(|char| char.is_control() && char != '\t') {
                return Err(at("holds a control character"));
            }
            if in_comment || line.starts_with("/*") {
                // `/*/` opens and does not close.
                let rest = if in_comment { line } else { line.get(2..).unwrap_or_default() };
                in_comment = match rest.find("*/") {
                    None => true,
                    Some(end) if end + 2 == rest.len() => false,
                    Some(_) => return Err(at("goes on after a comment")),
                };
                continue;
            }
            if line.is_empty() {
                continue;
            }
            if let Some(remark) = line.strip_prefix("//") {
                if open.len() > 1 {
                    return Err(at("is a footer inside a block"));
                }
                if let Some(quoted) = remark.trim_start().strip_prefix("vyos-config-version:") {
                    let (word, rest) = value(quoted.trim_start()).map_err(at)?;
                    if !rest.is_empty() || version.replace(word).is_some() {
                        return Err(at("is a second or malformed version string"));
                    }
                }
                continue;
            }
            if line == "}" {
                let closed = open.pop();
                match (open.last_mut(), closed) {
                    (Some(parent), Some(node)) => parent.children.get_or_insert_default().push(node),
                    _ => return Err(at("closes a block that was never opened")),
                }
                continue;
            }
            count += 1;
            if count > MAX_NODES {
                return Err(ReadError::TooMany);
            }
            let node = statement(line).map_err(at)?;
            if node.children.is_some() {
                if open.len() > MAX_DEPTH {
                    return Err(at("is nested too deeply"));
                }
                open.push(node);
            } else if let Some(parent) = open.last_mut() {
                parent.children.get_or_insert_default().push(node);
            }
        }
        match (open.pop(), open.is_empty() && !in_comment) {
            (Some(root), true) => Ok(Self { nodes: root.children.unwrap_or_default(), version }),
            _ => Err(ReadError::Cut),
        }
    }

    /// Statements of the outermost level.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The footer's component versions (`interfaces@32:quagga@11:…`); without them VyOS takes a file for an old one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The first block at a path of untagged names.
    #[must_use]
    pub fn find(&self, path: &[&str]) -> Option<&Node> {
        let (first, rest) = path.split_first()?;
        let mut node = self.nodes.iter().find(|node| node.name == *first && node.value.is_none())?;
        for name in rest {
            node = node.inner().find(|node| node.name == *name && node.value.is_none())?;
        }
        Some(node)
    }

    pub(in crate::isp) fn new(nodes: Vec<Node>, version: &str) -> Self {
        Self { nodes, version: Some(version.to_owned()) }
    }
}

impl Node {
    /// Everything in this block.
    pub fn inner(&self) -> impl Iterator<Item = &Node> {
        self.children.iter().flatten()
    }

    /// Statements of this block with a name.
    pub fn named<'node, 'name>(&'node self, name: &'name str) -> impl Iterator<Item = &'node Node> + use<'node, 'name> {
        self.children.iter().flatten().filter(move |node| node.name == name)
    }

    /// Value of the first leaf with a name.
    #[must_use]
    pub fn leaf(&self, name: &str) -> Option<&str> {
        self.inner().filter(|node| node.name == name).find_map(|node| node.value.as_deref())
    }
}

pub(super) fn block(name: &str, tag: Option<String>) -> Node {
    Node { name: name.to_owned(), value: tag, children: Some(Vec::new()) }
}

pub(super) fn leaf(name: &str, value: impl fmt::Display) -> Node {
    Node { name: name.to_owned(), value: Some(value.to_string()), children: None }
}

/// One line that is a statement.
fn statement(line: &str) -> Result<Node, &'static str> {
    let (head, children) = match line.strip_suffix('{') {
        Some(head) if head.ends_with([' ', '\t']) => (head.trim_end_matches([' ', '\t']), Some(Vec::new())),
        _ => (line, None),
    };
    let end = head.find([' ', '\t']).unwrap_or(head.len());
    let (name, rest) = head.split_at(end);
    if name.is_empty() || name.len() > MAX_WORD || name.contains(['"', '{', '}']) {
        return Err("does not begin with a name");
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() {
        return Ok(Node { name: name.to_owned(), value: None, children });
    }
    let (word, rest) = value(rest)?;
    if rest.is_empty() {
        Ok(Node { name: name.to_owned(), value: Some(word), children })
    } else {
        Err("goes on after its value")
    }
}

/// A bare or quoted value, and what follows it.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return match word {
            "" => Err("has an empty value without quotes"),
            _ if word.len() > MAX_WORD => Err("has a value that is too long"),
            _ if word.contains(['"', '{', '}']) => Err("has a brace or a quote in a value without quotes"),
            _ => Ok((word.to_owned(), rest)),
        };
    };
    let mut word = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((word, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => word.push(escaped),
                _ => return Err("has a backslash in quotes that escapes neither a quote nor a backslash"),
            },
            _ => word.push(char),
        }
        if word.len() > MAX_WORD {
            return Err("has a value that is too long");
        }
    }
    Err("has a quote that is not closed")
}

impl fmt::Display for Tree {
    /// As VyOS saves it: four spaces a level, values quoted, the footer last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            show(node, 0, f)?;
        }
        match &self.version {
            Some(version) => {
                writeln!(f, "\n\n// Warning: Do not remove the following line.")?;
                writeln!(f, "// vyos-config-version: {}", Quoted(version))
            }
            None => Ok(()),
        }
    }
}

/// As deep as the tree, which was read or made with a bound.
fn show(node: &Node, level: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let indent = level * 4;
    write!(f, "{:indent$}{}", "", node.name)?;
    match (&node.children, &node.value) {
        (None, None) => writeln!(f),
        (None, Some(value)) => writeln!(f, " {}", Quoted(value)),
        (Some(children), tag) => {
            match tag {
                None => writeln!(f, " {{")?,
                Some(tag) if is_bare(tag) => writeln!(f, " {tag} {{")?,
                Some(tag) => writeln!(f, " {} {{", Quoted(tag))?,
            }
            for child in children {
                show(child, level + 1, f)?;
            }
            writeln!(f, "{:indent$}}}", "")
        }
    }
}

fn is_bare(word: &str) -> bool {
    !word.is_empty() && !word.contains(['"', '{', '}', ' ', '\t'])
}

struct Quoted<'text>(&'text str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}
