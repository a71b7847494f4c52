//! The page in a real Chromium, headless, through WebDriver: the real `gateway` on loopback, fake agents
//! that their tests tell what to do, and no network.

#![forbid(unsafe_code)]

mod agent;
mod axe;
mod browser;
mod gateway;
mod world;

mod flood;
mod harness;
mod keyboard;
mod live;
mod logs;
mod looks;
mod pictures;
mod sign_in;
mod upgrade;
