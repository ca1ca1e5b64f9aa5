"""The recipes of docs/logging.md, run as they stand, and the libraries they are for."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from _patience import wait_until
from logging_support import lines

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "logging.md"


def blocks(language: str) -> list[str]:
    """The code blocks of a language in the page."""
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def recipe(title: str) -> str:
    """The Python block that begins with a comment of that title."""
    (found,) = [block for block in blocks("python") if block.startswith(f"# {title}\n")]
    return found


def require(module: str) -> None:
    """Skip where a library is not installed."""
    pytest.importorskip(module, reason=f"{module} is not installed: it is in the test extra")


def run(folder: Path, code: str) -> str:
    """Run a program in a folder; what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_first_example(tmp_path):
    """The lines of the beginning of the page, and a process that just ends."""
    assert run(tmp_path, blocks("python")[0]) == ""
    assert lines(tmp_path / "app.log") == ["stock is low", "payment 17 failed"]


def test_dict_config(tmp_path):
    """A JSON file as the page has it."""
    (tmp_path / "logging.json").write_text(blocks("json")[0])
    assert run(tmp_path, recipe("dictConfig")) == ""
    (line,) = lines(tmp_path / "app.log")
    assert line.endswith(" INFO shop: sold a duck")


def test_file_config(tmp_path):
    """An INI file as the page has it."""
    (tmp_path / "logging.ini").write_text(blocks("ini")[0])
    assert run(tmp_path, recipe("fileConfig")) == ""
    (line,) = lines(tmp_path / "app.log")
    assert line.endswith(" INFO shop: sold a duck")


DJANGO = """
import django
from django.conf import settings
import project_settings

settings.configure(LOGGING=project_settings.LOGGING, ROOT_URLCONF="project_settings",
                   ALLOWED_HOSTS=["*"], SECRET_KEY="x")
django.setup()

from django.test import Client
import logging

logging.getLogger("shop").info("sold a duck")
response = Client().get("/nowhere")
assert response.status_code == 404
try:
    Client().get("/broken")
except ZeroDivisionError:
    pass
(handler,) = logging.getLogger().handlers
assert handler.stats().waited >= 1, "the failed request was not made durable"
assert handler.error is None
"""

DJANGO_URLS = """
from django.urls import path
urlpatterns = [path("broken", lambda request: 1 / 0)]
"""


def test_django(tmp_path):
    """Django's own lines, and a failed request with its traceback, waited for."""
    require("django")
    (tmp_path / "project_settings.py").write_text(recipe("Django") + DJANGO_URLS)
    run(tmp_path, DJANGO)
    text = (tmp_path / "app.log").read_text()
    assert "INFO shop: sold a duck" in text
    assert "WARNING django.request: Not Found: /nowhere" in text
    assert "ERROR django.request: Internal Server Error: /broken\nTraceback" in text


APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/broken":
        raise ZeroDivisionError("broken on purpose")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"quack"})
"""


def test_uvicorn(tmp_path):
    """A server with the page's configuration: access lines in one file, tracebacks in the other."""
    require("uvicorn")
    (config,) = [block for block in blocks("json") if "uvicorn" in block]
    (tmp_path / "uvicorn.json").write_text(config)
    (tmp_path / "app.py").write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        command = [sys.executable, "-m", "uvicorn", "app:app", "--log-config", "uvicorn.json"]
        server = subprocess.Popen(
            [*command, "--fd", str(probe.fileno())],
            cwd=tmp_path,
            pass_fds=[probe.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            url = f"http://127.0.0.1:{probe.getsockname()[1]}"
            assert urllib.request.urlopen(f"{url}/duck", timeout=60).read() == b"quack"
            with pytest.raises(urllib.error.HTTPError) as failed:
                urllib.request.urlopen(f"{url}/broken", timeout=60)
            failed.value.close()
            # A signal that ends uvicorn leaves the last lines to the next one that opens the file.
            wait_until(lambda: len(lines(tmp_path / "access.log")) == 2, "the access lines")
        finally:
            server.terminate()
            server.wait(timeout=60)
    access = lines(tmp_path / "access.log")
    assert access[0].endswith('"GET /duck HTTP/1.1" 200 OK')
    assert access[1].endswith('"GET /broken HTTP/1.1" 500 Internal Server Error')
    errors = (tmp_path / "error.log").read_text()
    assert "INFO Application startup complete" in errors or "INFO Started server" in errors
    assert "ZeroDivisionError: broken on purpose" in errors


@pytest.mark.parametrize("title", ["structlog", "structlog without logging"])
def test_structlog(tmp_path, title):
    """One JSON object a line, by way of logging and without it."""
    require("structlog")
    assert run(tmp_path, recipe(title)) == ""
    (line,) = lines(tmp_path / "app.log")
    event = json.loads(line)
    assert (event["event"], event["what"], event["level"]) == ("sold", "a duck", "info")


def test_loguru(tmp_path):
    """A handler as a sink."""
    require("loguru")
    assert run(tmp_path, recipe("loguru")) == ""
    first, second = lines(tmp_path / "app.log")
    assert first.endswith(" INFO sold a duck")
    assert second.endswith(" ERROR payment 17 failed")


LOGURU_WAITS = """
from loguru import logger
from pydurable.logging import DurableHandler

handler = DurableHandler("app.log")
logger.remove()
logger.add(handler, format="{message}")
logger.info("x")
assert handler.stats().waited == 0
logger.error("y")
assert handler.stats().waited == 1
"""


def test_loguru_levels_arrive(tmp_path):
    """loguru's levels are those of logging, so that its errors are waited for."""
    require("loguru")
    run(tmp_path, LOGURU_WAITS)


def test_errors_recipe(tmp_path):
    """The subclass of the page says what is wrong with the disk."""
    code = recipe("errors") + (
        "import errno, logging\n"
        "from pydurable import testing\n"
        "logger = logging.Logger('x')\n"
        "logger.addHandler(Alarming('app.log'))\n"
        "with testing.fail('sync', errno.EIO):\n"
        "    logger.error('lost')\n"
        "logging.shutdown()\n"
    )
    assert "Input/output error" in run(tmp_path, code)


PICOLOGGING = """
import logging, picologging
from pydurable.logging import DurableHandler

handler = DurableHandler("app.log")
handler.setFormatter(picologging.Formatter("%(levelname)s %(message)s"))
logger = picologging.Logger("shop", picologging.INFO)
logger.addHandler(handler)
logger.info("sold %s", "a duck")
logger.error("payment %d failed", 17)
assert handler.stats().waited == 1
# Its formatter takes the records of its own loggers alone, and that is told, not lost in silence.
other = logging.Logger("other")
other.addHandler(handler)
other.error("not its own")
assert handler.stats().lost == 1
"""


def test_picologging(tmp_path):
    """Its loggers and its formatter go with the handler."""
    try:
        importlib.import_module("picologging")
    except ImportError:
        pytest.skip("picologging is not installed: it has no wheels for every Python")
    assert "must be a LogRecord" in run(tmp_path, PICOLOGGING)
    assert lines(tmp_path / "app.log") == ["INFO sold a duck", "ERROR payment 17 failed"]


def test_options_of_the_page_exist():
    """Each option that the tables name is one of the constructor."""
    import inspect

    from pydurable.logging import DurableHandler

    known = set(inspect.signature(DurableHandler).parameters)
    named = set(re.findall(r"`(\w+)=", PAGE.read_text(encoding="utf-8"))) - {"enqueue"}
    assert named <= known | {"sync"}
