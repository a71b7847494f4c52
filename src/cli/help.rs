//! What `--help` prints, for the program and for each of its commands.

pub const PROGRAM: &str = "\
vmkit-agent: connects this VM to its control plane

usage: vmkit-agent [run]       dial the gateway and serve it until SIGTERM
       vmkit-agent install     install this binary as a service, or update the service
       vmkit-agent doctor      diagnose problems and print the next command; read-only
       vmkit-agent uninstall   stop and remove the service and the program
       vmkit-agent upgrade     replace the installed binary by another version
       vmkit-agent COMMAND --help     the options of a command
       vmkit-agent --version
       vmkit-agent --help

Configured by environment variables. Without VMKIT_AGENT_TOKEN in the environment the agent reads
them from /etc/vmkit/agent.env:
  VMKIT_AGENT_TOKEN   the agent token (required). The token of agent.env is sent to the gateway
                      of agent.env only, and is read again after a 401 or 403
  VMKIT_GATEWAY_URL   the gateway to dial (default: wss://gateway.vmkit.dev/api/daemon)
  VMKIT_LOG_LEVEL     error, warn, info, debug or trace (default: info)
  VMKIT_INSTANCE_ID   the name of this VM, which must be unique (default: cloud-init's instance
                      id, then /etc/machine-id, then the host name)
  VMKIT_LABELS        labels that the gateway is told, such as env=prod,role=db (default: none)
  VMKIT_CA_FILE       a PEM file of certificates to trust in addition to the bundled public
                      roots; the system's trust store is not used
  VMKIT_DOCKER_BIN    the docker CLI (default: docker)
  VMKIT_RESTART_CMD   the command that restarts the service after an upgrade (default:
                      auto-detected)
  VMKIT_UPGRADES                on, or off: the gateway can't upgrade this agent (default: on)
  VMKIT_UPGRADE_PUBKEY          minisign public key; if set, unsigned upgrades are refused
                                (default: the release key of this build, if it has one); none:
                                no signature is needed
  VMKIT_UPGRADE_PROBATION_SECS  seconds within which the gateway must accept a new version,
                                else it is rolled back (default: 120)
  HTTPS_PROXY, NO_PROXY         an http:// proxy, and the hosts that are reached without it,
                                separated by commas: a name (with the names below it),
                                .suffix, an IP address, a range like 10.0.0.0/8, each with
                                :port if need be, or *

exit status: 0 = success, or ended by a signal; 1 = error, or doctor found a FAIL;
             64 = wrong arguments; 78 = invalid configuration
";

pub const RUN: &str = "\
usage: vmkit-agent [run]

Dials the gateway and serves it until SIGTERM, SIGINT or SIGHUP. Logs to the journal, to syslog or
to standard error. Configured by environment variables: see vmkit-agent --help.
";

pub const INSTALL: &str = "\
usage: vmkit-agent install [OPTION]...

Installs this binary as a service (systemd or OpenRC), or updates the service. Safe to run again:
only differences are applied, and the agent is restarted only if something changed.

The token can also come from $VMKIT_AGENT_TOKEN; an already configured token is kept. The agent's
other variables and the proxy are copied from the environment to /etc/vmkit/agent.env.

  --token-file FILE   read the agent token from FILE
  --token-stdin       read the agent token from standard input; a terminal asks for it and does
                      not show it
  --gateway-url URL   the gateway to dial (default: wss://gateway.vmkit.dev/api/daemon)
  --ca-file FILE      a PEM file of certificates to trust in addition to the bundled public roots
  --no-start          install, but do not start or restart the agent
  --dry-run           print what would be done; change nothing
";

pub const DOCTOR: &str = "\
usage: vmkit-agent doctor [--json]

Checks everything the agent needs and prints one line per check: a verdict (PASS, WARN, FAIL or
SKIP), what was found, and the next command to run. Changes nothing. Connects to the gateway as
the agent does, but does not register. Root sees more than other users: sudo vmkit-agent doctor.

  --json              print one JSON object instead

exit status: 1 if a check is FAIL, else 0
";

pub const UNINSTALL: &str = "\
usage: vmkit-agent uninstall [OPTION]...

Stops and removes the service and the program. Keeps /etc/vmkit/agent.env and the upgrade state.

  --purge             remove the configuration, with the token, and the upgrade state too
  --dry-run           print what would be done; change nothing
";

pub const UPGRADE: &str = "\
usage: vmkit-agent upgrade --url URL|- --sha256 HEX --version VERSION

Upgrades the installed agent to VERSION; rolls back automatically if the gateway does not accept
the new version. VMKIT_UPGRADE_PUBKEY applies as for upgrades by the gateway.

  --url URL           where the new binary is: https://, or http:// to a loopback address. With
                      - the URL is read from standard input: all users of this machine can read
                      arguments, and a URL may hold a password
  --sha256 HEX        the SHA-256 of the new binary
  --version VERSION   the version that the new binary must be
";
