//! The demo: a real agent on the reference gateway, before one's eyes. This file is the show: what
//! happens when, what must have been seen, and the end, which leaves nothing behind.
//!
//! From the environment: `AGENT` and `GATEWAY`, the two programs; `DEMO_SECONDS`, after which it
//! ends by itself; `NO_COLOR`. Its status is 0 only if everything was seen.

#![forbid(unsafe_code)]

mod agent;
mod containers;
mod gateway;
mod rest;
mod screen;
mod show;
mod stop;
mod workplace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::Agent;
use containers::Containers;
use gateway::Gateway;
use rest::Rest;
use screen::Screen;
use show::Show;
use stop::Stop;
use workplace::Workplace;

/// Where the two programs are, and how long the show is: `None` is till Ctrl-C.
struct Settings {
    agent: PathBuf,
    gateway: PathBuf,
    length: Option<Duration>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    match demo(screen).await {
        Ok(verdict) => {
            screen.verdict(&verdict);
            ExitCode::SUCCESS
        }
        Err(error) => {
            screen.failure(&format!("demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(screen: Screen) -> Result<String, String> {
    // Before anything exists that a signal could leave behind.
    let mut stop = Stop::listen()?;
    let settings = Settings::from_environment()?;

    // Each of these undoes itself when it is dropped, the last first.
    let workplace = Workplace::new()?;
    screen.title("vmkit-agent demo");
    let mut gateway = Gateway::start(&settings.gateway, &workplace).await?;
    screen.about("gateway", &format!("{}, its own CA, a random token", gateway.url));
    screen.about("page", &gateway.page);
    screen.about("sign in", &format!("{} (works once)", gateway.sign_in_link().await?));
    let containers = Containers::start(&workplace, &stop);
    screen.about(
        "containers",
        &match &containers {
            Ok(containers) => containers.to_string(),
            Err(reason) => format!("none, so no logs: {reason}"),
        },
    );
    if stop.requested() {
        return Err("interrupted before anything was seen".to_owned());
    }
    let mut agent = Agent::start(&settings.agent, &gateway.url, &workplace)?;
    screen.about("agent", &agent.to_string());
    screen.about(
        "ends",
        &match settings.length {
            Some(length) => format!("in {length:?}, or with Ctrl-C"),
            None => "with Ctrl-C".to_owned(),
        },
    );

    screen.gap();
    stop.after(settings.length);
    let rest = Rest::new(&gateway.page, workplace.api_key())?;
    let mut show = Show::new(screen, containers.ok(), rest);
    let outcome = show.run(&mut gateway, &mut agent, &mut stop).await;
    agent.stop(|line| show.agent_says(line)).await;
    gateway.stop().await;
    outcome.and_then(|()| show.verdict())
}

impl Settings {
    fn from_environment() -> Result<Settings, String> {
        let program = |name: &str| match std::env::var_os(name).map(PathBuf::from) {
            Some(path) if path.is_file() => Ok(path),
            Some(path) => Err(format!("{name}: {} is no file; run make demo", path.display())),
            None => Err(format!("{name} is not set; run make demo")),
        };
        let length = match std::env::var("DEMO_SECONDS") {
            Err(_) => None,
            Ok(text) if text.is_empty() => None,
            Ok(text) => match text.parse() {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => return Err(format!("DEMO_SECONDS: {text:?} is no number of seconds")),
            },
        };
        Ok(Settings { agent: program("AGENT")?, gateway: program("GATEWAY")?, length })
    }
}
