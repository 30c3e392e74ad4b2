"""`vsalient serve`: videos over HTTP."""

import ipaddress
import os
import secrets
from pathlib import Path

import click

from vsalient.cli.shared.options import GroupedCommand, check_engine_options, option, options
from vsalient.errors import MissingDependencyError, OptionError, OutputError

SERVE_EXAMPLES = """\b
Examples:
  vsalient serve
      a page on http://127.0.0.1:8765 to drop films on
  curl --data-binary @clip.mp4 'http://127.0.0.1:8765/jobs?name=clip.mp4&write=video,masks'
  curl -F file=@clip.mp4 -F write=overlay http://127.0.0.1:8765/jobs
      a job; GET /jobs/ID says how far it is, GET /jobs/ID/events as it goes, GET /jobs/ID/outputs/KIND is the result
  VSALIENT_TOKEN=… vsalient serve --host 0.0.0.0 --allow-host films.example.org
      for others too; clients send 'Authorization: Bearer …'
"""


@click.command(
    cls=GroupedCommand,
    epilog=SERVE_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@options(
    option("Address", "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen."),
    option("Address", "--port", type=click.IntRange(0, 65535), default=8765, show_default=True,
           help="0 takes a free one."),
    option("Address", "--allow-host", multiple=True, metavar="NAME",
           help="Another name that clients know this service by, without the port."),
    option("Address", "--token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
           help="Demand the token in this file, or in the variable VSALIENT_TOKEN, of every client. Needed, and made "
                "up and shown when missing, unless only this machine can connect."),
    option("Address", "--allow-url", multiple=True, metavar="URL",
           help="Let jobs name addresses that begin so, instead of uploading.  [default: none]"),
    option("Work", "--storage", type=click.Path(path_type=Path, file_okay=False), default=Path("vsalient-jobs"),
           show_default=True, metavar="FOLDER", help="Where the queue, uploads and outputs lie."),
    option("Work", "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps",
           help="Where jobs run."),
    option("Work", "-j", "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at a time."),
    option("Work", "--timeout", type=click.FloatRange(min=1), default=3600.0, show_default=True, metavar="SECONDS",
           help="How long a job may run."),
    option("Work", "--max-memory", type=click.FloatRange(min=1), default=8.0, show_default=True, metavar="GB",
           help="What a job may allocate."),
    option("Limits", "--max-size", type=click.FloatRange(min=0.001), default=2048.0, show_default=True, metavar="MB",
           help="Of one video."),
    option("Limits", "--max-length", type=click.FloatRange(min=1), default=600.0, show_default=True, metavar="SECONDS",
           help="Of one video."),
    option("Limits", "--max-queue", type=click.IntRange(min=1), default=1000, show_default=True,
           help="Jobs that wait."),
    option("Limits", "--max-storage", type=click.FloatRange(min=0.001), default=50.0, show_default=True, metavar="GB",
           help="Of all uploads and outputs; beyond it nothing is accepted."),
    option("Limits", "--keep", type=click.FloatRange(min=0.001), default=24.0, show_default=True, metavar="HOURS",
           help="How long results are kept."),
)  # fmt: skip
def command(
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    token_file: Path | None,
    allow_url: tuple[str, ...],
    storage: Path,
    device: str,
    jobs: int,
    timeout: float,
    max_memory: float,
    max_size: float,
    max_length: float,
    max_queue: int,
    max_storage: float,
    keep: float,
) -> int:
    """Take videos over HTTP, run them one after another, and hand out what was made. A page comes with it.

    Jobs wait in a queue that survives a restart. Only this machine can connect unless --host says otherwise.
    """
    check_engine_options(device, "auto", False)
    try:
        from vsalient.serve.app import Service, allowed_hosts, create_app
        from vsalient.serve.limits import Limits
        from vsalient.serve.server import build_server, listening
    except ImportError as error:
        raise MissingDependencyError(f'{error.name} is needed: pip install "vsalient[serve]"') from None
    for address in allow_url:
        if not address.startswith(("http://", "https://")) or address.count("/") < 3:
            raise OptionError(
                f"--allow-url {address}: give the beginning of an address, such as https://example.org/films/"
            )
    token = _token(host, token_file)
    limits = Limits(
        upload=round(max_size * 1e6),
        seconds=max_length,
        work=timeout,
        memory=round(max_memory * 1e9),
        jobs=jobs,
        queued=max_queue,
        stored=round(max_storage * 1e9),
        keep=keep * 3600,
    )
    try:
        storage.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{storage} cannot be written: {(error.strerror or str(error)).lower()}") from error
    service = Service(
        folder=storage.resolve(),
        limits=limits,
        hosts=allowed_hosts(host, allow_host),
        token=token,
        addresses=allow_url,
        models=_models(),
        device=device,
    )
    socket = listening(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"http://{shown}:{socket.getsockname()[1]}", err=True)
    server = build_server(create_app(service), host, port)
    server.run(sockets=[socket])
    return 0 if server.started else 1


def _token(host: str, file: Path | None) -> str | None:
    """The token to demand; one is made up where others can connect and none was given."""
    token = os.environ.get("VSALIENT_TOKEN", "").strip()
    if file is not None:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--token-file {file} cannot be read: {error}") from None
    if (token or file is not None) and len(token) < 16:
        raise OptionError("a token needs 16 characters or more: python -c 'import secrets; print(secrets.token_hex())'")
    if not token and not _only_here(host):
        token = secrets.token_urlsafe(24)
        click.echo(f"Token: {token}", err=True)
    return token or None


def _only_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _models() -> frozenset[str]:
    """Names whose weights are on this machine: a request must not make the service fetch any."""
    from vsalient.checkpoints import registry, status

    return frozenset(name for name, entry in registry().items() if status(entry) in ("bundled", "cached", "own file"))
