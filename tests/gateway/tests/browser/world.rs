//! What every test needs: a gateway and a browser. At its end, no test may have left an error on the
//! console, and no tab may have asked another host.

use std::ops::Deref;

use vmkit_test_support::Scratch;

use crate::browser::{Browser, Wants};
use crate::gateway::{Gateway, KEY};

pub struct World {
    pub gateway: Gateway,
    pub browser: Browser,
    _scratch: Scratch,
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
        World { gateway, browser, _scratch: scratch }
    }

    pub async fn open(&self, path: &str) {
        self.browser.goto(&self.gateway.url(path)).await;
    }

    /// With the key that may do everything.
    pub async fn sign_in(&self) {
        self.open("/").await;
        self.fill("input[name=key]", KEY).await;
        self.click("form button[type=submit]").await;
        self.find("main").await;
        self.wait_for("return !location.pathname.includes('sign-in')").await;
    }

    pub async fn end(self) {
        let own = self.gateway.url("/");
        for url in self.browser.requested().await {
            // Chromium's own pages, and what is in the page itself.
            let is_inside = url.starts_with("chrome:") || url.starts_with("data:");
            assert!(url.starts_with(&own) || is_inside, "a request to {url}");
        }
        let console = self.browser.console().await;
        assert!(console.is_empty(), "the console says {console:#?}");
        self.browser.end().await;
    }
}
