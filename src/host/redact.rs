//! Takes secrets out of text that people read. Pure.

use super::authority::without_user;

/// `text` with the user part and the query taken out of each URL in it.
pub fn without_secrets(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(scheme) = rest.find("//") {
        let (before, after) = rest.split_at(scheme + "//".len());
        let (url, tail) = after.split_at(after.find([' ', '"', '\'']).unwrap_or(after.len()));
        let (url, _) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        let (authority, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        shown.push_str(before);
        shown.push_str(without_user(authority));
        shown.push_str(path);
        rest = tail;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_query_of_every_url_are_taken_out() {
        let text = "a https://u:p@h:1/b@c?q=1#f and 'http://x/y#z' //u@h \"ftp://h?q\" a//b";
        let shown = "a https://h:1/b@c and 'http://x/y' //h \"ftp://h\" a//b";
        assert_eq!(without_secrets(text), shown);
    }
}
