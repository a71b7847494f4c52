//! A headless Chromium of a test, driven through chromedriver. Both end with the test, however it
//! ends; their profile is in the test's own folder.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::common::capabilities::chromium::ChromiumLikeCapabilities;
use thirtyfour::prelude::*;
use tokio::sync::{Semaphore, SemaphorePermit};
use vmkit_test_support::{Log, PATIENCE, Scratch};

/// Browsers at once: one is several busy processes, and two processors are a common machine.
static PLACES: Semaphore = Semaphore::const_new(2);
const EVERY_PLACE: u32 = 2;

/// What a page shows changes at most so long after its cause. A machine that is busy with other tests
/// draws slowly; this is a bound on failure, not an expectation.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// Of a page's text, where a test fails.
const SHOWN: usize = 1200;

pub struct Browser {
    // In this order: without its chromedriver, the session has no end to wait for.
    _chromedriver: Chromedriver,
    driver: WebDriver,
    scratch: Scratch,
    wants: Wants,
    _place: SemaphorePermit<'static>,
}

struct Chromedriver(Child);

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// What a test wants of its browser.
#[derive(Clone, Copy, Default)]
pub struct Wants {
    /// No other browser runs beside it, and no log of the network is kept: both would be measured.
    pub quiet: bool,
}

impl Browser {
    pub async fn start(wants: Wants) -> Browser {
        let places = if wants.quiet { EVERY_PLACE } else { 1 };
        let place = PLACES.acquire_many(places).await.expect("never closed");
        let scratch = Scratch::new();
        let (chromedriver, port) = chromedriver(&scratch);
        let capabilities = capabilities(&scratch, wants).expect("JSON");
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await;
        let driver = driver.unwrap_or_else(|error| {
            let log = std::fs::read_to_string(scratch.path().join("chromedriver.log"));
            panic!("no Chromium: {error}\n{}", log.unwrap_or_default())
        });
        Browser { _chromedriver: chromedriver, driver, scratch, wants, _place: place }
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub async fn goto(&self, url: &str) {
        self.driver.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.expect("the page loads again");
    }

    pub async fn address(&self) -> String {
        self.driver.current_url().await.expect("an address").to_string()
    }

    pub async fn new_tab(&self) -> WindowHandle {
        let tab = self.driver.new_tab().await.expect("one more tab");
        self.switch(&tab).await;
        tab
    }

    pub async fn tab(&self) -> WindowHandle {
        self.driver.window().await.expect("a tab")
    }

    pub async fn switch(&self, tab: &WindowHandle) {
        self.driver.switch_to_window(tab.clone()).await.expect("the tab is there");
    }

    pub async fn close_tab(&self) {
        self.driver.close_window().await.expect("the tab closes");
    }

    /// The first element that fits, as soon as there is one.
    pub async fn find(&self, css: &str) -> WebElement {
        let what = format!("an element {css}");
        self.until(&what, async || self.driver.find(By::Css(css)).await.ok()).await
    }

    pub async fn click(&self, css: &str) {
        let element = self.find(css).await;
        element.click().await.unwrap_or_else(|error| panic!("a click on {css}: {error}"));
    }

    /// Into the field, whose text is replaced.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap_or_else(|error| panic!("clearing {css}: {error}"));
        field.send_keys(text).await.unwrap_or_else(|error| panic!("typing in {css}: {error}"));
    }

    /// To whatever has the focus.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        let element = self.driver.active_element().await.expect("an element has the focus");
        element.send_keys(keys).await.expect("keys can be typed");
    }

    /// By a script's `return`.
    pub async fn eval(&self, script: &str) -> Value {
        let answer = self.driver.execute(script, Vec::new()).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// By a script that calls `arguments[0]` with its answer.
    pub async fn eval_async(&self, script: &str) -> Value {
        let answer = self.driver.execute_async(script, Vec::new()).await;
        answer.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// All that the page shows.
    pub async fn text(&self) -> String {
        self.eval("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn wait_for_text(&self, text: &str) {
        let has = async || self.text().await.contains(text).then_some(());
        self.until(&format!("the text {text:?}"), has).await;
    }

    pub async fn wait_without_text(&self, text: &str) {
        let has_not = async || (!self.text().await.contains(text)).then_some(());
        self.until(&format!("a page without the text {text:?}"), has_not).await;
    }

    pub async fn wait_for(&self, script: &str) -> Value {
        let answer = async || {
            let answer = self.driver.execute(script, Vec::new()).await.ok()?.json().clone();
            let is_there = !matches!(answer, Value::Null | Value::Bool(false));
            is_there.then_some(answer)
        };
        self.until(script, answer).await
    }

    /// Panics with what the page shows where it does not happen.
    pub async fn until<T>(&self, what: &str, probe: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + SHOWN_WITHIN;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            if Instant::now() > deadline {
                let (address, text) = (self.address().await, self.text().await);
                let text: String = text.chars().take(SHOWN).collect();
                panic!("not within {SHOWN_WITHIN:?}: {what}; {address} shows:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn cdp(&self, method: &str, params: Value) -> Value {
        let answer = self.driver.cdp().send_raw(method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub async fn set_size(&self, width: u32, height: u32, is_phone: bool) {
        let metrics = json!({"width": width, "height": height, "mobile": is_phone,
                             "deviceScaleFactor": 1});
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    pub async fn set_dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn picture(&self) -> Vec<u8> {
        self.driver.screenshot_as_png().await.expect("a picture")
    }

    /// What the console says, Content-Security-Policy included, since this was last called.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.driver.get_log("browser").await.expect("a log of the console");
        entries.into_iter().map(|entry| format!("{}: {}", entry.level, entry.message)).collect()
    }

    /// The requests of all tabs since this was last called: `url`, `method` and `headers`. None where no
    /// log is kept.
    pub async fn requests(&self) -> Vec<Value> {
        if self.wants.quiet {
            return Vec::new();
        }
        let entries = self.driver.get_log("performance").await.expect("a log of the network");
        let sent = entries.into_iter().filter_map(|entry| {
            let entry: Value = serde_json::from_str(&entry.message).ok()?;
            let message = &entry["message"];
            let is_request = message["method"] == "Network.requestWillBeSent";
            is_request.then(|| message["params"]["request"].clone())
        });
        sent.collect()
    }

    pub async fn end(self) {
        self.driver.clone().quit().await.expect("Chromium ends");
    }
}

/// On a port that the system finds free.
fn chromedriver(scratch: &Scratch) -> (Chromedriver, u16) {
    let log = std::fs::File::create(scratch.path().join("chromedriver.log")).expect("own folder");
    // Ends with the test, also where the test is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "chromedriver", "--port=0"]);
    // Whatever it leaves behind is found by this variable, and lies in this folder.
    command.env("TMPDIR", scratch.path()).env("HOME", scratch.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().expect("util-linux is installed");
    let said = Log::of(child.stdout.take().expect("piped"));
    let child = Chromedriver(child);
    let line = said.wait_for(0, &["started successfully on port"], PATIENCE);
    let line = line.expect("chromedriver is installed, and says its port");
    let port: String = line.chars().filter(char::is_ascii_digit).collect();
    (child, port.parse().expect("a port"))
}

fn capabilities(scratch: &Scratch, wants: Wants) -> WebDriverResult<Capabilities> {
    // Ends with chromedriver, also where that is killed.
    let script = "#!/bin/sh\nexec setpriv --pdeathsig KILL -- chromium \"$@\"\n";
    let binary = scratch.write("chromium", script);
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).expect("own file");
    let mut capabilities = DesiredCapabilities::chrome();
    capabilities.set_binary(binary.to_str().expect("made of ASCII"))?;
    for argument in [
        "--headless=new",
        // Chromium's sandbox does not start as root, and the page is our own.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1280,900",
        // No other host is there, network or not.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        "--enable-precise-memory-info",
    ] {
        capabilities.add_arg(argument)?;
    }
    let profile = format!("--user-data-dir={}", scratch.path().join("profile").display());
    capabilities.add_arg(&profile)?;
    // Advice to authors is of the level DEBUG.
    let mut logs = json!({"browser": "INFO"});
    if !wants.quiet {
        logs["performance"] = json!("ALL");
    }
    capabilities.set("goog:loggingPrefs", logs)?;
    Ok(capabilities.into())
}
