//! axe-core, the checker of accessibility, from the Python package that carries it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::browser::Browser;

/// Its source.
static AXE: LazyLock<String> = LazyLock::new(|| {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let requirements = root.join("tests/gateway/tests/browser/requirements.txt");
    let output = Command::new(root.join("dist/build/venv")).arg(requirements).output();
    let output = output.expect("dist/build/venv runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let venv = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
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
