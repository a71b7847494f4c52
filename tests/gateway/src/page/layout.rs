//! What all pages share: the head, the bar with who is signed in, and the warning of lost agents.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::live::Warnings;
use super::visitor::Visitor;

pub struct Shell<'a> {
    pub title: &'a str,
    pub visitor: Option<&'a Visitor>,
    pub warnings: Option<&'a Warnings>,
    /// Scripts of this page alone, beside `page.js`.
    pub scripts: &'a [&'a str],
}

pub fn page(shell: &Shell, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(shell))
            body {
                a.skip href="#main" { "Skip to the content" }
                (bar(shell.visitor))
                @if let Some(warnings) = shell.warnings { (warnings.banner()) }
                main #main tabindex="-1" { (main) }
            }
        }
    }
}

/// A page with a message alone.
pub fn message(
    status: StatusCode,
    title: &str,
    words: &str,
    visitor: Option<&Visitor>,
) -> Response {
    let shell = Shell { title, visitor, warnings: None, scripts: &[] };
    let main = html! {
        div.message {
            h1 { (title) }
            p { (words) }
            p { a href="/" { "All instances" } }
        }
    };
    (status, page(&shell, main)).into_response()
}

/// A page that asks for `path` once more.
pub fn again(path: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "vmkit" }
                meta http-equiv="refresh" content={ "0; url=" (path) };
            }
            body { p { a href=(path) { "Go on" } } }
        }
    }
}

fn head(shell: &Shell) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (shell.title) " · vmkit" }
            link rel="icon" type="image/svg+xml" href=(assets::path("icon.svg"));
            link rel="stylesheet" href=(assets::path("page.css"));
            link rel="stylesheet" href=(assets::path("pieces.css"));
            @if shell.visitor.is_some() {
                link rel="modulepreload" href=(assets::path("stream.js"));
                script type="module" src=(assets::path("page.js")) {}
                @for script in shell.scripts {
                    script type="module" src=(assets::path(script)) {}
                }
            }
        }
    }
}

fn bar(visitor: Option<&Visitor>) -> Markup {
    html! {
        header.bar {
            a.brand href="/" { "vmkit" }
            @if let Some(visitor) = visitor {
                nav aria-label="Main" { a href="/" { "Instances" } }
                div.who {
                    span { (visitor.identity.name) }
                    span.scopes { (visitor.identity.scopes) }
                    form method="post" action="/sign-out" {
                        button.quiet type="submit" { "Sign out" }
                    }
                }
            }
        }
    }
}
