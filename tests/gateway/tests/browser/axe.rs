//! axe-core, the checker of accessibility, from the Python package that carries it.

use std::sync::LazyLock;

use serde_json::Value;
use vmkit_test_support::venv;

use crate::browser::Browser;

/// Its source.
static AXE: LazyLock<String> = LazyLock::new(|| {
    let venv = venv(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/requirements.txt"));
    let mut python = std::fs::read_dir(venv.join("lib")).expect("a virtual environment");
    let python = python.next().expect("one Python").expect("it can be read").path();
    let source = python.join("site-packages/axe_playwright_python/axe.min.js");
    std::fs::read_to_string(source).expect("the package carries it")
});

/// What it finds on the page as it is now, a line each.
pub async fn findings(browser: &Browser) -> Vec<String> {
    // A script of WebDriver's: the page's Content-Security-Policy does not concern it.
    browser.eval(&AXE).await;
    let run = "const done = arguments[arguments.length - 1];
        axe.run().then((result) => done(result.violations), (error) => done(String(error)))";
    let violations = browser.eval_async(run).await;
    let violations = violations.as_array().unwrap_or_else(|| panic!("axe: {violations}")).clone();
    violations.iter().flat_map(lines).collect()
}

fn lines(violation: &Value) -> Vec<String> {
    let nodes = violation["nodes"].as_array().cloned().unwrap_or_default();
    let line = |node: &Value| {
        let why = node["failureSummary"].as_str().unwrap_or_default().replace('\n', " ");
        format!("{}: {}: {why}", violation["id"], node["html"])
    };
    nodes.iter().map(line).collect()
}
