//! What the command line is read as.

use super::*;

fn read(line: &str) -> Result<Command, String> {
    parse(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
}

fn shown(line: &str) -> String {
    read(line).map_or_else(|problem| problem, |command| format!("{command:?}"))
}

#[test]
fn commands_and_their_options() {
    for (line, expected) in [
        ("", "Run"),
        ("run", "Run"),
        ("--version", "Version"),
        ("-V", "Version"),
        ("doctor", "Doctor { json: false }"),
        ("doctor --json", "Doctor { json: true }"),
        ("resolve a.b", "Resolve(\"a.b\")"),
        ("upgrade --supervised", "UpgradeSupervised"),
        ("upgrade --clean-up", "UpgradeCleanUp"),
    ] {
        assert_eq!(shown(line), expected);
    }
    let line = "install --dry-run --token-file f --gateway-url=u --ca-file c --no-start";
    let Ok(Command::Install(options)) = read(line) else { panic!("{}", shown(line)) };
    let expected = Install {
        token: TokenFrom::File("f".to_owned()),
        gateway_url: Some("u".to_owned()),
        ca_file: Some("c".to_owned()),
        no_start: true,
        dry_run: true,
    };
    assert_eq!(options, expected);
    let Ok(Command::Uninstall(options)) = read("uninstall --purge") else { panic!() };
    assert_eq!(options, Uninstall { purge: true, dry_run: false });
    let Ok(Command::Upgrade(upgrade)) = read("upgrade --url - --version 1 --sha256 x") else {
        panic!()
    };
    assert_eq!((&*upgrade.url, &*upgrade.checksum, &*upgrade.version), ("-", "x", "1"));
    let trial = "0".repeat(64);
    let line = format!("rollback --state /s --trial {trial} --after 120");
    let Ok(Command::RollBack(order)) = read(&line) else { panic!("{}", shown(&line)) };
    assert_eq!((order.state, order.installed), (PathBuf::from("/s"), None));
    assert_eq!(order.after, Some(Duration::from_secs(120)));
}

#[test]
fn every_command_has_help() {
    for line in ["--help", "-h"] {
        assert!(matches!(read(line), Ok(Command::Help(help::PROGRAM))), "{line}");
    }
    for command in ["run", "install", "doctor", "uninstall", "upgrade"] {
        for line in [format!("{command} --help"), format!("{command} -h")] {
            let Ok(Command::Help(text)) = read(&line) else { panic!("{}", shown(&line)) };
            let usage = "usage: vmkit-agent ";
            assert!(text.starts_with(usage) && text.contains(command), "{text}");
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_unless_it_may_be_a_secret() {
    for (line, problem) in [
        ("--nope", "unknown argument --nope; see vmkit-agent --help"),
        ("--s3cr3t=s3cr3t", "unknown argument; see vmkit-agent --help"),
        ("s3cr3t", "unknown command; see vmkit-agent --help"),
        ("-s", "unknown argument; see vmkit-agent --help"),
        ("run s3cr3t", "run: unknown argument; see vmkit-agent run --help"),
        ("--version --nope", "unknown argument --nope; see vmkit-agent --help"),
        ("doctor --yaml", "doctor: unknown argument --yaml; see vmkit-agent doctor --help"),
        ("doctor --json=s3cr3t", "doctor: --json takes no value; see vmkit-agent doctor --help"),
        ("install --token-file", "install: --token-file needs a value; see"),
        (
            "install --token-file s3cr3t --token-stdin",
            "install: --token-file or --token-stdin, not",
        ),
        ("install --dry-run --dry-run", "install: --dry-run is given twice; see"),
        ("install --token s3cr3t", "install: no --token: other users of this machine can read"),
        ("install --token=s3cr3t", "install: no --token: other users of this machine can read"),
        ("install s3cr3t", "install: unknown argument; see vmkit-agent install --help"),
        ("upgrade --url u", "upgrade: --url, --sha256 and --version are all required; see"),
        ("rollback --state s --trial s3cr3t", "rollback: for the agent's own use"),
        ("rollback --state s --trial t --after s3cr3t", "rollback: --after: no number"),
    ] {
        let said = read(line).expect_err(line);
        assert!(said.starts_with(problem), "{line}: {said}");
        assert!(!said.contains("s3cr3t") && !said.contains('\n'), "{line}: {said}");
    }
}
