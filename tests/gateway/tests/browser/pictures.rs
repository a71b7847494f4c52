//! Not a test: what `make screenshots` takes, dark and light, on a screen and on a phone. The fleet is that
//! of `examples/fleet`, which has a past.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use serde_json::Value;
use vmkit_test_support::{Log, poll_until};

use crate::browser::{Browser, Wants};
use crate::looks::{PHONE, SCREEN, fleet, open};
use crate::world::world;

const FLEET: &str = "30";
/// It writes 30 days of history first.
const FLEET_STARTS_WITHIN: Duration = Duration::from_secs(120);
const PATHS: [(&str, &str); 3] = [
    ("overview", "/"),
    ("instance", "/instances/api-fra-01"),
    ("trouble", "/instances/cache-iad-01"),
];
const LOG: &str = "/instances/web-1/logs/web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make screenshots takes them"]
async fn pictures() {
    let folder = PathBuf::from(env::var_os("VMKIT_PICTURES").expect("VMKIT_PICTURES is a folder"));
    fs::create_dir_all(&folder).expect("a folder for pictures");
    of_fleet(&folder).await;
    world(async |world| {
        let _agents = fleet(world).await;
        world.sign_in().await;
        each_look(world, &folder, "logs", async || open(world, LOG).await).await;
        open(world, LOG).await;
        world.fill("#text", "refused").await;
        world.click("#search button[type=submit]").await;
        world.wait_for_text("The whole log was searched.").await;
        world.click("#pause").await;
        each_look(world, &folder, "search", async || ()).await;
    })
    .await;
}

async fn of_fleet(folder: &Path) {
    let program = env::var_os("VMKIT_FLEET").expect("VMKIT_FLEET is the example");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(["127.0.0.1:0", FLEET]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("util-linux is installed");
    let said = Log::of(child.stdout.take().expect("piped"));
    let mut commands = child.stdin.take().expect("piped");
    said.wait_for(0, &["listening"], FLEET_STARTS_WITHIN).expect("it says where it listens");
    let connected = |line: &String| line.contains("\"snapshot\"");
    poll_until("snapshots", FLEET_STARTS_WITHIN, || {
        (said.lines().iter().filter(|line| connected(line)).count() > 40).then_some(())
    });
    writeln!(commands, "sign-in-link").expect("it reads commands");
    let answer = said.wait_for(0, &["\"answer\""], FLEET_STARTS_WITHIN).expect("an answer");
    let answer: Value = serde_json::from_str(&answer).expect("one object a line");
    let link = answer["answer"]["url"].as_str().expect("a link").to_owned();

    let browser = Browser::start(Wants::default()).await;
    browser.set_size(SCREEN.0, SCREEN.1, false).await;
    browser.goto(&link).await;
    fs::write(folder.join("sign-in.png"), browser.picture().await).expect("room for a picture");
    browser.click("main form button[type=submit]").await;
    browser.wait_for_text("Sign out").await;
    let start = browser.address().await;
    for (name, path) in PATHS {
        let url = start.trim_end_matches('/').to_owned() + path;
        each_look(&browser, folder, name, async || browser.goto(&url).await).await;
    }
    browser.end().await;
    writeln!(commands, "quit").expect("it reads commands");
    let _ = child.wait();
}

async fn each_look(browser: &Browser, folder: &Path, name: &str, open: impl AsyncFn()) {
    for (screen, size) in [("desktop", SCREEN), ("phone", PHONE)] {
        for (light, is_dark) in [("light", false), ("dark", true)] {
            browser.set_size(size.0, size.1, size == PHONE).await;
            browser.set_dark(is_dark).await;
            open().await;
            // Colours that change take a moment to do so.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let file = folder.join(format!("{name}-{screen}-{light}.png"));
            fs::write(file, browser.picture().await).expect("room for a picture");
        }
    }
}
