//! The fenced blocks of README.md and of the pages in `docs`.

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
    let docs = fs::read_dir(root.join("docs")).expect("there are pages");
    let mut names: Vec<String> =
        docs.map(|page| format!("docs/{}", page.unwrap().file_name().into_string().unwrap())).collect();
    names.push("README.md".into());
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(root.join(&name)).unwrap();
        (name, text.replace("\r\n", "\n"))
    };
    names.into_iter().map(read).collect()
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
