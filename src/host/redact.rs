//! Takes secrets out of text that is shown to people. Pure.

/// `text` with the user part and the query taken out of each URL in it.
pub fn without_secrets(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(scheme) = rest.find("//") {
        let (before, after) = rest.split_at(scheme + "//".len());
        let (url, tail) = after.split_at(after.find([' ', '"', '\'']).unwrap_or(after.len()));
        let authority = url.split(['/', '?', '#']).next().unwrap_or("");
        let start = authority.rfind('@').map_or(0, |at| at + 1);
        let end = url.find(['?', '#']).unwrap_or(url.len());
        shown.push_str(before);
        shown.push_str(&url[start..end]);
        rest = tail;
    }
    shown + rest
}
