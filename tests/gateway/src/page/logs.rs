//! The log of one container: the page, which a script fills, and what that script asks for: the last lines,
//! and a search that tells how far it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{StreamExt, stream};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Shell};
use super::visitor::{Allowed, Visitor};
use super::{assets, cookie, words};
use crate::agents::calls::LogQuery;
use crate::agents::register::InstanceId;
use crate::agents::search::{Found, Needle, SearchQuery};
use crate::agents::tail::Line;
use crate::api::extract::{Path, Query};
use crate::api::identity::Logs;
use crate::api::logs::{DEPLOY, find, log_query};
use crate::api::problem::Problem;
use crate::api::sse::no_longer_allowed;
use crate::gateway::Gateway;

/// Of what is searched for, in bytes.
const TEXT_LIMIT: usize = 256;
/// Of the log as a plain text.
const TEXT_LINES: u32 = 5000;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub struct Last {
    lines: u32,
}

#[derive(Deserialize)]
pub struct Sought {
    text: String,
    #[serde(default)]
    ignore_case: bool,
}

/// Where the log of a container is, and what belongs to it.
struct Place<'a> {
    id: &'a InstanceId,
    container: &'a str,
    deploys: Vec<String>,
    can_follow: bool,
}

pub async fn show(
    Allowed { visitor, .. }: Allowed<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path((id, container)): Path<(InstanceId, String)>,
) -> Response {
    let Ok(LogQuery { container, .. }) = log_query(container, None, None) else {
        return nothing(&visitor, "This is not the name or id of a container.");
    };
    let register = gateway.agents.read(|fleet| Some(fleet.get(&id)?.register.clone()));
    let Some(register) = register else {
        return nothing(&visitor, "No instance has this id.");
    };
    let deploys = register.labels.get(DEPLOY).into_iter();
    let deploys = deploys.filter(|deploy| {
        find(&gateway, deploy).is_ok_and(|(of, name)| of == id && name == container)
    });
    let place = Place {
        id: &id,
        container: &container,
        deploys: deploys.cloned().collect(),
        can_follow: register.can("logs_follow"),
    };
    let title = format!("Log of {container} on {id}");
    let shell = Shell {
        title: &title,
        visitor: Some(&visitor),
        warnings: Some(&gateway.live.warnings()),
        scripts: &["logs.js"],
    };
    layout::page(&shell, content(&place)).into_response()
}

pub async fn of_deploy(
    Allowed { visitor, .. }: Allowed<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path(deploy): Path<String>,
) -> Response {
    match find(&gateway, &deploy) {
        Ok((id, container)) => {
            Redirect::to(&words::logs_path(id.as_str(), &container)).into_response()
        }
        Err(problem) => nothing(&visitor, &format!("{}.", problem.detail)),
    }
}

/// The last lines as a plain text: to keep, and for a browser without scripts.
pub async fn text(
    Allowed { visitor, .. }: Allowed<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path((id, container)): Path<(InstanceId, String)>,
) -> Response {
    let logs = match log_query(container, Some(TEXT_LINES), None) {
        Ok(query) => gateway.logs(&id, &query).await.map_err(|error| error.to_string()),
        Err(problem) => Err(problem.detail),
    };
    match logs {
        Ok(logs) => {
            let text: String = logs.lines.iter().map(plain).collect();
            ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Err(why) => nothing(&visitor, &format!("The log can't be read: {why}.")),
    }
}

pub async fn last(
    _: Allowed<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path((id, container)): Path<(InstanceId, String)>,
    Query(Last { lines }): Query<Last>,
) -> Result<Response, Problem> {
    let query = log_query(container, Some(lines), None)?;
    Ok(Json(gateway.logs(&id, &query).await?).into_response())
}

pub async fn search(
    Allowed { visitor, .. }: Allowed<Logs>,
    State(gateway): State<Arc<Gateway>>,
    Path((id, container)): Path<(InstanceId, String)>,
    Query(Sought { text, ignore_case }): Query<Sought>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if cookie::is_led_by_another_site(&headers) {
        return Err(Problem::invalid("a search is begun by this site's own page"));
    }
    if !(1..=TEXT_LIMIT).contains(&text.len()) {
        return Err(Problem::invalid(format!("the text has 1 to {TEXT_LIMIT} bytes")));
    }
    let LogQuery { container, .. } = log_query(container, None, None)?;
    let query = SearchQuery { container, needle: Needle::new(&text, ignore_case) };
    let search = gateway.search(&id, query)?;
    let found = stream::unfold(search, async |mut search| {
        let found = search.next().await?;
        Some((event(&found), search))
    });
    let found = found.filter_map(async |event| event.ok().map(Ok::<_, Infallible>));
    let found = found.take_until(no_longer_allowed(gateway, visitor.identity));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(found).keep_alive(keep_alive).into_response())
}

fn event(found: &Found) -> Result<Event, axum::Error> {
    match found {
        Found::Matches(lines) => Event::default().event("matches").json_data(lines),
        Found::Progress(progress) => Event::default().event("progress").json_data(progress),
        Found::End(end) => Event::default().event("end").json_data(end),
    }
}

fn plain(line: &Line) -> String {
    let from = line.from.as_ref().map(|from| format!("[{from}] "));
    format!("{} {}{}\n", line.ts, from.unwrap_or_default(), line.text)
}

fn nothing(visitor: &Visitor, words: &str) -> Response {
    layout::message(StatusCode::NOT_FOUND, "No log", words, Some(visitor))
}

fn content(place: &Place) -> Markup {
    let Place { id, container, deploys, can_follow } = place;
    let (id, path) = (id.as_str(), words::logs_path(id.as_str(), container));
    html! {
        link rel="stylesheet" href=(assets::path("logs.css"));
        div.logs #logs data-instance=(id) data-container=(container) data-follow=(can_follow)
            data-path={ "/page" (path) } {
            nav.crumbs aria-label="Where you are" {
                a href="/" { "Instances" } " / "
                a href=(words::instance_path(id)) { (id) }
                @for deploy in deploys {
                    " / deploy " a href={ "/deploys/" (words::segment(deploy)) "/logs" } { (deploy) }
                }
            }
            div.head {
                h1 { "Log of " (container) }
                span.state #log-state role="status" { "Connecting…" }
            }
            noscript { p { "Following and searching need scripts. " (as_text(&path)) } }
            (tools())
            (search_form())
            (search_results())
            p.notice #notice role="status" hidden {
                span #notice-text {} " "
                button.quiet #again type="button" hidden { "Follow again" }
            }
            div.lines #lines role="log" aria-label={ "Log of " (container) } aria-live="off" tabindex="0" {}
            div.foot { (keyboard()) (as_text(&path)) }
        }
    }
}

fn as_text(path: &str) -> Markup {
    html! { a href={ (path) "/text" } { "The last 5,000 lines as text" } }
}

fn tools() -> Markup {
    html! {
        div.tools role="group" aria-label="The live log" {
            button.quiet #pause type="button" aria-pressed="false" { "Pause" }
            button.quiet #end type="button" { "Jump to the end" }
            label { input #times type="checkbox" checked; " Times (UTC)" }
            label { input #wrap type="checkbox"; " Wrap lines" }
            label { input #keys type="checkbox" checked; " Keyboard shortcuts" }
        }
    }
}

fn search_form() -> Markup {
    html! {
        form.search #search role="search" {
            label for="text" { "Search the log" }
            input #text type="search" name="text" maxlength=(TEXT_LIMIT) autocomplete="off" spellcheck="false" required;
            label { input #ignore-case type="checkbox"; " Ignore case" }
            button type="submit" { "Search" }
            button.quiet #cancel type="button" hidden { "Cancel" }
        }
    }
}

fn search_results() -> Markup {
    html! {
        section.results #results aria-label="Search results" hidden {
            div.progress {
                progress #bar max="5000" value="0" aria-label="Lines searched" {}
                p #progress role="status" {}
                button.quiet #close type="button" { "Close the results" }
            }
            ol #matches tabindex="0" aria-label="Matching lines, the newest first" {}
        }
    }
}

fn keyboard() -> Markup {
    html! {
        details.keyboard {
            summary { "Keyboard" }
            dl {
                dt { kbd { "Space" } } dd { "pauses the log and goes on" }
                dt { kbd { "/" } } dd { "goes to the search field" }
                dt { kbd { "End" } } dd { "jumps to the end of the log, and goes on" }
                dt { kbd { "Esc" } } dd { "in the search field: cancels the search and goes back to the log" }
            }
            p { "They work where no field or button has the focus. “Keyboard shortcuts” above turns them off." }
        }
    }
}
