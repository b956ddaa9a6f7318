//! A plain table: caption, column heads, rows of text. The template draws every annex with it.

/// Column head.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) text: String,
    pub(crate) class: &'static str,
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) class: &'static str,
    /// Names the row.
    pub(crate) header: bool,
}

/// A table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) heads: Vec<Head>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Heads as texts; those that start with `#` stand over numbers.
    pub(crate) fn new(caption: impl Into<String>, heads: &[&str]) -> Self {
        let heads = heads
            .iter()
            .map(|head| match head.strip_prefix('#') {
                Some(text) => Head { text: text.to_owned(), class: "n" },
                None => Head { text: (*head).to_owned(), class: "" },
            })
            .collect();
        Self { caption: caption.into(), heads, rows: Vec::new() }
    }

    /// Adds a row: the first cell names it, the others are aligned like their heads.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let row = cells
            .into_iter()
            .enumerate()
            .map(|(index, text)| Cell {
                text,
                class: self.heads.get(index).map_or("", |head| head.class),
                header: index == 0,
            })
            .collect();
        self.rows.push(row);
    }

    /// Gives the last cell of the last row a class.
    pub(crate) fn mark_last(&mut self, class: &'static str) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            cell.class = class;
        }
    }

    /// Mutes the leading cells of the last row that repeat the row above, so that groups are seen.
    pub(crate) fn mute_repeated(&mut self) {
        let [.., above, last] = self.rows.as_mut_slice() else { return };
        for (cell, above) in last.iter_mut().zip(above) {
            if cell.text != above.text || cell.class == "n" {
                break;
            }
            cell.class = "same";
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
