//! What every test needs: a gateway and a browser. At its end, no test may have left an error on the
//! console, and no tab may have asked another host.

use std::ops::Deref;

use vmkit_test_support::{Keys, Scratch};

use crate::browser::{Browser, Wants};
use crate::gateway::{Gateway, KEY};

pub struct World {
    pub gateway: Gateway,
    pub browser: Browser,
    pub keys: Keys,
    scratch: Scratch,
}

impl Deref for World {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

pub async fn world(test: impl AsyncFnOnce(&mut World)) {
    let mut world = World::start(Wants::default()).await;
    test(&mut world).await;
    world.end().await;
}

impl World {
    pub async fn start(wants: Wants) -> World {
        let browser = Browser::start(wants).await;
        let scratch = Scratch::new();
        let gateway = Gateway::start(&scratch, 0);
        let program = env!("CARGO_BIN_EXE_gateway");
        let keys = Keys::new(program, scratch.path().join("data"));
        World { gateway, browser, keys, scratch }
    }

    /// As after a crash, on the same port with the same data.
    pub fn restart_gateway(&mut self) {
        let port = self.gateway.port();
        self.gateway.kill();
        self.gateway = Gateway::start(&self.scratch, port);
    }

    /// How many requests for this path, as the router writes it, the gateway has answered.
    pub fn answered(&self, path: &str) -> usize {
        let log = std::fs::read_to_string(self.scratch.path().join("gateway.log"));
        let path = format!(" path=\"{path}\" ");
        log.unwrap_or_default().lines().filter(|line| line.contains(&path)).count()
    }

    pub async fn open(&self, path: &str) {
        self.browser.goto(&self.gateway.url(path)).await;
    }

    /// With the key that may do everything.
    pub async fn sign_in(&self) {
        self.sign_in_with(KEY).await;
    }

    pub async fn sign_in_with(&self, key: &str) {
        self.open("/").await;
        self.fill("input[name=key]", key).await;
        self.click("form button[type=submit]").await;
        self.find("main").await;
        self.wait_for("return !location.pathname.includes('sign-in')").await;
    }

    pub async fn end(self) {
        let own = self.gateway.url("/");
        for request in self.browser.requests().await {
            let url = request["url"].as_str().unwrap_or_default();
            // Chromium's own pages, and what is in the page itself.
            let is_inside = url.starts_with("chrome:") || url.starts_with("data:");
            assert!(url.starts_with(&own) || is_inside, "a request to {url}");
        }
        let console = self.browser.console().await;
        assert!(console.is_empty(), "the console says {console:#?}");
        self.browser.end().await;
    }
}
