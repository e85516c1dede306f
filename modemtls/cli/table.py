"""The command line as data.

The parser, every ``--help`` text and the shell completions are made from this table and from nothing else: a
command or an option that is not here does not exist, and one that is here is documented and completed.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "FAMILIES", "GLOBALS", "Argument", "Command"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One option (``flags`` begin with ``-``) or positional argument (its one flag is the name shown).

    ``kind`` is a key of :data:`modemtls.cli.parser.KINDS`. ``env`` names the environment variable that gives a
    value when the option does not, after which the configuration file is asked. ``complete`` says what a shell
    offers: ``file``, ``port``, ``profile``, ``model``, or nothing.
    """

    flags: tuple[str, ...]
    help: str
    kind: str = "text"
    metavar: str = ""
    choices: tuple[str, ...] = ()
    """All that is taken."""
    offers: tuple[str, ...] = ()
    """What help and completion offer where more is taken."""
    begins: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """How a value may begin and go on behind ``@``, for completion."""
    count: str = ""
    """``""`` exactly one, ``?`` optional, ``+`` one or more, ``*`` an option that may be repeated."""
    env: str = ""
    complete: str = ""
    default: str = ""
    """As told in the help; the commands hold the value itself."""
    name: str = ""
    """Attribute that holds the value, where the spelling does not give it."""

    @property
    def positional(self) -> bool:
        """Whether it is given by place and not by name."""
        return not self.flags[0].startswith("-")

    @property
    def dest(self) -> str:
        """Name of the attribute that holds the value."""
        if self.name:
            return self.name
        name = next((f for f in self.flags if f.startswith("--")), self.flags[0])
        return name.lstrip("-").replace("-", "_").lower()


@dataclass(frozen=True, slots=True)
class Command:
    """One command: ``words`` as typed, ``run`` as ``module:function`` under ``modemtls.cli``, imported when called."""

    words: tuple[str, ...]
    help: str
    run: str
    group: str
    about: str = ""
    arguments: tuple[Argument, ...] = ()
    uses: tuple[str, ...] = ()
    """Long names of the global options that mean something here; the others are accepted and not shown."""
    examples: tuple[str, ...] = ()
    tail: str = ""
    """Name of what may follow after ``--``."""
    more: str = ""
    """A function, written as ``run`` is, whose text ends the help."""

    @property
    def name(self) -> str:
        """The words in one string."""
        return " ".join(self.words)


# The kinds of sim.faults, which is not imported to complete a word.
_LINE_FAULTS = "urc", "dribble", "loss", "garbage", "late", "hang", "reboot", "mutereboot", "unplug", "pdpdeact"

GLOBALS: tuple[Argument, ...] = (
    Argument(
        ("-p", "--port"),
        "serial port of the modem: /dev/…, socket://HOST:PORT, rfc2217://HOST:PORT, or sim:MODEL for a simulated one",
        env="MODEMTLS_PORT",
        complete="port",
    ),
    Argument(("--apn",), "access point name of the operator", env="MODEMTLS_APN"),
    Argument(("--user",), "user name for the access point", env="MODEMTLS_USER"),
    Argument(
        ("--password-file",),
        "file with the password for the access point (or put the password itself into $MODEMTLS_PASSWORD)",
        metavar="FILE",
        env="MODEMTLS_PASSWORD_FILE",
        complete="file",
    ),
    Argument(
        ("--pin-file",),
        "file with the SIM's PIN (or put the PIN itself into $MODEMTLS_PIN); a PIN that was refused is not sent again, "
        "in later runs either, until the note in $XDG_STATE_HOME/modemtls that the error names is deleted",
        metavar="FILE",
        env="MODEMTLS_PIN_FILE",
        complete="file",
    ),
    Argument(
        ("--baudrate",),
        "speed of the serial port",
        kind="positive",
        metavar="BAUD",
        env="MODEMTLS_BAUDRATE",
        default="115200, and on a silent port a few others",
    ),
    Argument(("--rtscts",), "hardware flow control on the serial port", kind="flag", env="MODEMTLS_RTSCTS"),
    Argument(
        ("--profile",),
        "profile by name or file, instead of asking the modem what it is",
        env="MODEMTLS_PROFILE",
        complete="profile",
    ),
    Argument(
        ("--timeout",),
        "longest wait for the modem to come up, for a connection, and for a silent peer",
        kind="seconds",
        metavar="SECONDS",
        env="MODEMTLS_TIMEOUT",
        default="the modem's own limits",
    ),
    Argument(
        ("--pdp",),
        "PDP context to use",
        kind="positive",
        metavar="N",
        env="MODEMTLS_PDP",
        default="the modem's usual one",
    ),
    Argument(
        ("--take-over",),
        "allow closing and changing what others have set up in the modem",
        kind="flag",
        env="MODEMTLS_TAKE_OVER",
    ),
    Argument(
        ("--radio-off",),
        "allow switching the radio off for a moment, where a modem takes certificates and keys only then",
        kind="flag",
        env="MODEMTLS_RADIO_OFF",
    ),
    Argument(("-v", "--verbose"), "show the AT dialogue on stderr as it happens, secrets blacked out", kind="flag"),
)

SPOKEN = tuple(next(f for f in a.flags if f.startswith("--")) for a in GLOBALS)

JSON = Argument(("--json",), "print JSON for programs", kind="flag")

TLS: tuple[Argument, ...] = (
    Argument(
        ("--cafile",),
        "PEM file with the CA certificate that the peer's certificate must lead to",
        metavar="FILE",
        env="MODEMTLS_CAFILE",
        complete="file",
    ),
    Argument(("--cert",), "PEM file with a client certificate", metavar="FILE", env="MODEMTLS_CERT", complete="file"),
    Argument(("--key",), "PEM file with the client's private key", metavar="FILE", env="MODEMTLS_KEY", complete="file"),
    Argument(("--sni",), "server name to ask for and to check, if it is not HOST", metavar="NAME"),
    Argument(("--alpn",), "application protocol to offer; may be repeated, best first", metavar="PROTOCOL", count="*"),
    Argument(
        ("--min-version",),
        "lowest TLS version to accept",
        kind="version",
        metavar="VERSION",
        offers=("1.0", "1.1", "1.2", "1.3"),  # what a bundled profile or the host's engine has
        env="MODEMTLS_MIN_VERSION",
        default="1.2",
    ),
    Argument(("--no-check-hostname",), "accept another name in the certificate, if the chain is good", kind="flag"),
    Argument(
        ("--no-verify",),
        "accept any certificate: whoever sits in between can read and change everything",
        kind="flag",
    ),
    Argument(("--system-trust",), "trust the CAs of this machine's own store, with --engine host", kind="flag"),
    Argument(
        ("--psk-identity",),
        "instead of certificates a key that both sides have: the name that it goes by at the peer",
        metavar="TEXT",
        env="MODEMTLS_PSK_IDENTITY",
    ),
    Argument(
        ("--psk-file",),
        "file with that key as one line of hexadecimal (or put the line itself into $MODEMTLS_PSK)",
        metavar="FILE",
        env="MODEMTLS_PSK_FILE",
        complete="file",
    ),
    Argument(
        ("--engine",),
        "who secures the connection: the modem, this host over a plain connection of the modem, or the host only "
        "where the modem lacks what is asked for",
        choices=("modem", "host", "auto"),
        metavar="ENGINE",
        env="MODEMTLS_ENGINE",
        default="modem",
    ),
    Argument(
        ("--session-file",),
        "keep the session in FILE for the next run, which then need not do all of the handshake; as secret as a key",
        metavar="FILE",
        complete="file",
    ),
)

TRY, USE, LOOK, WRITE = "Without hardware", "Through a modem", "At the AT level", "Profiles and the shell"

COMMANDS: tuple[Command, ...] = (
    Command(
        ("demo",),
        "show it all once: a simulated modem, a real TLS server, one page, one refusal",
        "demo:run",
        TRY,
        about="Starts a simulated modem and an HTTPS server with a throw-away CA, both on this machine; brings the "
        "modem up, puts the CA into it, fetches a page through the modem's own TLS while the AT dialogue is printed, "
        "and then asks the same server under a wrong name, which has to be refused. Nothing is left behind. Fails if "
        "anything went otherwise.",
        examples=("modemtls demo",),
    ),
    Command(
        ("sim",),
        "run a simulated modem on a pseudo terminal",
        "simulate:run",
        TRY,
        about="Behaves as the vendor's manual says, with real TLS towards servers on this machine. Prints the path of "
        "its pseudo terminal as the first line, then runs until stopped. Names that are not mapped resolve to "
        "127.0.0.1; names under .invalid do not resolve.",
        arguments=(
            Argument(("MODEL",), "which modem: a model below, named as in `modemtls profiles`", complete="model"),
            Argument(("--link",), "make a symbolic link to the pseudo terminal", metavar="PATH", complete="file"),
            Argument(
                ("--baud",),
                "pace the line as a UART of this speed",
                kind="positive",
                metavar="N",
                default="as fast as it goes",
            ),
            Argument(
                ("--map",),
                "send connections for NAME (one port of it, or all) to HOST; repeatable",
                metavar="NAME[:PORT]=HOST:PORT",
                count="*",
            ),
            Argument(
                ("--fault",),
                "let something go wrong, for example 'unplug@command 12'; repeatable",
                metavar="KIND@(byte N|command N|urc N|out N|in N)[:ARG]",
                count="*",
                begins=(
                    *((kind, ("command",)) for kind in ("error", "amnesia", "sendfail")),
                    *((kind, ("out", "in")) for kind in ("drop", "swap", "postpone", "twice")),
                    *((kind, ("byte", "command", "urc")) for kind in _LINE_FAULTS),
                ),
            ),
            Argument(("--variant",), "choose where manuals leave room; repeatable", metavar="NAME=VALUE", count="*"),
            Argument(("--seed",), "seed of everything random", kind="count", metavar="N"),
            Argument(
                ("--trace",),
                "write what passes over the line, and what the modem makes of it, to FILE as a transcript",
                metavar="FILE",
                complete="file",
            ),
            Argument(("--clock",), "what the modem's clock says at first, in UTC", metavar="DATE"),
        ),
        more="simulate:more_help",
        examples=(
            "modemtls sim MODEL --link /tmp/modem &",
            "modemtls -p /tmp/modem info",
            "modemtls -p sim:MODEL info               # the same without a process of its own",
        ),
    ),
    Command(
        ("info",),
        "what modem it is, and how it stands with SIM and network",
        "info:run",
        USE,
        about="Asks the modem, and leaves PIN, registration, PDP contexts, clock and files as they are. What it sets, "
        "until the next restart, is how the modem answers: no echo, results as words, numbered errors (ATE0Q0V1, "
        "AT+CMEE=1), and what the profile has under `setup`. Without a port it lists the serial ports that may be "
        "modems.",
        arguments=(JSON,),
        uses=SPOKEN,
        examples=("modemtls info", "modemtls -p /dev/ttyUSB2 info --json"),
    ),
    Command(
        ("connect",),
        "a TLS or DTLS connection: stdin to the peer, the peer to stdout",
        "connect:run",
        USE,
        about="Passes any bytes both ways; everything else is said on stderr: who secures the connection and, with "
        "--session-file, whether the session was resumed or is a new one (where that is not known, new is said). After "
        "the end of stdin it receives until the peer closes or nothing came for as long as --linger says. Chain and "
        "host name are verified unless told otherwise. With --dtls each line of stdin is sent as one datagram (without "
        "the end of the line; an empty line sends nothing), and each datagram that comes is written as it is.",
        arguments=(
            Argument(("HOST",), "name or address of the peer"),
            Argument(("PORT",), "TCP port of the peer, with --dtls its UDP port", kind="port", name="peer_port"),
            *TLS,
            Argument(("--dtls",), "DTLS over UDP instead of TLS over TCP", kind="flag"),
            Argument(("--plain",), "no TLS: plain TCP through the modem", kind="flag"),
            Argument(
                ("--linger",),
                "how long to go on receiving without data after stdin has ended",
                kind="wait",
                metavar="SECONDS",
                default="5",
            ),
        ),
        uses=SPOKEN,
        examples=(
            "modemtls -p /dev/ttyUSB2 --apn iot.example connect broker.example 8883 --cafile ca.pem",
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | modemtls -p /dev/ttyUSB2 connect www.example 443 --cafile ca.pem",
            "modemtls -p /dev/ttyUSB2 connect lwm2m.example 5684 --dtls --psk-identity gateway --psk-file key.hex",
        ),
    ),
    Command(
        ("get",),
        "fetch an http:// or https:// address",
        "get:run",
        USE,
        about="Fails on a status of 400 or more, on a redirection (told, not followed), and on a body that is shorter "
        "than announced. With -o the file appears under its name only when it is complete. Who secured the connection "
        "is said on stderr.",
        arguments=(
            Argument(("URL",), "what to fetch"),
            Argument(("-o", "--output"), "write the body to FILE", metavar="FILE", complete="file"),
            *TLS,
        ),
        uses=SPOKEN,
        examples=("modemtls -p /dev/ttyUSB2 get https://www.example/firmware.bin -o firmware.bin --cafile ca.pem",),
    ),
    Command(
        ("credentials", "list"),
        "what the driver has put into the modem",
        "credentials:show",
        USE,
        about="Certificates and keys are uploaded when a connection first needs them, named by their content.",
        arguments=(JSON,),
        uses=SPOKEN,
        examples=("modemtls -p /dev/ttyUSB2 credentials list",),
    ),
    Command(
        ("credentials", "remove"),
        "remove one of them",
        "credentials:remove",
        USE,
        about="Only what the driver itself has put there can be removed.",
        arguments=(Argument(("NAME",), "as `credentials list` shows it"),),
        uses=SPOKEN,
    ),
    Command(
        ("credentials", "purge"),
        "remove all of them",
        "credentials:purge",
        USE,
        about="Removes everything the driver itself has put into the modem, and nothing else.",
        uses=SPOKEN,
    ),
    Command(
        ("terminal",),
        "an AT console",
        "terminal:run",
        LOOK,
        about="Type a command, see its answer; what the modem says by itself is shown as it comes. Arrow keys edit and "
        "recall lines. Ctrl-D on an empty line or Ctrl-] ends. At a prompt (>) the line goes out as data, Ctrl-Z "
        "finishes it, Esc Esc cancels. On a pipe it sends one line after the other, each when the one before is "
        "answered, and exits 1 if one of them was not answered in time (--timeout, else 10 s).",
        uses=("--port", "--baudrate", "--rtscts", "--timeout"),
        examples=("modemtls -p /dev/ttyUSB2 terminal", "echo ATI | modemtls -p /dev/ttyUSB2 terminal"),
    ),
    Command(
        ("record",),
        "write a live dialogue down as a transcript",
        "record:run",
        LOOK,
        about="Stands between a program and the modem: offers it the modem as a pseudo terminal, named in "
        "$MODEMTLS_PORT, and writes what passes to FILE, secrets redacted. Without a COMMAND it prints the "
        "path of the pseudo terminal and runs until Ctrl-C.",
        arguments=(Argument(("FILE",), "transcript to write", complete="file"),),
        uses=("--port", "--baudrate", "--rtscts", "--profile"),
        tail="COMMAND",
        examples=("modemtls -p /dev/ttyUSB2 record session.at -- modemtls info",),
    ),
    Command(
        ("replay",),
        "play a transcript as a modem on a pseudo terminal",
        "record:replay",
        LOOK,
        about="Prints the path of its pseudo terminal as the first line, then answers as the transcript says for as "
        "long as the other side keeps to it. Ends with the transcript; fails when the other side says something else.",
        arguments=(Argument(("FILE",), "transcript to play", complete="file"),),
        examples=("modemtls replay session.at",),
    ),
    Command(
        ("explain",),
        "tell a transcript as a story",
        "explain:run",
        LOOK,
        about="Commands, answers, notices, payloads, and error codes with their meaning. Fails if a byte is left that "
        "belongs to nothing.",
        arguments=(Argument(("FILE",), "transcript to tell", complete="file"),),
        uses=("--profile",),
        examples=("modemtls explain session.at",),
    ),
    Command(
        ("profiles",),
        "the modems that are known, and what they can do",
        "profiles:listing",
        WRITE,
        arguments=(
            JSON,
            Argument(("--names",), "print the names alone, one a line", kind="flag"),
            Argument(("--markdown",), "print a table for documents", kind="flag"),
        ),
        examples=("modemtls profiles", "modemtls profiles --json"),
    ),
    Command(
        ("profile", "check"),
        "say what is wrong with profile files, by line and column",
        "profiles:check",
        WRITE,
        about="All findings at once, as file:line:column. Exits 1 if there are any.",
        arguments=(Argument(("FILE",), "profile to check", count="+", complete="file"), JSON),
        examples=("modemtls profile check my-modem.yaml",),
    ),
    Command(
        ("profile", "show"),
        "print a profile",
        "profiles:show",
        WRITE,
        arguments=(
            Argument(("NAME",), "name of a bundled profile, or a file", complete="profile"),
            Argument(("--flat",), "with everything it inherits, merged", kind="flag"),
        ),
        examples=("modemtls profile show my-modem.yaml --flat",),
    ),
    Command(
        ("profile", "schema"),
        "print the JSON schema of the profile language, for editors",
        "profiles:schema",
        WRITE,
    ),
    Command(
        ("completion",),
        "print the completion script of a shell",
        "completion:run",
        WRITE,
        arguments=(Argument(("SHELL",), "which shell", choices=("bash", "zsh", "fish")),),
        examples=(
            'eval "$(modemtls completion bash)"',
            "modemtls completion zsh > ~/.zfunc/_modemtls",
            "modemtls completion fish > ~/.config/fish/completions/modemtls.fish",
        ),
    ),
)

FAMILIES = {
    "credentials": "certificates and keys in the modem: list, remove, purge",
    "profile": "tools for profile authors: check, show, schema",
}
