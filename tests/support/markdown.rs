//! The pages of the documentation, and the blocks and tables in them.

use std::fs;
use std::path::Path;

/// A fenced block.
pub struct Block {
    /// The file and the line of the text's beginning, for messages.
    pub place: String,
    /// What follows the opening fence, such as `rust,ignore`.
    pub info: String,
    /// The text, with a line end after each line.
    pub text: String,
}

/// A command of a console block, and its output.
pub struct Shown {
    pub place: String,
    /// The command without the dollar sign.
    pub command: String,
    /// The output that the page shows.
    pub output: String,
}

/// Returns the names and texts of all pages.
pub fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    // The published crate lacks some of these directories.
    for directory in ["", "docs/", "csrc/", "bench/"] {
        for entry in fs::read_dir(root.join(directory)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = format!("{directory}{}", path.file_name().unwrap().to_str().unwrap());
                pages.push((name, fs::read_to_string(path).unwrap().replace("\r\n", "\n")));
            }
        }
    }
    pages.sort();
    pages
}

/// Returns the blocks of all pages.
pub fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|(name, text)| blocks_of(name, text)).collect()
}

fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                let place = format!("{page}:{}", number + 1);
                open = Some(Block { place, info: info.to_owned(), text: String::new() });
            }
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block without an end");
    blocks
}

/// Returns the commands of all console blocks: the lines that begin with a dollar sign.
pub fn commands() -> Vec<Shown> {
    let mut commands = Vec::new();
    for block in blocks().into_iter().filter(|block| block.info == "console") {
        for part in format!("\n{}", block.text).split("\n$ ").skip(1) {
            let (command, output) = part.split_once('\n').unwrap_or((part, ""));
            let (command, output) = (command.to_owned(), output.trim_end().to_owned());
            commands.push(Shown { place: block.place.clone(), command, output });
        }
    }
    commands
}

/// Returns the cells of the tables whose first column has no heading: the names of their rows and columns, and the texts.
pub fn cells(text: &str) -> Vec<[&str; 3]> {
    let mut cells = Vec::new();
    let mut columns: Vec<&str> = Vec::new();
    for line in text.lines() {
        let row = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let row: Vec<&str> = row.map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default();
        match row.first() {
            None => columns.clear(),
            Some(&"") => columns = row,
            Some(name) => {
                cells.extend(columns.iter().zip(&row).skip(1).map(|(column, cell)| [*name, *column, *cell]));
            }
        }
    }
    cells
}
