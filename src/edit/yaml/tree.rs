//! Where things stand in a YAML text: mappings, lists and scalars with their byte ranges.

use std::ops::Range;

use rowan::ast::AstNode;
use rowan::{NodeOrToken, SyntaxNode};
use serde_yaml::Value;
use yaml_edit::{Lang, SyntaxKind, YamlFile};

use super::render::Style;

/// One value. Ranges leave out comments and blanks around it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) range: Range<usize>,
    pub(super) shape: Shape,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Shape {
    /// Nothing is written, which means null.
    Empty,
    Scalar(Style),
    Collection(Collection),
    Alias,
}

/// A mapping or a list.
#[derive(Debug)]
pub(super) struct Collection {
    /// `{}` or `[]` on the page.
    pub(super) flow: bool,
    pub(super) mapping: bool,
    pub(super) entries: Vec<Entry>,
}

/// An entry of a mapping (from its key) or of a list (from its dash).
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) range: Range<usize>,
    /// Where the key ends; of a list's entry, where it starts.
    pub(super) key_end: usize,
    /// Where the colon ends, if there is one; of a list's entry, where the dash ends.
    pub(super) colon_end: Option<usize>,
    pub(super) value: Node,
}

/// A whole text.
pub(super) struct Tree {
    /// `None`: the document is empty.
    pub(super) root: Option<Node>,
    /// Where anchors and aliases start, in order.
    anchors: Vec<usize>,
    /// Where tags start, in order.
    tags: Vec<usize>,
}

impl Tree {
    /// Reads a text of one document that `value` was read from; `None` if it can't be followed.
    pub(super) fn read(text: &str, value: &Value) -> Option<Self> {
        let parsed = YamlFile::parse(text);
        if parsed.has_errors() {
            return None;
        }
        let file = parsed.tree();
        let syntax = file.syntax();
        if syntax.text() != text {
            return None;
        }
        let mut documents = syntax
            .children()
            .filter(|node| node.kind() == SyntaxKind::DOCUMENT);
        let document = documents.next();
        if documents.next().is_some() {
            return None;
        }
        let (mut anchors, mut tags) = (Vec::new(), Vec::new());
        for token in syntax
            .descendants_with_tokens()
            .filter_map(NodeOrToken::into_token)
        {
            let start = token.text_range().start().into();
            match token.kind() {
                SyntaxKind::ANCHOR | SyntaxKind::REFERENCE => anchors.push(start),
                SyntaxKind::TAG => tags.push(start),
                _ => {}
            }
        }
        let root = document.and_then(|document| inner(&document));
        if root.is_none() != value.is_null() {
            return None;
        }
        Some(Self { root, anchors, tags })
    }

    /// Whether an anchor or an alias starts in the range.
    pub(super) fn anchored(&self, range: &Range<usize>) -> bool {
        starts_in(&self.anchors, range)
    }

    /// Whether a tag starts in the range.
    pub(super) fn tagged(&self, range: &Range<usize>) -> bool {
        starts_in(&self.tags, range)
    }
}

fn starts_in(starts: &[usize], range: &Range<usize>) -> bool {
    let first = starts.partition_point(|start| *start < range.start);
    starts.get(first).is_some_and(|start| *start < range.end)
}

/// The first value among the children of a node.
fn inner(parent: &SyntaxNode<Lang>) -> Option<Node> {
    parent.children().find_map(|child| build(&child))
}

fn build(syntax: &SyntaxNode<Lang>) -> Option<Node> {
    let shape = match syntax.kind() {
        SyntaxKind::MAPPING => Shape::Collection(collection(syntax, true)?),
        SyntaxKind::SEQUENCE => Shape::Collection(collection(syntax, false)?),
        SyntaxKind::ALIAS => Shape::Alias,
        SyntaxKind::TAGGED_NODE => return inner(syntax),
        SyntaxKind::SCALAR => {
            let text = syntax.text();
            match text.char_at(0.into()) {
                None => Shape::Empty,
                Some('\'') => Shape::Scalar(Style::Single),
                Some('"') => Shape::Scalar(Style::Double),
                Some('|' | '>') => Shape::Scalar(Style::Block),
                Some(_) => Shape::Scalar(Style::Plain),
            }
        }
        _ => return None,
    };
    Some(Node {
        range: content(syntax),
        shape,
    })
}

fn collection(syntax: &SyntaxNode<Lang>, mapping: bool) -> Option<Collection> {
    let flow = syntax
        .first_token()
        .is_some_and(|token| matches!(token.kind(), SyntaxKind::LEFT_BRACE | SyntaxKind::LEFT_BRACKET));
    let mut entries = Vec::new();
    for child in syntax.children() {
        match child.kind() {
            SyntaxKind::MAPPING_ENTRY if mapping => entries.push(mapping_entry(&child)?),
            SyntaxKind::SEQUENCE_ENTRY if !mapping => entries.push(list_entry(&child)),
            _ => return None,
        }
    }
    Some(Collection {
        flow,
        mapping,
        entries,
    })
}

fn token_end(syntax: &SyntaxNode<Lang>, kind: SyntaxKind) -> Option<usize> {
    syntax
        .children_with_tokens()
        .filter_map(NodeOrToken::into_token)
        .find(|token| token.kind() == kind)
        .map(|token| token.text_range().end().into())
}

fn mapping_entry(syntax: &SyntaxNode<Lang>) -> Option<Entry> {
    let key = syntax.children().find(|child| child.kind() == SyntaxKind::KEY)?;
    let key_end = content(&key).end;
    let colon_end = token_end(syntax, SyntaxKind::COLON);
    let value = syntax.children().find(|child| child.kind() == SyntaxKind::VALUE);
    let at = colon_end.unwrap_or(key_end);
    let value = value.and_then(|value| inner(&value)).unwrap_or(Node {
        range: at..at,
        shape: Shape::Empty,
    });
    Some(Entry {
        range: content(syntax),
        key_end,
        colon_end,
        value,
    })
}

fn list_entry(syntax: &SyntaxNode<Lang>) -> Entry {
    let range = content(syntax);
    let dash = token_end(syntax, SyntaxKind::DASH);
    let at = dash.unwrap_or(range.start);
    let value = inner(syntax).unwrap_or(Node {
        range: at..at,
        shape: Shape::Empty,
    });
    Entry {
        key_end: range.start,
        colon_end: dash,
        value,
        range,
    }
}

/// The range without blanks, comments and a flow's comma at its end.
fn content(syntax: &SyntaxNode<Lang>) -> Range<usize> {
    let start: usize = syntax.text_range().start().into();
    let mut end = start;
    let mut token = syntax.last_token();
    // A comma between the entries of a flow is a child of the entry before it.
    let mut comma = matches!(
        syntax.kind(),
        SyntaxKind::MAPPING_ENTRY | SyntaxKind::SEQUENCE_ENTRY
    );
    while let Some(last) = token {
        let range = last.text_range();
        if usize::from(range.start()) < start {
            break;
        }
        let trailing = match last.kind() {
            SyntaxKind::WHITESPACE | SyntaxKind::NEWLINE | SyntaxKind::INDENT | SyntaxKind::COMMENT => true,
            SyntaxKind::COMMA => std::mem::take(&mut comma) && last.parent().as_ref() == Some(syntax),
            _ => range.is_empty(),
        };
        if !trailing {
            end = range.end().into();
            break;
        }
        token = last.prev_token();
    }
    start..end
}
