//! The rules of `dist/protocol.md`, read from the page that this program was built with: a check has
//! no words of its own for its rule.

/// The page.
pub const PAGE: &str = include_str!("../../../../dist/protocol.md");

pub struct Sentence {
    pub id: &'static str,
    /// On one line, without marks.
    pub text: String,
    /// MUST or MUST NOT; else SHOULD.
    pub must: bool,
}

/// All of them, in the order of the page: those that bind agents, and those that bind gateways.
pub fn all() -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    let mut open = false;
    for line in PAGE.lines() {
        match begun(line) {
            Some(sentence) => {
                sentences.push(sentence);
                open = true;
            }
            None if open && line.starts_with("  ") => {
                if let Some(sentence) = sentences.last_mut() {
                    sentence.text += &line[1..];
                }
            }
            None => open = false,
        }
    }
    for sentence in &mut sentences {
        sentence.must = sentence.text.contains("MUST");
        sentence.text = sentence.text.replace("**", "").replace('`', "");
    }
    sentences
}

/// `- <b id="A-REG-1">A-REG-1</b> The agent MUST ...`
fn begun(line: &'static str) -> Option<Sentence> {
    let (id, rest) = line.strip_prefix("- <b id=\"")?.split_once("\">")?;
    let text = rest.strip_prefix(id)?.strip_prefix("</b> ")?;
    Some(Sentence { id, text: text.to_owned(), must: false })
}
