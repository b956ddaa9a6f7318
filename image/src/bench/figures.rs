//! `docs/figures.md`, which more than one command writes: each replaces its own section and leaves every other byte as it is.
//!
//! The page's head, up to the first heading of the second level, is the programs' section; every other section begins with its heading and
//! ends before the next. So the headings are the only marks, and no section may hold a heading of the second level besides its own.

use std::fs;

use anyhow::{Context, Result};

use crate::image::files;
use crate::workspace::Workspace;

/// Where the page is.
const PAGE: &str = "docs/figures.md";
/// How a section begins.
const MARK: &str = "## ";

/// Whose section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// The head of the page: our programs beside well-known ones.
    Programs,
    /// The image beside a bare Debian.
    Image,
    /// The front door beside nginx, and its scenarios.
    Door,
}

impl Section {
    /// Its first line; the head of the page has none of its own.
    fn heading(self) -> Option<&'static str> {
        match self {
            Section::Programs => None,
            Section::Image => Some("## The image"),
            Section::Door => Some("## The front door"),
        }
    }
}

/// Replaces a section; `text` begins with its heading, or with the page's.
pub(super) fn write(workspace: &Workspace, section: Section, text: &str) -> Result<()> {
    let path = workspace.root().join(PAGE);
    let before = match fs::read_to_string(&path) {
        Ok(before) => before,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    files::write(&path, splice(&before, section, text).as_bytes())
}

/// The page with one section new.
fn splice(page: &str, section: Section, text: &str) -> String {
    let mut pieces = pieces(page);
    let new = format!("{}\n", text.trim_end());
    let is_ours = |piece: &&str| match section.heading() {
        None => !piece.starts_with(MARK),
        Some(heading) => piece.lines().next() == Some(heading),
    };
    match (pieces.iter().position(is_ours), section.heading()) {
        (Some(place), _) => pieces[place] = &new,
        (None, None) => pieces.insert(0, &new),
        (None, Some(_)) => pieces.push(&new),
    }
    // One empty line between sections; what was there already has it.
    pieces.iter().fold(String::new(), |mut page, piece| {
        if !page.is_empty() && !page.ends_with("\n\n") {
            page.push('\n');
        }
        page + piece
    })
}

/// The page cut before each heading of the second level.
fn pieces(page: &str) -> Vec<&str> {
    let mut cuts = vec![0];
    cuts.extend(page.match_indices(MARK).map(|(place, _)| place).filter(|place| page[..*place].ends_with('\n')));
    cuts.push(page.len());
    let pairs = cuts.windows(2).map(|pair| &page[pair[0]..pair[1]]);
    pairs.filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# Figures\n\nWritten by x.\n\n| a | b |\n|---|---|\n| 1 ## 2 | 3 |\n";
    const IMAGE: &str = "## The image\n\n### Size\n\n| 1 |\n";

    #[test]
    fn a_new_section_leaves_the_page_as_it_was() {
        let page = splice(HEAD, Section::Image, IMAGE);
        assert_eq!(page, format!("{HEAD}\n{IMAGE}"));
        assert_eq!(splice(&page, Section::Image, IMAGE), page);
    }

    #[test]
    fn each_command_replaces_its_own_section_only() {
        let other = "## Something else\n\nwords\n";
        let page = format!("{HEAD}\n{IMAGE}\n{other}");
        assert_eq!(
            splice(&page, Section::Image, "## The image\n\nnew\n"),
            format!("{HEAD}\n## The image\n\nnew\n\n{other}")
        );
        assert_eq!(
            splice(&page, Section::Programs, "# Figures\n\nnew\n"),
            format!("# Figures\n\nnew\n\n{IMAGE}\n{other}")
        );
    }

    #[test]
    fn a_page_that_is_not_there_begins_with_the_section() {
        assert_eq!(splice("", Section::Image, IMAGE), IMAGE);
        assert_eq!(splice(IMAGE, Section::Programs, HEAD), format!("{HEAD}\n{IMAGE}"));
    }
}
